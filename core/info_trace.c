/* What `resa info` says of traces and results folders. */
#include "core/err.h"
#include "core/info.h"
#include "core/results.h"
#include "core/trace_read.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* ---- a trace ---- */

static void lanes_print(const struct trace_file *f, FILE *out)
{
    fprintf(out, "\n%4s  %-8s %8s %5s %8s %5s %5s %8s %5s  %s\n", "lane", "selector", "sparsity", "block", "interval", "local",
            "least", "cache of", "clean", "name");
    for (int i = 0; i < f->n_lanes; i++) {
        const struct lane_spec *l = &f->lanes[i];
        fprintf(out, "%4d  %-8s %8g %5d ", i, selector_names[l->selector], l->sparsity, l->block_size);
        if (l->interval) fprintf(out, "%8d", l->interval);
        else fprintf(out, "%8s", "never");
        fprintf(out, " %5d %5d ", l->local_blocks, l->min_blocks);
        if (lane_is_probe(l)) fprintf(out, "%8d", l->cache_of);
        else fprintf(out, "%8s", "own");
        if (l->clean == LANE_NONE) fprintf(out, " %5s  ", "none");
        else fprintf(out, " %5d  ", l->clean);
        info_text(out, l->name, 0);
        fputc('\n', out);
    }
}

static int var_print(void *data, const struct trace_var *var)
{
    FILE *out = data;
    char shape[160] = "", bytes[32];
    for (int i = 0, n = 0; i < var->n_dims && n < (int)sizeof shape; i++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%s %lld", i ? ", " : "", var->dims[i], (long long)var->n[i]);
    info_text(out, var->name, 0);
    fprintf(out, "%*s %-10s %-8s %10s  ", (int)(20 - strlen(var->name)) > 0 ? (int)(20 - strlen(var->name)) : 0, "", var->group,
            var->type, info_bytes(var->stored_bytes, bytes, sizeof bytes));
    info_text(out, shape[0] ? shape : "scalar", 0);
    fputc('\n', out);
    return 0;
}

static int attr_print(void *data, const char *name, const char *value)
{
    FILE *out = data;
    fprintf(out, "  %-18s ", name);
    info_text(out, value, 21);
    fputc('\n', out);
    return 0;
}

static int trace_print(const struct trace_file *f, FILE *out)
{
    fprintf(out, "trace       ");
    info_text(out, f->run_id, 0);
    fprintf(out, "\nmodel       ");
    info_text(out, f->model, 0);
    fprintf(out, "\nprompt      %d tokens before token %d of ", f->prompt_tokens, f->start);
    info_text(out, f->source, 0);
    fprintf(out, ", seed %llu\n", (unsigned long long)f->seed);
    fprintf(out, "steps       %d of %d planned\n", f->n_steps, f->steps_planned);
    fprintf(out, "dimensions  %d lanes, %d layers, %d KV heads\n", f->n_lanes, f->n_layers, f->n_kv_heads);
    lanes_print(f, out);
    fprintf(out, "\n%-20s %-10s %-8s %10s  %s\n", "variable", "group", "type", "stored", "dimensions");
    if (trace_vars_each(f, var_print, out) != 0) return -1;
    fprintf(out, "\nattributes\n");
    return trace_attrs_each(f, attr_print, out);
}

int info_print_trace(const char *path, FILE *out)
{
    struct trace_file f = { 0 };
    int rc = trace_file_open(&f, path);
    if (rc == 0) rc = trace_print(&f, out);
    trace_file_close(&f);
    return rc;
}

/* ---- a results folder ---- */

struct runs_report {
    FILE *out;
    int n[RUN_BROKEN + 1];
};

static int run_print(void *data, const char *run_id, const char *path)
{
    static const char *const words[] = { [RUN_ABSENT] = "missing", [RUN_COMPLETE] = "complete", [RUN_BROKEN] = "broken" };
    struct runs_report *report = data;
    struct run_status status;
    struct stat st = { 0 };
    char bytes[32];
    run_status_read(&status, path, run_id, -1);
    report->n[status.state]++;
    fprintf(report->out, "%-9s ", words[status.state]);
    info_text(report->out, run_id, 0);
    if (status.state == RUN_COMPLETE && stat(path, &st) == 0) {
        fprintf(report->out, ", %d steps, %d lanes, %s, by ", status.n_steps, status.n_lanes,
                info_bytes((uint64_t)st.st_size, bytes, sizeof bytes));
        info_text(report->out, status.commit, 0);
    }
    if (status.state == RUN_BROKEN) {
        fputs(": ", report->out);
        info_text(report->out, status.why, 10);
    }
    fputc('\n', report->out);
    return 0;
}

static int run_count(void *data, const char *run_id, const char *path)
{
    (void)run_id;
    (void)path;
    ++*(int *)data;
    return 0;
}

int info_print_results(const char *folder, FILE *out)
{
    struct runs_report report = { .out = out };
    char holder[256], plan[PATH_MAX];
    struct stat st;
    fprintf(out, "results     ");
    info_text(out, folder, 0);
    fputc('\n', out);
    if (results_is_held(folder, holder, sizeof holder)) {
        fprintf(out, "in work     ");
        info_text(out, holder, 0);
        fputc('\n', out);
    }
    if (snprintf(plan, sizeof plan, "%s/plan.yaml", folder) >= (int)sizeof plan) return fail("%s: the path is too long", folder);
    const bool planned = stat(plan, &st) == 0;
    fprintf(out, planned ? "\n" : "no plan.yaml: the runs that are there\n\n");
    const int rc = planned ? results_planned_each(folder, run_print, &report) : results_runs_each(folder, run_print, &report);
    if (rc != 0) return rc;
    fprintf(out, "\n%d complete, %d missing, %d broken", report.n[RUN_COMPLETE], report.n[RUN_ABSENT], report.n[RUN_BROKEN]);
    int n_files = 0;
    if (results_runs_each(folder, run_count, &n_files) != 0) return -1;
    const int n_more = n_files - report.n[RUN_COMPLETE] - report.n[RUN_BROKEN];
    if (n_more > 0) fprintf(out, "; %d more that the plan does not list", n_more);
    fputc('\n', out);
    return 0;
}

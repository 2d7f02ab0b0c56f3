/* `resa plan`: what would run, for people. */
#include "core/config_schema.h"
#include "core/err.h"
#include "core/plan_store.h"

#include <string.h>

enum { MAX_RUNS_SHOWN = 24, MAX_SETS_SHOWN = 4, MAX_NOTES_SHOWN = 40 };

static const char *bytes_text(double bytes, char text[24])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    int unit = 0;
    while (bytes >= 1024 && unit < 4) bytes /= 1024, unit++;
    snprintf(text, 24, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

static const char *time_text(double seconds, char text[24])
{
    if (seconds < 0.01)
        snprintf(text, 24, "less than 0.01 s");
    else if (seconds < 9.95)
        snprintf(text, 24, "about %.2g s", seconds);
    else if (seconds < 99.5)
        snprintf(text, 24, "about %.0f s", seconds);
    else if (seconds < 6000)
        snprintf(text, 24, "about %.1f min", seconds / 60);
    else
        snprintf(text, 24, "about %.1f h", seconds / 3600);
    return text;
}

static void print_runs(const struct plan *p, FILE *out)
{
    fprintf(out, "\n%d run%s\n  %-44s %8s %8s %8s  %s\n", p->n_runs, p->n_runs == 1 ? "" : "s", "run", "prefill",
            "start", "steps", "follow");
    for (int i = 0; i < p->n_runs && i < MAX_RUNS_SHOWN; i++) {
        const struct run_plan *r = &p->runs[i];
        fprintf(out, "  %-44s %8d %8d %8d  %s", r->id, r->prefill_tokens, r->start, r->n_steps,
                follow_names[r->follow]);
        if (r->follow != FOLLOW_TEXT && r->temperature > 0)
            fprintf(out, ", temperature %g, top_p %g, seed %llu", r->temperature, r->top_p,
                    (unsigned long long)r->seed);
        if (r->batch > 0) fprintf(out, ", batch %d", r->batch);
        fprintf(out, "%s\n", r->stop_eos ? ", stop at eos" : "");
    }
    if (p->n_runs > MAX_RUNS_SHOWN) fprintf(out, "  and %d more\n", p->n_runs - MAX_RUNS_SHOWN);
}

static void print_lane(const struct plan *p, const struct plan_set *set, const struct model *m, int width, int i,
                       FILE *out)
{
    const struct lane_spec *l = &set->lanes[i];
    const int first = set->lengths.prefill_tokens + 1, last = set->lengths.prefill_tokens + set->lengths.n_steps;
    char kv[24];
    fprintf(out, "  %3d %-*s ", i, width, l->name);
    if (l->selector == SELECT_DENSE)
        fprintf(out, "%13s %13s ", "all", "all");
    else
        fprintf(out, "%5d of %-5d %5d of %-5d", lane_n_selected(l, first), lane_n_blocks(l, first),
                lane_n_selected(l, last), lane_n_blocks(l, last));
    fprintf(out, " %6d %6d %6.1f %6.1f  %10s", lane_n_read_tokens(l, first), lane_n_read_tokens(l, last),
            100.0 * lane_n_read_tokens(l, first) / first, 100.0 * lane_n_read_tokens(l, last) / last,
            bytes_text(cost_lane_read_bytes(&m->shape, &p->store->inputs, l, last), kv));
    if (i > 0 && l->clean >= 0)
        fprintf(out, "  %s\n", l->clean == i ? "itself" : set->lanes[l->clean].name);
    else
        fprintf(out, "  %s\n", i == 0 ? "" : "none");
}

static void print_lanes(const struct plan *p, const struct plan_set *set, const struct model *m, FILE *out)
{
    const int n = p->store->lanes.n;
    int width = 4;
    for (int i = 0; i < n; i++)
        if ((int)strlen(set->lanes[i].name) > width) width = (int)strlen(set->lanes[i].name);
    fprintf(out,
            "\n%d lane%s, %d tokens prefilled and %d steps; what one KV head reads in a sparse layer at the first and "
            "the last step\n",
            n, n == 1 ? "" : "s", set->lengths.prefill_tokens, set->lengths.n_steps);
    fprintf(out, "  %3s %-*s %-13s  %-13s %6s %6s %6s %6s  %10s  %s\n", "", width, "lane", "blocks, first", "last",
            "tokens", "last", "share%", "last", "K, V read", "clean twin");
    bool at_most = false;
    for (int i = 0; i < n; i++) {
        print_lane(p, set, m, width, i, out);
        at_most = at_most || set->lanes[i].local_blocks == 0;
    }
    if (at_most)
        fprintf(out, "  (of lanes with local_blocks 0, tokens, share and K, V are at most these: the last, partial block "
                     "may be chosen instead of a whole one)\n");
}

/* Whether an earlier set's lanes read the same: batches share a table. */
static bool is_shown(const struct plan_store *s, int set)
{
    const struct plan_lengths *n = &s->sets[set].lengths;
    for (int i = 0; i < set; i++)
        if (s->sets[i].lengths.prefill_tokens == n->prefill_tokens && s->sets[i].lengths.n_steps == n->n_steps) return true;
    return false;
}

static void print_sets(const struct plan *p, const struct model *model, FILE *out)
{
    const struct plan_store *s = p->store;
    int n_tables = 0;
    for (int i = 0; i < s->n_sets; i++) {
        if (is_shown(s, i)) continue;
        if (n_tables < MAX_SETS_SHOWN) print_lanes(p, &s->sets[i], model, out);
        n_tables++;
    }
    if (n_tables > MAX_SETS_SHOWN)
        fprintf(out, "\nand the same lanes at %d more length%s\n", n_tables - MAX_SETS_SHOWN, n_tables == MAX_SETS_SHOWN + 1 ? "" : "s");
}

static const struct plan_set *largest_set(const struct plan_store *s)
{
    const struct plan_set *most = &s->sets[0];
    uint64_t peak = 0;
    for (int i = 0; i < s->n_sets; i++) {
        const struct run_cost *c = &s->sets[i].cost;
        if (c->peak_bytes > peak) peak = c->peak_bytes, most = &s->sets[i];
    }
    return most;
}

static void print_memory(const struct plan_store *s, FILE *out)
{
    static const char *const names[N_MEMORY_PARTS] = {
        [MEMORY_WEIGHTS] = "weights", [MEMORY_PREFIX] = "prefix", [MEMORY_SUFFIX] = "lanes' own K and V",
        [MEMORY_KEYS] = "block keys", [MEMORY_BUFFERS] = "buffers", [MEMORY_MEASURES] = "measures and trace"
    };
    const struct run_cost *c = &largest_set(s)->cost;
    char text[24];
    fprintf(out, "\nmemory  %s:", bytes_text((double)c->peak_bytes, text));
    for (int i = 0; i < N_MEMORY_PARTS; i++)
        fprintf(out, "%s %s %s", i ? "," : "", names[i], bytes_text((double)c->memory[i], text));
    fprintf(out, " (the largest run)\n");
}

static void print_time(const struct plan *p, double flop, double prefill, double rectify, FILE *out)
{
    const double rate = p->store->inputs.flop_per_second;
    char time[24];
    if (rate > 0) fprintf(out, "time    %s: ", time_text(flop / rate, time));
    else fprintf(out, "time    not known here, without device %s: ", p->config.device_text);
    fprintf(out, "%.3g TFLOP (prefill %.0f%%, rectification %.0f%%)", flop / 1e12, 100 * prefill / flop, 100 * rectify / flop);
    if (rate > 0) fprintf(out, " at %.3g GFLOP/s; an estimate", rate / 1e9);
    fputc('\n', out);
}

static void print_cost(const struct plan *p, FILE *out)
{
    const struct plan_store *s = p->store;
    double flop = 0, prefill = 0, rectify = 0, rows = 0, steps = 0, trace = 0, read = 0;
    for (int i = 0; i < s->n_sets; i++) {
        const struct run_cost *c = &s->sets[i].cost;
        const double n = s->sets[i].n_runs, n_steps = n * s->sets[i].lengths.n_steps;
        flop += n * (c->prefill_flop + c->step_flop + c->rectify_flop);
        prefill += n * c->prefill_flop;
        rectify += n * c->rectify_flop;
        rows += n_steps * c->rows_per_step;
        steps += n_steps;
        trace += n * (double)c->trace_bytes;
        if ((double)c->step_read_bytes > read) read = (double)c->step_read_bytes;
    }
    char bytes[24], each[24], largest[24];
    fprintf(out, "steps   %.0f in all, %.1f rows each (lanes and the rectified tokens), %.2f GFLOP a step\n", steps,
            rows / steps, (flop - prefill) / steps / 1e9);
    fprintf(out, "bytes   up to %s read in a step: the weights once, K and V of every lane\n", bytes_text(read, bytes));
    print_time(p, flop, prefill, rectify, out);
    fprintf(out, "traces  %s before compression, %s the largest\n", bytes_text(trace, each),
            bytes_text((double)largest_set(s)->cost.trace_bytes, largest));
}

static void print_notes(const char *title, char *const *notes, int n, FILE *out)
{
    if (n == 0) return;
    fprintf(out, "\n%s\n", title);
    for (int i = 0; i < n && i < MAX_NOTES_SHOWN; i++) fprintf(out, "  %s\n", notes[i]);
    if (n > MAX_NOTES_SHOWN) fprintf(out, "  and %d more\n", n - MAX_NOTES_SHOWN);
}

int plan_print(const struct plan *p, const struct model *model, FILE *out)
{
    const struct plan_store *s = p->store;
    char line[256], metrics[160];
    model_describe(model, line, sizeof line);
    fprintf(out, "%s: experiment %s, device %s\nmodel   %s: %s\n", p->config.name,
            experiment_names[p->config.experiment], p->config.device_text, model->name, line);
    if (s->inputs.be) fprintf(out, "numbers %s: %s\n", s->inputs.be->name, s->inputs.be->numbers);
    schema_format(&schema_trace.fields[0], &p->config, metrics, sizeof metrics);
    fprintf(out, "trace   %s, by layer every %d step%s\n", metrics, p->config.every, p->config.every == 1 ? "" : "s");
    print_runs(p, out);
    print_sets(p, model, out);
    print_memory(s, out);
    print_cost(p, out);
    print_notes("left out", p->config.notes, p->config.n_notes, out);
    print_notes("warnings", p->warnings, p->n_warnings, out);
    return ferror(out) ? fail("the plan cannot be written") : 0;
}

/* experiments/command_run.c: `resa run`: every run of the plan that is not complete, into results/NAME. */
#include "experiments/commands.h"
#include "experiments/experiment.h"
#include "experiments/interrupt.h"

#include "core/err.h"
#include "core/info.h"
#include "core/latency.h"
#include "core/mem.h"
#include "core/results.h"
#include "core/run.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

struct failure {
    const char *id; /* borrowed */
    char text[512];
};

/* What a command_run works with, and how it went. */
struct job {
    struct session s;
    struct results results;
    const struct experiment *experiment;
    struct progress progress;
    bool fresh;
    int n_skipped, n_done, n_failed;
    struct failure *failures; /* owned [n_runs] */
};

static int write_plan(struct job *j)
{
    char path[4096], part[4200];
    TRY(results_path(&j->results, "plan.yaml", path, sizeof path), "plan.yaml");
    snprintf(part, sizeof part, "%s.part", path);
    FILE *f = fopen(part, "w");
    if (!f) return fail("%s: cannot be written: %m", part);
    int rc = plan_write_yaml(&j->s.plan, f);
    if (rc == 0 && (fflush(f) != 0 || ferror(f))) rc = fail("%s: cannot be written: %m", part);
    if (fclose(f) != 0 && rc == 0) rc = fail("%s: cannot be written: %m", part);
    if (rc == 0 && rename(part, path) != 0) rc = fail("%s: cannot be renamed: %m", part);
    if (rc != 0) remove(part);
    return rc;
}

/* Whether the run is complete already; a broken trace is removed, with a word.  Fails where another back end made it: its numbers
 * are others, and one folder must not mix them. */
static int find_done(struct job *j, const struct run_plan *run, const char *path, bool *done)
{
    struct run_status status;
    *done = false;
    if (j->fresh) return 0;
    results_run_status(&j->results, run, &status);
    if (status.state == RUN_BROKEN) {
        fprintf(stderr, "resa: %s: %s; it is done again\n", run->id, status.why);
        results_log(&j->results, "%s: broken: %s", run->id, status.why);
        remove(path);
    }
    if (status.state != RUN_COMPLETE) return 0;
    if (strcmp(status.device, j->s.be->name) != 0)
        return fail("%s was made by device %s, this is %s; --fresh redoes it, another name: in the config keeps both", path, status.device,
                    j->s.be->name);
    char commit[sizeof status.commit];
    snprintf(commit, sizeof commit, "%s%s", j->s.provenance.commit, j->s.provenance.dirty ? "-dirty" : "");
    if (strcmp(status.commit, commit) != 0)
        results_log(&j->results, "%s: kept, made by commit %s", run->id, status.commit);
    *done = true;
    return 0;
}

/* weights: bytes that are still to be packed. */
static int check_memory(const struct job *j, const struct run_plan *run, uint64_t weights)
{
    uint64_t bytes[N_MEMORY_PARTS], need = weights;
    char what[240], why[400];
    TRY((run->batch ? latency_memory : run_memory)(run, &j->s.model, j->s.be, bytes), "memory");
    for (int i = 0; i < N_MEMORY_PARTS; i++) need += bytes[i];
    snprintf(what, sizeof what, "run %s, %s the weights", run->id, weights > 0 ? "with" : "beside");
    if (session_check_memory(j->s.be, j->s.dev, need, what) == 0) return 0;
    snprintf(why, sizeof why, "%s", fail_text());
    return fail("%s; fewer lanes, %s or prompt.tokens need less", why, run->batch ? "batch" : "decode.tokens");
}

static int do_run(struct job *j, int index)
{
    const struct run_plan *run = &j->s.plan.runs[index];
    char path[4096];
    if (results_run_path(j->results.folder, run->id, path, sizeof path) != 0) return EXIT_FAILED;
    bool done;
    if (find_done(j, run, path, &done) != 0) return EXIT_FAILED;
    if (done) {
        j->n_skipped++;
        j->progress.total -= run->flop;
        return EXIT_OK;
    }
    progress_run(&j->progress, index, run->id);
    const double from = progress_seconds();
    int status = check_memory(j, run, 0) == 0 ? EXIT_OK : EXIT_FAILED;
    if (status == EXIT_OK) status = j->experiment->run(&j->s, run, path, &j->progress);
    if (status != EXIT_OK) return status;
    j->n_done++;
    results_log(&j->results, "%s: complete, %.1f s", run->id, progress_seconds() - from);
    if (results_write_index(&j->results) != 0) fprintf(stderr, "resa: index.csv: %s\n", fail_text());
    return EXIT_OK;
}

static void note_failure(struct job *j, int index)
{
    struct failure *f = &j->failures[j->n_failed++];
    f->id = j->s.plan.runs[index].id;
    snprintf(f->text, sizeof f->text, "%s", fail_text());
    progress_clear(&j->progress);
    fprintf(stderr, "resa: error: run %s: ", f->id);
    info_text(stderr, f->text, 0);
    fputc('\n', stderr);
    results_log(&j->results, "%s: failed: %s", f->id, f->text);
}

/* No room for another trace like this one, at its full size: the runs to come would be computed for nothing. */
static bool disk_is_full(const struct job *j, const struct run_plan *run)
{
    struct statvfs v;
    return statvfs(j->results.folder, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < run->trace_bytes;
}

static int do_all(struct job *j)
{
    double total = 0;
    for (int i = 0; i < j->s.plan.n_runs; i++) total += j->s.plan.runs[i].flop;
    progress_open(&j->progress, total, j->s.plan.n_runs);
    for (int i = 0; i < j->s.plan.n_runs; i++) {
        const int status = interrupt_asked() ? EXIT_INTERRUPTED : do_run(j, i);
        if (status == EXIT_INTERRUPTED) return status;
        if (status == EXIT_FAILED) note_failure(j, i);
        if (status == EXIT_FAILED && i + 1 < j->s.plan.n_runs && disk_is_full(j, &j->s.plan.runs[i])) {
            fprintf(stderr, "resa: error: %s: no room for another trace: %d more run%s not started; where there is room the same command goes on\n",
                    j->results.folder, j->s.plan.n_runs - i - 1, j->s.plan.n_runs - i == 2 ? " is" : "s are");
            break;
        }
    }
    return j->n_failed ? EXIT_FAILED : EXIT_OK;
}

static void say_end(struct job *j, int status)
{
    progress_clear(&j->progress);
    for (int i = 0; i < j->n_failed; i++) {
        fprintf(stderr, "resa: failed: %s: ", j->failures[i].id);
        info_text(stderr, j->failures[i].text, 0);
        fputc('\n', stderr);
    }
    fprintf(stderr, "%d of %d runs done, %d were complete already, %d failed\n", j->n_done, j->s.plan.n_runs, j->n_skipped, j->n_failed);
    if (status == EXIT_INTERRUPTED) {
        /* The command as it was given, quoted for a shell; without --fresh, which would redo what is complete. */
        const char *command = j->s.provenance.command, *fresh = j->fresh ? strstr(command, " --fresh") : NULL;
        const int head = fresh ? (int)(fresh - command) : (int)strlen(command);
        fprintf(stderr, "interrupted; to go on: %.*s%s   (complete runs are skipped)\n", head, command,
                fresh ? fresh + strlen(" --fresh") : "");
        results_log(&j->results, "interrupted");
    }
    printf("results: %s\n", j->results.folder);
}

/* Whether there is anything to do here: a run that is complete already or that fits into memory. */
static int check_any(const struct job *j, const char *folder)
{
    struct run_status status;
    char path[4096], why[512] = "";
    for (int i = 0; i < j->s.plan.n_runs; i++) {
        const struct run_plan *run = &j->s.plan.runs[i];
        TRY(results_run_path(folder, run->id, path, sizeof path), "run %d", i + 1);
        run_status_read(&status, path, run->id, run->n_steps);
        if (status.state == RUN_COMPLETE || check_memory(j, run, weights_bytes(j->s.be, &j->s.model)) == 0) return 0;
        if (i == 0) snprintf(why, sizeof why, "%s", fail_text());
    }
    return fail("%s", why);
}

/* A command that is refused leaves the folder of a study as it is: nothing is written before device and memory are known to do. */
static int open_job(struct job *j, const char *config, int n, char **overrides, int argc, char **argv)
{
    char folder[256]; /* a name has at most 64 characters */
    int status = session_open(&j->s, config, n, overrides);
    if (status != EXIT_OK) return status;
    j->experiment = experiment_find(experiment_names[j->s.plan.config.experiment]);
    if (!j->experiment) {
        fail("%s: experiment: %s is not in this build", config, experiment_names[j->s.plan.config.experiment]);
        return complain(EXIT_USAGE);
    }
    status = session_open_device(&j->s, argc + 1, argv - 1); /* with the program's name, which stands before the command's */
    if (status != EXIT_OK) return status;
    snprintf(folder, sizeof folder, "results/%s", j->s.plan.config.name);
    if (check_any(j, folder) != 0) return complain(EXIT_FAILED);
    if (results_open(&j->results, folder) != 0) return complain(EXIT_FAILED);
    if (j->results.n_removed) fprintf(stderr, "resa: removed what an earlier run left unfinished (%d)\n", j->results.n_removed);
    if (write_plan(j) != 0) return complain(EXIT_FAILED);
    if (MEM_NEW(&j->failures, j->s.plan.n_runs, "runs") != 0) return complain(EXIT_FAILED);
    return session_open_weights(&j->s);
}

int command_run(int argc, char **argv)
{
    struct job j = { .results = { .lock_fd = -1 } };
    int at = 1;
    if (at < argc && strcmp(argv[at], "--fresh") == 0) {
        j.fresh = true;
        at++;
    }
    if (at >= argc || argv[at][0] == '-') {
        if (at < argc) fprintf(stderr, "resa: unknown option '%s'\n", argv[at]);
        fprintf(stderr, "usage: resa run [--fresh] CONFIG [key=value ..]\n");
        return EXIT_USAGE;
    }
    interrupt_catch();
    int status = open_job(&j, argv[at], argc - at - 1, argv + at + 1, argc, argv);
    if (status == EXIT_OK) {
        status = do_all(&j);
        if (j.n_done == 0 && results_write_index(&j.results) != 0) /* the runs were there, the index may not be */
            fprintf(stderr, "resa: index.csv: %s\n", fail_text());
        say_end(&j, status);
    }
    mem_free(j.failures);
    results_close(&j.results);
    session_close(&j.s);
    return status;
}

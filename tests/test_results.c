/* The results folder: lock, dead writers' parts, which runs are complete, and index.csv. */
#include "core/err.h"
#include "core/results.h"
#include "core/results_index.h"
#include "tests/sample_run.h"
#include "tests/temp_folder.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEFAULT_METRICS = 31 };

static char folder[PATH_MAX];

static int group_setup(void **state)
{
    if (temp_folder_open(state) != 0) return -1;
    snprintf(folder, sizeof folder, "%s", temp_path("deep/er")); /* neither folder is there yet */
    return 0;
}

static int each_test_teardown(void **state)
{
    (void)state;
    return nftw(folder, temp_remove, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT ? 0 : -1;
}

static void assert_failed(int rc, const char *words)
{
    assert_int_equal(rc, -1);
    if (!strstr(fail_text(), words)) fail_msg("'%s' does not say '%s'", fail_text(), words);
}

static void open_folder(struct results *r)
{
    if (results_open(r, folder) != 0) fail_msg("%s", fail_text());
}

static void write_run(struct results *r, struct sample_run *s, const char *id, int planned, int steps)
{
    char path[PATH_MAX + 64];
    assert_int_equal(sample_open(s, id, planned, DEFAULT_METRICS, 0), 0);
    assert_int_equal(results_run_path(r->folder, id, path, sizeof path), 0);
    if (sample_write(s, path, steps) != 0) fail_msg("%s", fail_text());
}

static void write_file(const char *name, const char *text)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void touch(const char *name)
{
    write_file(name, "");
}

static bool exists(const char *name)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static char *text_of(const char *name)
{
    static char text[1 << 16];
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void folders_and_parts(void **state)
{
    (void)state;
    struct results r;
    open_folder(&r);
    assert_true(exists("runs") && exists("tables") && exists("plots"));
    assert_int_equal(r.n_removed, 0);
    results_close(&r);
    touch("runs/a.h5.part");
    touch("runs/b.h5");
    touch("index.csv.part");
    touch("notes.txt");
    open_folder(&r);
    assert_int_equal(r.n_removed, 2);
    assert_true(!exists("runs/a.h5.part") && exists("runs/b.h5") && exists("notes.txt"));
    results_close(&r);
    results_close(&r); /* twice is fine */
}

static void unusable_folders(void **state)
{
    (void)state;
    struct results r;
    assert_failed(results_open(&r, "/proc/none/x"), "/proc/none: cannot create the folder");
    results_close(&r);
    assert_failed(results_open(&r, "/dev/null"), "/dev/null: cannot create the folder: a file has its name");
    results_close(&r);
}

/* A child holds the folder; a second writer is refused and told who has it; a killed child's hold is gone. */
static void second_writer_is_refused(void **state)
{
    (void)state;
    struct results r, again;
    int ready[2];
    char byte, pid_text[32];
    assert_int_equal(pipe(ready), 0);
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct results held;
        alarm(60); /* should the parent fail before it ends this */
        if (results_open(&held, folder) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    touch("runs/a.h5.part"); /* the living writer's: not to be touched */
    snprintf(pid_text, sizeof pid_text, "process %ld on ", (long)pid);
    assert_failed(results_open(&r, folder), "another process writes here");
    assert_non_null(strstr(fail_text(), pid_text));
    results_close(&r);
    assert_true(exists("runs/a.h5.part"));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    open_folder(&r);
    assert_false(exists("runs/a.h5.part"));
    assert_failed(results_open(&again, folder), "another process writes here"); /* also within one process */
    results_close(&again);
    results_close(&r);
    close(ready[0]);
    close(ready[1]);
}

static int name_collect(void *data, const char *run_id, const char *path)
{
    char *names = data;
    assert_non_null(strstr(path, run_id));
    strcat(strcat(names, run_id), " ");
    return 0;
}

/* Written as the plan writes it, with what might mislead: ids elsewhere, keys called runs, lists and maps as values. */
static void planned_runs(void **state)
{
    (void)state;
    static const char plan[] = "name: runs\ntrace: {metrics: [id, runs], id: no, runs: [{id: no}]}\nlist: [runs, {id: no}]\n"
                               "runs:\n  - {id: b-p1, source: id, tokens: 3}\n  - {source: [id, x], id: \"a-p2\"}\nend: {id: no}\n";
    char names[256] = "";
    struct results r;
    open_folder(&r);
    results_close(&r);
    assert_failed(results_planned_each(folder, name_collect, names), "plan.yaml: cannot open: No such file");
    write_file("plan.yaml", plan);
    assert_int_equal(results_planned_each(folder, name_collect, names), 0);
    assert_string_equal(names, "b-p1 a-p2 ");
    write_file("plan.yaml", "runs: [{id: ../x}]\n");
    assert_failed(results_planned_each(folder, name_collect, names), "plan.yaml: '../x' is no run's name");
    write_file("plan.yaml", "name: x\nruns: [{id: x\n");
    assert_failed(results_planned_each(folder, name_collect, names), "plan.yaml:3: did not find expected");
    write_file("plan.yaml", "[[[[[[[[[[[[[[[[[[[[");
    assert_failed(results_planned_each(folder, name_collect, names), "deeper than 16 levels");
}

/* Killed at any moment, a writer leaves nothing that the next start does not take away. */
static void killed_writer_is_cleaned_up(void **state)
{
    (void)state;
    int n_parts = 0;
    srand(2);
    for (int i = 0; i < 20; i++) {
        struct results r;
        fflush(NULL);
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct sample_run s;
            char path[PATH_MAX + 64];
            if (results_open(&r, folder) != 0 || sample_open(&s, "run", 2500, DEFAULT_METRICS, 0) != 0 ||
                results_run_path(r.folder, "run", path, sizeof path) != 0)
                _exit(1);
            for (;;)
                if (sample_write(&s, path, 2500) != 0 || results_write_index(&r) != 0) _exit(1);
        }
        const struct timespec pause = { 0, 1000000L * (5 + rand() % 150) };
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        int status = 0;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        open_folder(&r);
        n_parts += r.n_removed;
        assert_false(exists("runs/run.h5.part") || exists("index.csv.part"));
        struct sample_run s;
        struct run_status run;
        assert_int_equal(sample_open(&s, "run", 2500, DEFAULT_METRICS, 0), 0);
        results_run_status(&r, &s.run, &run);
        assert_int_equal(run.state, exists("runs/run.h5") ? RUN_COMPLETE : RUN_ABSENT);
        sample_close(&s);
        results_close(&r);
    }
    assert_true(n_parts > 0); /* else nothing was tested */
}

static void run_states(void **state)
{
    (void)state;
    struct results r;
    struct sample_run s;
    struct run_status run;
    char path[PATH_MAX], two[PATH_MAX];
    open_folder(&r);
    write_run(&r, &s, "one", 40, 40);
    results_run_status(&r, &s.run, &run);
    assert_int_equal(run.state, RUN_COMPLETE);
    assert_int_equal(strncmp(run.commit, s.prov.commit, strlen(s.prov.commit)), 0);

    s.run.n_steps = 41; /* the plan has changed under the same id */
    results_run_status(&r, &s.run, &run);
    assert_int_equal(run.state, RUN_BROKEN);
    assert_non_null(strstr(run.why, "one.h5: 40 steps were planned, now it is 41"));
    s.run.n_steps = 40;

    snprintf(s.run.id, sizeof s.run.id, "two");
    results_run_status(&r, &s.run, &run);
    assert_int_equal(run.state, RUN_ABSENT);
    assert_int_equal(results_run_path(r.folder, "one", path, sizeof path), 0);
    assert_int_equal(results_run_path(r.folder, "two", two, sizeof two), 0);
    assert_int_equal(link(path, two), 0);
    results_run_status(&r, &s.run, &run);
    assert_int_equal(run.state, RUN_BROKEN);
    assert_non_null(strstr(run.why, "two.h5: it is of run one"));

    assert_int_equal(results_run_path(r.folder, "two", path, sizeof path), 0);
    assert_int_equal(truncate(path, 20000), 0);
    results_run_status(&r, &s.run, &run);
    assert_int_equal(run.state, RUN_BROKEN);
    assert_non_null(strstr(run.why, "two.h5: no readable HDF5 file"));
    sample_close(&s);

    write_run(&r, &s, "three", 40, 30); /* fewer steps than planned, and no stop was asked for */
    results_run_status(&r, &s.run, &run);
    assert_int_equal(run.state, RUN_BROKEN);
    assert_non_null(strstr(run.why, "it holds 30 steps of 40"));
    s.run.stop_eos = true;
    assert_int_equal(results_run_path(r.folder, "three", path, sizeof path), 0);
    assert_int_equal(sample_write(&s, path, 30), 0);
    results_run_status(&r, &s.run, &run);
    assert_int_equal(run.state, RUN_COMPLETE);
    sample_close(&s);
    results_close(&r);
}

static void log_lines(void **state)
{
    (void)state;
    struct results r;
    int day = 0, n = 0;
    open_folder(&r);
    assert_int_equal(results_log(&r, "run %d\nbegins", 1), 0);
    results_close(&r);
    open_folder(&r);
    assert_int_equal(results_log(&r, "again"), 0);
    results_close(&r);
    const char *text = text_of("log.txt");
    assert_int_equal(sscanf(text, "20%*d-%*d-%dT%*d:%*d:%*dZ run 1 begins\n%n", &day, &n), 1);
    assert_true(n > 0 && strstr(text + n, "Z again\n"));
}

/* ---- index.csv ---- */

static double field(const char *line, int column)
{
    for (int i = 0; i < column; i++) line = strchr(line, ',') + 1;
    return *line == ',' || *line == '\n' ? NAN : atof(line);
}

static int column_of(const char *header, const char *name)
{
    int column = 0;
    for (const char *at = header; at && *at != '\n'; column++) {
        const size_t n = strcspn(at, ",\n");
        if (strlen(name) == n && strncmp(at, name, n) == 0) return column;
        at += n + (at[n] == ',');
    }
    fail_msg("index.csv has no column %s", name);
    return -1;
}

static const char *line_of(const char *text, const char *run, int lane)
{
    char want[64];
    snprintf(want, sizeof want, "\n%s,synthetic,a text,24,20,18446744073709551615,8,%d,", run, lane);
    const char *at = strstr(text, want);
    if (!at) fail_msg("no row %s in:\n%s", want + 1, text);
    return at + 1;
}

/* A value within half a unit of the ninth digit that is printed. */
static void assert_number(const char *header, const char *line, const char *name, double want)
{
    const double got = field(line, column_of(header, name));
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= 5e-9 * fabs(want))) fail_msg("%s: %.12g, not %.12g", name, got, want);
}

/* 8 steps of the sample: means worked out by hand from value = 1000 v + step + i / 64, i = place within the step. */
static void index_means(void **state)
{
    (void)state;
    struct results r;
    struct sample_run s;
    open_folder(&r);
    write_run(&r, &s, "one", 8, 8);
    sample_close(&s);
    assert_int_equal(results_write_index(&r), 0);
    const char *header = text_of("index.csv");
    const char *line = line_of(header, "one", 2);
    assert_number(header, line, "sparsity", 0.9);
    assert_number(header, line, "interval", 8);
    assert_number(header, line, "clean", 1);
    assert_number(header, line, "nll", VAR_NLL * 1000 + 3.5 + 2.0 / 64);
    /* target of lane 2 is two above lane 0's at every step: never the same token, so nothing can be compared */
    assert_number(header, line, "nll_above_dense", NAN);
    assert_number(header, line_of(header, "one", 0), "nll_above_dense", 0);
    assert_number(header, line, "kl_mean", VAR_LOGIT_KL * 1000 + 3.5 + 2.0 / 64);
    assert_number(header, line, "kl_median", VAR_LOGIT_KL * 1000 + 3.5 + 2.0 / 64);
    assert_number(header, line, "top1_agreement", 0.5);
    /* places 7 and 8 are layers 1 and 2 of lane 2 */
    assert_number(header, line, "k_drift", VAR_K_DRIFT * 1000 + 3.5 + 7.5 / 64);
    assert_number(header, line, "k_cache_drift_end", VAR_K_CACHE_DRIFT * 1000 + 7 + 7.5 / 64);
    assert_number(header, line, "kept_mass", VAR_KEPT_MASS * 1000 + 3.5 + 7.0 / 64);
    assert_number(header, line, "bytes_per_step", 3 * (5e9 + 350 + 2));
    results_close(&r);
}

/* A trace with the values that a summary meets in earnest: equal targets, steps that were not recorded, a skewed KL. */
static void index_of_real_cases(void **state)
{
    (void)state;
    static const float kl[8] = { 0, 0, 0, 1, 0, 3, 100, NAN };
    struct results r;
    struct sample_run s;
    struct trace *t = NULL;
    char path[PATH_MAX + 64];
    open_folder(&r);
    assert_int_equal(sample_open(&s, "one", 8, DEFAULT_METRICS, 0), 0);
    s.run.follow = FOLLOW_SELF;
    assert_int_equal(results_run_path(r.folder, "one", path, sizeof path), 0);
    assert_int_equal(trace_open(&t, path, &s.run, &s.model, &s.layout, &s.prov, ""), 0);
    for (int step = 0; step < 8; step++) {
        record_clear(&s.layout, s.record);
        int32_t *target = record_at(&s.layout, s.record, VAR_TARGET);
        float *nll = record_at(&s.layout, s.record, VAR_NLL), *x = record_at(&s.layout, s.record, VAR_LOGIT_KL);
        float *cache = record_at(&s.layout, s.record, VAR_K_CACHE_DRIFT);
        for (int lane = 0; lane < SAMPLE_LANES; lane++) {
            target[lane] = step == 2 && lane == 3 ? 1 : 0;
            nll[lane] = 1 + (float)(lane * step);
            x[lane] = kl[step];
        }
        if (step == 3 || step == 5) cache[2 * SAMPLE_LAYERS + 1] = (float)step;
        assert_int_equal(trace_write(t, step, s.record), 0);
    }
    const int32_t divergence[SAMPLE_LANES] = { -1, -1, 4, 6 };
    assert_int_equal(trace_finish(t, s.spread, s.spread, divergence, 8), 0);
    trace_close(t);
    assert_int_equal(results_write_index(&r), 0);
    const char *header = text_of("index.csv");
    assert_number(header, line_of(header, "one", 1), "nll_above_dense", 3.5);            /* 0 .. 7 */
    assert_number(header, line_of(header, "one", 2), "nll_above_dense", 3);              /* 2 x 0 .. 3 */
    assert_number(header, line_of(header, "one", 3), "nll_above_dense", 3 * 13.0 / 5);   /* 3 x 0, 1, 3, 4, 5 */
    assert_number(header, line_of(header, "one", 2), "kl_mean", 104.0 / 7);
    assert_number(header, line_of(header, "one", 2), "kl_median", 0);
    assert_number(header, line_of(header, "one", 2), "k_cache_drift_end", 5);
    assert_number(header, line_of(header, "one", 1), "k_cache_drift_end", NAN);
    assert_number(header, line_of(header, "one", 1), "kept_mass", NAN);
    sample_close(&s);
    results_close(&r);
}

/* The index follows the traces: new ones come in, replaced ones are read again, deleted and broken ones go. */
static void index_follows_traces(void **state)
{
    (void)state;
    struct results r;
    struct sample_run s;
    char path[PATH_MAX + 64], first[1 << 12];
    open_folder(&r);
    write_run(&r, &s, "b", 8, 8);
    sample_close(&s);
    assert_int_equal(results_write_index(&r), 0);
    snprintf(first, sizeof first, "%s", text_of("index.csv"));
    write_run(&r, &s, "a", 8, 8);
    assert_int_equal(results_write_index(&r), 0);
    const char *text = text_of("index.csv");
    assert_true(line_of(text, "a", 3) < line_of(text, "b", 0)); /* in the order of names */
    s.lanes[2].interval = 4;
    assert_int_equal(results_run_path(r.folder, "a", path, sizeof path), 0);
    assert_int_equal(sample_write(&s, path, 8), 0);
    assert_int_equal(results_write_index(&r), 0);
    text = text_of("index.csv");
    assert_number(text, line_of(text, "a", 2), "interval", 4);
    sample_close(&s);
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(results_write_index(&r), 0);
    assert_string_equal(text_of("index.csv"), first);
    assert_non_null(strstr(text_of("log.txt"), "left out of index.csv: "));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(results_write_index(&r), 0);
    assert_string_equal(text_of("index.csv"), first);
    results_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(folders_and_parts, each_test_teardown),
        cmocka_unit_test_teardown(unusable_folders, each_test_teardown),
        cmocka_unit_test_teardown(second_writer_is_refused, each_test_teardown),
        cmocka_unit_test_teardown(planned_runs, each_test_teardown),
        cmocka_unit_test_teardown(killed_writer_is_cleaned_up, each_test_teardown),
        cmocka_unit_test_teardown(run_states, each_test_teardown),
        cmocka_unit_test_teardown(log_lines, each_test_teardown),
        cmocka_unit_test_teardown(index_means, each_test_teardown),
        cmocka_unit_test_teardown(index_of_real_cases, each_test_teardown),
        cmocka_unit_test_teardown(index_follows_traces, each_test_teardown),
    };
    return cmocka_run_group_tests(tests, group_setup, temp_folder_close);
}

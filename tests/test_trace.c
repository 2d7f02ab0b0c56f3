/* The trace: what is written is read back, equal data give equal bytes, and no failure leaves half a file.
 * Called with paths it only writes a sample run to each, for tests/test_trace_readers.py. */
#include "core/err.h"
#include "core/trace_read.h"
#include "core/trace_seal.h"
#include "tests/sample_run.h"
#include "tests/temp_folder.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEFAULT_METRICS = 31, ALL_METRICS = 255, SLOTS = 5 };

#ifdef __SANITIZE_ADDRESS__
/* HDF5 1.10.8 loses a block of its own where a flush fails, which the test of the full disk makes it do. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}
#endif

static char path_a[PATH_MAX], path_b[PATH_MAX];

static int group_setup(void **state)
{
    if (temp_folder_open(state) != 0) return -1;
    snprintf(path_a, sizeof path_a, "%s", temp_path("a.h5"));
    snprintf(path_b, sizeof path_b, "%s", temp_path("b.h5"));
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    return rmdir(temp_folder); /* fails where a test left a file */
}

static int n_files(void)
{
    int n = 0;
    DIR *d = opendir(temp_folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void write_sample(const char *path, int planned, int steps, unsigned metrics, int slots)
{
    struct sample_run s;
    assert_int_equal(sample_open(&s, "a-p20-o24-89abcdef", planned, metrics, slots), 0);
    if (sample_write(&s, path, steps) != 0) fail_msg("%s", fail_text());
    sample_close(&s);
}

static void assert_failed(int rc, const char *words)
{
    assert_int_equal(rc, -1);
    if (!strstr(fail_text(), words)) fail_msg("'%s' does not say '%s'", fail_text(), words);
}

/* ---- every value comes back ---- */

static void check_var(const struct trace_file *f, const struct record_layout *l, enum record_var v, int steps)
{
    const struct record_var_def *def = &record_var_defs[v];
    const size_t row = record_var_count(l, v), n = row * (size_t)steps;
    double *x = calloc(n + 1, sizeof *x);
    int64_t *k = calloc(n + 1, sizeof *k);
    assert_int_equal(trace_read_double(f, def->name, TRACE_ALL, TRACE_ALL, x, n), 0);
    if (def->type != REC_F32) assert_int_equal(trace_read_int(f, def->name, TRACE_ALL, TRACE_ALL, k, n), 0);
    for (int s = 0; s < steps; s++)
        for (size_t i = 0; i < row; i++) {
            const double want = sample_value(v, s, i), got = x[(size_t)s * row + i];
            if (sample_missing(v, s, i) ? !isnan(got) : got != want)
                fail_msg("%s[%d][%zu]: %g, not %g", def->name, s, i, got, want);
            const int64_t whole = !sample_missing(v, s, i) ? (int64_t)want : def->type == REC_U8 ? 255 : -1;
            if (def->type != REC_F32 && k[(size_t)s * row + i] != whole) fail_msg("%s[%d][%zu] as integer", def->name, s, i);
        }
    free(x);
    free(k);
}

static void check_file(const char *path, int steps, unsigned metrics, int slots)
{
    struct trace_file f;
    struct record_layout l;
    record_layout_init(&l, SAMPLE_LANES, SAMPLE_LAYERS, SAMPLE_HEADS, slots, metrics);
    if (trace_file_open(&f, path) != 0) fail_msg("%s", fail_text());
    assert_int_equal(f.n_steps, steps);
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const bool on = l.at[v] != RECORD_OFF && record_var_count(&l, (enum record_var)v) > 0;
        assert_int_equal(trace_has(&f, record_var_defs[v].name), on);
        if (on) check_var(&f, &l, (enum record_var)v, steps);
    }
    trace_file_close(&f);
}

static void everything_comes_back(void **state)
{
    (void)state;
    /* One chunk; several of 1024 steps and a rest; an early stop inside a chunk and at its edge; no step at all;
     * metrics: []; a row of 864 kB, where one step is several chunks. */
    const struct {
        int planned, steps;
        unsigned metrics;
        int slots;
    } cases[] = { { 40, 40, ALL_METRICS, SLOTS }, { 2500, 2500, DEFAULT_METRICS, 0 }, { 2500, 1500, DEFAULT_METRICS, 0 },
                  { 2048, 1024, 16, 0 },          { 10, 0, DEFAULT_METRICS, 0 },      { 7, 7, 0, 0 },
                  { 3, 3, ALL_METRICS, 0 },       { 3, 2, 128, 9000 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_sample(path_a, cases[i].planned, cases[i].steps, cases[i].metrics, cases[i].slots);
        check_file(path_a, cases[i].steps, cases[i].metrics, cases[i].slots);
        assert_int_equal(unlink(path_a), 0);
    }
}

static void head_comes_back(void **state)
{
    (void)state;
    struct sample_run s;
    struct trace_file f;
    char *text = NULL;
    int64_t number = 0, tokens[SAMPLE_PROMPT];
    assert_int_equal(sample_open(&s, "a-p20-o24-89abcdef", 9, DEFAULT_METRICS, 0), 0);
    assert_int_equal(sample_write(&s, path_a, 5), 0);
    assert_int_equal(trace_file_open(&f, path_a), 0);
    assert_string_equal(f.run_id, "a-p20-o24-89abcdef");
    assert_string_equal(f.source, "a text");
    assert_string_equal(f.model, "synthetic");
    assert_int_equal(f.start, SAMPLE_START);
    assert_int_equal(f.prompt_tokens, SAMPLE_PROMPT);
    assert_int_equal(f.n_prompt, SAMPLE_PROMPT);
    assert_true(f.seed == UINT64_MAX);
    assert_int_equal(f.steps_planned, 9);
    assert_int_equal(f.n_lanes, SAMPLE_LANES);
    assert_memory_equal(f.lanes, s.lanes, sizeof s.lanes);
    assert_int_equal(trace_read_int(&f, "prompt_token", TRACE_ALL, TRACE_ALL, tokens, SAMPLE_PROMPT), 0);
    for (int i = 0; i < SAMPLE_PROMPT; i++) assert_int_equal(tokens[i], s.stream[SAMPLE_START - SAMPLE_PROMPT + i]);
    assert_int_equal(trace_attr_text(&f, "config", &text), 0);
    assert_string_equal(text, "name: sample\n");
    mem_free(text);
    assert_int_equal(trace_attr_text(&f, "prompt_origin", &text), 0);
    assert_string_equal(text, "debian:a-package");
    mem_free(text);
    assert_int_equal(trace_attr_int(&f, "steps", &number), 0);
    assert_int_equal(number, 5);
    assert_int_equal(trace_attr_int(&f, "peak_memory_bytes", &number), 0);
    assert_in_range(number, 1 << 20, 1LL << 34);
    assert_int_equal(trace_var_attr_text(&f, "nll", "target_of", &text), 0);
    assert_string_equal(text, "text");
    mem_free(text);
    assert_failed(trace_attr_int(&f, "config", &number), "attribute config is not of the expected type");
    assert_failed(trace_attr_text(&f, "nothing", &text), "no attribute nothing");
    trace_file_close(&f);
    sample_close(&s);
    assert_int_equal(unlink(path_a), 0);
}

static void late_variables(void **state)
{
    (void)state;
    enum { N = SAMPLE_LAYERS * SAMPLE_HEADS };
    struct sample_run s;
    struct trace_file f;
    double spread[N];
    int64_t divergence[SAMPLE_LANES];
    char *text = NULL;
    assert_int_equal(sample_open(&s, "a", 4, DEFAULT_METRICS, 0), 0);
    s.run.follow = FOLLOW_SELF;
    assert_int_equal(sample_write(&s, path_a, 4), 0);
    assert_int_equal(trace_file_open(&f, path_a), 0);
    assert_int_equal(trace_read_double(&f, "v_spread", TRACE_ALL, TRACE_ALL, spread, N), 0);
    for (int i = 0; i < N; i++) assert_true(spread[i] == (double)s.spread[i]);
    assert_int_equal(trace_read_int(&f, "first_divergence", TRACE_ALL, TRACE_ALL, divergence, SAMPLE_LANES), 0);
    for (int i = 0; i < SAMPLE_LANES; i++) assert_int_equal(divergence[i], i - 1);
    assert_int_equal(trace_var_attr_text(&f, "target", "target_of", &text), 0);
    assert_string_equal(text, "own");
    mem_free(text);
    trace_file_close(&f);
    sample_close(&s);
    assert_int_equal(unlink(path_a), 0);
}

static void slabs(void **state)
{
    (void)state;
    enum { STEPS = 12 };
    struct trace_file f;
    double one[STEPS];
    int64_t ints[STEPS];
    float layer[STEPS * SAMPLE_LANES];
    write_sample(path_a, STEPS, STEPS, DEFAULT_METRICS, 0);
    assert_int_equal(trace_file_open(&f, path_a), 0);
    assert_int_equal(trace_read_double(&f, "k_drift", 2, 1, one, STEPS), 0); /* [:, lane 2, layer 1] */
    for (int i = 0; i < STEPS; i++) assert_true(one[i] == sample_value(VAR_K_DRIFT, i, 2 * SAMPLE_LAYERS + 1));
    assert_int_equal(trace_read_float(&f, "k_drift", TRACE_ALL, 2, layer, STEPS * SAMPLE_LANES), 0); /* [:, :, layer 2] */
    for (int i = 0; i < STEPS * SAMPLE_LANES; i++)
        assert_true((double)layer[i] == sample_value(VAR_K_DRIFT, i / SAMPLE_LANES, (size_t)(i % SAMPLE_LANES * SAMPLE_LAYERS + 2)));
    assert_failed(trace_read_double(&f, "k_drift", SAMPLE_LANES, TRACE_ALL, one, STEPS), "lane 4 is asked for, there are 4");
    assert_failed(trace_read_double(&f, "k_drift", 2, TRACE_ALL, one, STEPS), "has 36 values, 12 were asked for");
    assert_failed(trace_read_double(&f, "nll", 2, 0, one, STEPS), "nll has no dimension layer");
    assert_failed(trace_read_double(&f, "kept_mass_dense", 2, 0, one, STEPS), "no variable kept_mass_dense in this trace");
    assert_failed(trace_read_double(&f, "lane_name", TRACE_ALL, TRACE_ALL, one, SAMPLE_LANES), "lane_name holds no numbers");
    assert_failed(trace_read_int(&f, "nll", 2, TRACE_ALL, ints, STEPS), "nll holds no integers");
    trace_file_close(&f);
    assert_int_equal(unlink(path_a), 0);
}

/* ---- misuse ---- */

static void order_is_checked(void **state)
{
    (void)state;
    struct sample_run s;
    struct trace *t = NULL;
    assert_int_equal(sample_open(&s, "a", 4, DEFAULT_METRICS, 0), 0);
    assert_int_equal(trace_open(&t, path_a, &s.run, &s.model, &s.layout, &s.prov, ""), 0);
    sample_record(&s, 0);
    assert_failed(trace_write(t, 1, s.record), "step 1 comes where step 0 of 4 is due");
    for (int i = 0; i < 4; i++) assert_int_equal(trace_write(t, i, s.record), 0);
    assert_failed(trace_write(t, 4, s.record), "step 4 comes where step 4 of 4 is due");
    assert_failed(trace_finish(t, s.spread, s.spread, NULL, 3), "3 steps were run, 4 were written");
    assert_failed(trace_finish(t, NULL, NULL, NULL, 4), "belong to the drift group");
    trace_close(t);
    assert_int_equal(n_files(), 0);
    sample_close(&s);
}

static void check_no_memory(bool behind)
{
    struct sample_run s;
    assert_int_equal(sample_open(&s, "a", 4, ALL_METRICS, SLOTS), 0);
    int refused = 0;
    s.behind = behind;
    for (long n = 0;; n++, refused++) { /* every allocation fails once */
        mem_fail_after(n);
        const int rc = sample_write(&s, path_a, 4);
        mem_fail_after(-1);
        if (rc == 0) break;
        assert_failed(rc, "out of memory");
        assert_int_equal(n_files(), 0);
    }
    assert_in_range(refused, (behind ? 2 : 1) * N_RECORD_VARS, 1000);
    sample_close(&s);
    assert_int_equal(unlink(path_a), 0);
}

static void no_memory(void **state)
{
    (void)state;
    check_no_memory(false);
    check_no_memory(true);
}

/* ---- equal data, equal bytes ---- */

static char *file_read(const char *path, size_t *n)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    char *bytes = malloc((size_t)st.st_size);
    assert_non_null(bytes);
    *n = fread(bytes, 1, (size_t)st.st_size, f);
    assert_int_equal(*n, st.st_size);
    fclose(f);
    return bytes;
}

static void same_bytes(void **state)
{
    (void)state;
    struct sample_run s;
    size_t n_a = 0, n_b = 0;
    assert_int_equal(sample_open(&s, "a", 1300, DEFAULT_METRICS, 0), 0);
    /* What may differ between equal runs is made equal: a clock that was stopped once. */
    provenance_stop(&s.prov);
    assert_int_equal(sample_write(&s, path_a, 1300), 0);
    const struct timespec second = { 1, 100000000 }; /* object times, had they been kept, are whole seconds */
    nanosleep(&second, NULL);
    s.behind = true; /* whoever writes */
    assert_int_equal(sample_write(&s, path_b, 1300), 0);
    char *a = file_read(path_a, &n_a), *b = file_read(path_b, &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    free(a);
    free(b);
    sample_close(&s);
    assert_int_equal(unlink(path_a) + unlink(path_b), 0);
}

/* ---- failures of the disk ---- */

/* In a child, whose limit on the size of files stands for a full disk: 0 where the write failed as it should, and the
 * same trace could be written in the same process once there was room. */
static int write_with_limit(rlim_t bytes, bool behind)
{
    struct sample_run s;
    const struct rlimit full = { bytes, RLIM_INFINITY }, room = { RLIM_INFINITY, RLIM_INFINITY };
    signal(SIGXFSZ, SIG_IGN);
    if (sample_open(&s, "a", 1300, DEFAULT_METRICS, 0) != 0 || setrlimit(RLIMIT_FSIZE, &full) != 0) return 2;
    s.behind = behind;
    const int rc = sample_write(&s, path_a, 1300);
    const bool left = n_files() != 0;
    if (setrlimit(RLIMIT_FSIZE, &room) != 0) return 2;
    if (rc == 0) return 3;
    if (!strstr(fail_text(), "a.h5.part") || !strstr(fail_text(), "File too large")) {
        fprintf(stderr, "# limit %llu: %s\n", (unsigned long long)bytes, fail_text());
        return 4;
    }
    if (left) return 5;
    if (sample_write(&s, path_a, 1300) != 0) return 6;
    sample_close(&s);
    check_file(path_a, 1300, DEFAULT_METRICS, 0);
    return unlink(path_a) == 0 ? 0 : 7;
}

static int child_status(int (*work)(rlim_t, bool), rlim_t bytes, bool behind)
{
    int status = 0;
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL); /* a crash is to be seen as one, not caught by the runner inherited with the fork */
        signal(SIGABRT, SIG_DFL);
        exit(work(bytes, behind)); /* through the library's own exit, which must not hang or complain */
    }
    for (int i = 0; i < 3000; i++) {
        const struct timespec pause = { 0, 10000000 };
        if (waitpid(pid, &status, WNOHANG) == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        nanosleep(&pause, NULL);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return -1;
}

static void disk_full(void **state)
{
    (void)state;
    struct stat st;
    write_sample(path_a, 1300, 1300, DEFAULT_METRICS, 0);
    assert_int_equal(stat(path_a, &st), 0);
    assert_int_equal(unlink(path_a), 0);
    /* From no room at all to one byte too little, so that the head, a chunk, the rest and the last flush all fail once. */
    for (int i = 0; i < 48; i++) {
        const rlim_t bytes = i / 2 == 23 ? (rlim_t)st.st_size - 1 : (rlim_t)(st.st_size * (i / 2) / 23);
        assert_int_equal(child_status(write_with_limit, bytes, i % 2 == 1), 0);
        assert_int_equal(n_files(), 0);
    }
}

static void unwritable_folder(void **state)
{
    (void)state;
    struct sample_run s;
    assert_int_equal(sample_open(&s, "a", 4, DEFAULT_METRICS, 0), 0);
    assert_failed(sample_write(&s, temp_path("none/a.h5"), 4), "none/a.h5.part: cannot create: No such file or directory");
    assert_failed(sample_write(&s, "/proc/a.h5", 4), "/proc/a.h5.part: cannot create: ");
    sample_close(&s);
}

/* A writer killed at any moment leaves its part or the whole trace, never half a trace under the final name. */
static void killed_writer(void **state)
{
    (void)state;
    int parts = 0, wholes = 0;
    srand(1);
    for (int i = 0; i < 30; i++) {
        fflush(NULL);
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct sample_run s;
            if (sample_open(&s, "a-p20-o24-89abcdef", 2500, DEFAULT_METRICS, 0) != 0) _exit(1);
            s.behind = i % 2 == 1;
            for (;;)
                if (sample_write(&s, path_a, 2500) != 0) _exit(1);
        }
        const struct timespec pause = { 0, 1000000L * (rand() % 150) };
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        int status = 0;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        if (access(path_a, F_OK) == 0) {
            wholes++;
            check_file(path_a, 2500, DEFAULT_METRICS, 0);
            unlink(path_a);
        }
        parts += unlink(temp_path("a.h5.part")) == 0;
        assert_int_equal(n_files(), 0);
    }
    assert_true(parts > 0); /* else nothing was tested */
    print_message("# killed 30 times: %d parts, %d whole traces\n", parts, wholes);
}

/* ---- files that are not what they should be ---- */

static void bad_files(void **state)
{
    (void)state;
    struct trace_file f;
    assert_failed(trace_file_open(&f, path_a), "a.h5: cannot open: No such file or directory");
    trace_file_close(&f);
    FILE *out = fopen(path_a, "wb");
    fputs("name: quickstart\n", out);
    fclose(out);
    assert_false(trace_file_is_hdf5(path_a));
    assert_failed(trace_file_open(&f, path_a), "a.h5: no readable HDF5 file");
    trace_file_close(&f);
    assert_int_equal(unlink(path_a), 0);
    trace_file_close(&f);
}

/* Truncated anywhere in its data, a trace is refused with a message. */
static void truncated_files(void **state)
{
    (void)state;
    struct trace_file f;
    struct stat st;
    write_sample(path_a, 40, 40, DEFAULT_METRICS, 0);
    assert_true(trace_file_is_hdf5(path_a));
    assert_int_equal(stat(path_a, &st), 0);
    for (off_t n = st.st_size - TRACE_SEAL_BYTES - 1; n > 0; n -= 1 + st.st_size / 200) {
        assert_int_equal(truncate(path_a, n), 0);
        assert_int_equal(trace_file_open(&f, path_a), -1);
        assert_true(strlen(fail_text()) > strlen(path_a));
        trace_file_close(&f);
    }
    assert_int_equal(unlink(path_a), 0);
}

/* One flipped bit anywhere is noticed before HDF5 can stumble over it; but for the seal's own name, without which it is
 * as if the file had none. */
static void flipped_bits(void **state)
{
    (void)state;
    struct trace_file f;
    size_t n = 0;
    write_sample(path_a, 40, 40, DEFAULT_METRICS, 0);
    char *bytes = file_read(path_a, &n);
    srand(3);
    for (int i = 0; i < 300; i++) {
        const size_t at = (size_t)rand() % (n - TRACE_SEAL_BYTES);
        const char mask = (char)(1 << rand() % 8);
        bytes[at] = (char)(bytes[at] ^ mask);
        temp_write("a.h5", bytes, n);
        bytes[at] = (char)(bytes[at] ^ mask);
        assert_failed(trace_file_open(&f, path_a), "a.h5: damaged: it is not what was written");
        trace_file_close(&f);
    }
    temp_write("a.h5", bytes, n - TRACE_SEAL_BYTES); /* as another program would leave it */
    check_file(path_a, 40, DEFAULT_METRICS, 0);
    free(bytes);
    assert_int_equal(unlink(path_a), 0);
}

int main(int argc, char **argv)
{
    /* With paths: write a sample to each, its run named by the path's place, the first stopped early. */
    for (int i = 1; i < argc; i++) {
        struct sample_run s;
        char id[32];
        snprintf(id, sizeof id, "run-%d", i);
        if (sample_open(&s, id, 40, ALL_METRICS, SLOTS) != 0 || sample_write(&s, argv[i], i == 1 ? 32 : 40) != 0) {
            fprintf(stderr, "%s\n", fail_text());
            return 1;
        }
        sample_close(&s);
    }
    if (argc > 1) return 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back), cmocka_unit_test(head_comes_back), cmocka_unit_test(late_variables),
        cmocka_unit_test(slabs),                 cmocka_unit_test(order_is_checked), cmocka_unit_test(no_memory),
        cmocka_unit_test(same_bytes),            cmocka_unit_test(disk_full),       cmocka_unit_test(unwritable_folder),
        cmocka_unit_test(killed_writer),         cmocka_unit_test(bad_files),       cmocka_unit_test(truncated_files),
        cmocka_unit_test(flipped_bits),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}

/* The store: what is kept of a trace against the trace itself, in bounded memory; traces that are damaged, odd, or not there. */
#include "tests/sweep_traces.h"
#include "tests/temp_folder.h"

#include "analysis/study.h"
#include "analysis/study_store.h"

#include "core/err.h"
#include "core/trace_rows.h"

#include <dirent.h>
#include <hdf5.h>
#include <math.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { LANES = 21, STEPS = 150, LAYERS = 5 };

static char folder[PATH_MAX];

static int setup(void **state)
{
    if (temp_folder_open(state) != 0) return -1;
    snprintf(folder, sizeof folder, "%s", temp_path("sweep"));
    char runs[PATH_MAX + 8];
    snprintf(runs, sizeof runs, "%s/runs", folder);
    if (mkdir(folder, 0777) != 0 || mkdir(runs, 0777) != 0) return -1;
    for (int text = 0; text < 2; text++)
        if (sweep_write(folder, text, LANES, STEPS, LAYERS) != 0) return -1;
    return 0;
}

static const char *trace_path(int text)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/runs/text%d.h5", folder, text);
    return path;
}

/* A study of the traces 0 .. n - 1. */
static void study_read(struct study *s, int n)
{
    struct notes notes = { 0 };
    for (int text = 0; text < n; text++) {
        struct trace_file f = { 0 };
        if (trace_file_open(&f, trace_path(text)) != 0) fail_msg("%s", fail_text());
        if (text == 0) assert_int_equal(study_begin(s, &f), 0);
        assert_true(study_takes(s, &f));
        if (study_add(s, &f, &notes) != 0) fail_msg("%s", fail_text());
        trace_file_close(&f);
    }
    assert_int_equal(notes.n, 0);
    notes_close(&notes);
}

static float *layered(int text, const char *name)
{
    struct trace_file f = { 0 };
    const size_t n = (size_t)LANES * STEPS * LAYERS;
    float *x = calloc(n, sizeof *x);
    assert_non_null(x);
    assert_int_equal(trace_file_open(&f, trace_path(text)), 0);
    assert_int_equal(trace_read_float(&f, name, TRACE_ALL, TRACE_ALL, x, n), 0);
    trace_file_close(&f);
    return x;
}

/* Lane 3 is resa/1-f8: its stale tokens run from 0 to 7; lane 2 is never rectified. */
static void series_and_maps(void **state)
{
    (void)state;
    struct study s = { 0 };
    double steps[LAYERS * STUDY_MAP_BINS], stale[LAYERS * STUDY_STALE_BINS], slots[LAYERS * STUDY_SLOTS],
        want[LAYERS * STUDY_STALE_BINS] = { 0 }, by_slot[LAYERS * STUDY_SLOTS] = { 0 }, by_step[LAYERS * STEPS] = { 0 },
                                  curve[STUDY_STALE_BINS], text[STEPS];
    int n[STUDY_STALE_BINS] = { 0 }, n_slot[STUDY_SLOTS] = { 0 }, n_step[STUDY_MAP_BINS] = { 0 }, n_curve[STUDY_STALE_BINS];
    study_read(&s, 2);
    assert_int_equal(s.n_texts, 2);
    assert_int_equal(s.n_bins, STUDY_MAP_BINS);
    assert_null(s.runs[1].grids[AXIS_STEP][MAP_K_ACCUM].sum); /* kept once for all runs */
    const int lane = 3;
    float *x = layered(1, "k_accum");
    const float *series = study_series(&s, 1, lane, QUANTITY_K_ACCUM);
    for (int step = 0; step < STEPS; step++) {
        const float *row = x + ((size_t)step * LANES + (size_t)lane) * LAYERS;
        double sum = 0;
        for (int layer = 1; layer < LAYERS; layer++) sum += (double)row[layer];
        assert_true(fabs((double)series[step] - sum / (LAYERS - 1)) <= 0x1p-24 * sum); /* one rounding to float32 */
        const int tokens = lane_stale_tokens(&s.lanes[lane], step), bin = study_stale_bin(tokens),
                  slot = (SAMPLE_PROMPT + step) % 16;
        assert_true(fabs((double)study_series(&s, 1, lane, QUANTITY_STALE_TOKENS)[step] - tokens) < 0.5);
        for (int layer = 0; layer < LAYERS; layer++) {
            want[layer * STUDY_STALE_BINS + bin] += (double)row[layer];
            by_slot[layer * STUDY_SLOTS + slot] += (double)row[layer];
            by_step[layer * STUDY_MAP_BINS + step * STUDY_MAP_BINS / STEPS] += (double)row[layer];
        }
        n[bin]++;
        n_slot[slot]++;
        n_step[step * STUDY_MAP_BINS / STEPS]++;
    }
    /* Sums of at most STEPS floats, each addition rounded to float32. */
    const double slack = STEPS * 0x1p-24;
    assert_true(study_stale_map(&s, MAP_K_ACCUM, 1, lane, stale));
    assert_true(study_slot_map(&s, MAP_K_ACCUM, 1, lane, slots));
    for (int layer = 0; layer < LAYERS; layer++) {
        for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
            const int i = layer * STUDY_STALE_BINS + bin;
            assert_true(n[bin] ? fabs(stale[i] - want[i] / n[bin]) <= slack * stale[i] : isnan(stale[i]));
        }
        for (int slot = 0; slot < STUDY_SLOTS; slot++) {
            const int i = layer * STUDY_SLOTS + slot;
            assert_true(fabs(slots[i] - by_slot[i] / n_slot[slot]) <= slack * slots[i]);
        }
    }
    assert_true(study_stale_curve(&s, 1, lane, QUANTITY_K_ACCUM, STUDY_ABSENT, curve, n_curve));
    assert_true(study_text_series(&s, 1, lane, QUANTITY_K_ACCUM, text));
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        double mean = 0;
        for (int layer = 1; layer < LAYERS && n[bin]; layer++) mean += stale[layer * STUDY_STALE_BINS + bin] / (LAYERS - 1);
        assert_int_equal(n_curve[bin], n[bin]);
        assert_true(n[bin] ? fabs(curve[bin] - mean) <= 2 * slack * mean : isnan(curve[bin]));
    }
    for (int step = 0; step < STEPS; step++) assert_true(fabs(text[step] - (double)series[step]) <= 0);
    /* Over both runs: twice the mean, less the other run's. */
    float *y = layered(0, "k_accum");
    for (int step = 0; step < STEPS; step++)
        for (int layer = 0; layer < LAYERS; layer++)
            by_step[layer * STUDY_MAP_BINS + step * STUDY_MAP_BINS / STEPS] +=
                (double)y[((size_t)step * LANES + (size_t)lane) * LAYERS + (size_t)layer];
    assert_true(study_map(&s, MAP_K_ACCUM, lane, steps));
    for (int i = 0; i < LAYERS * STUDY_MAP_BINS; i++)
        assert_true(fabs(steps[i] - by_step[i] / (2 * n_step[i % STUDY_MAP_BINS])) <= slack * steps[i] + 1e-300);
    free(y);
    free(x);
    study_close(&s);
}

/* Two excerpts of one text are averaged and count once; the text's own interval does not become narrower by them. */
static void excerpts_of_a_text(void **state)
{
    (void)state;
    struct study s = { 0 };
    struct notes notes = { 0 };
    struct estimate e;
    double text[1], means[2];
    for (int run = 0; run < 2; run++) {
        struct trace_file f = { 0 };
        assert_int_equal(trace_file_open(&f, trace_path(run)), 0);
        snprintf(f.source, sizeof f.source, "one text");
        if (run == 0) assert_int_equal(study_begin(&s, &f), 0);
        assert_int_equal(study_add(&s, &f, &notes), 0);
        trace_file_close(&f);
        double sum = 0;
        for (int step = 0; step < STEPS; step++) sum += (double)study_series(&s, run, 2, QUANTITY_K_ACCUM)[step];
        means[run] = sum / STEPS;
    }
    assert_int_equal(s.n_texts, 1);
    assert_int_equal(s.n_runs, 2);
    assert_int_equal(study_measure(&s, 2, MEASURE_K_ACCUM, 0, text), 0);
    assert_true(fabs(text[0] - (means[0] + means[1]) / 2) < 1e-15 * STEPS);
    assert_int_equal(study_estimate(&s, 2, MEASURE_K_ACCUM, 0, &e), 0);
    assert_true(e.n == 1 && isnan(e.error) && isnan(e.low));
    study_close(&s);
    notes_close(&notes);
}

static void stale_bins(void **state)
{
    (void)state;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        assert_int_equal(study_stale_bin(study_stale_bin_first(bin)), bin);
        if (bin > 0) assert_int_equal(study_stale_bin(study_stale_bin_first(bin) - 1), bin - 1);
        /* Half octaves from 4 on, to the next whole number. */
        if (bin > 4) assert_int_equal(study_stale_bin_first(bin), lround(pow(2, bin / 2.0)));
    }
    assert_int_equal(study_stale_bin(1 << 30), STUDY_STALE_BINS - 1);
}

/* The same rows, as they are unpacked here and as HDF5 reads them. */
static void rows_by_either_way(void **state)
{
    (void)state;
    struct trace_file f = { 0 };
    struct trace_rows a = { 0 }, b = { 0 };
    int n_steps = 0;
    assert_int_equal(trace_file_open(&f, trace_path(0)), 0);
    assert_int_equal(trace_rows_open(&a, &f, "k_rect_drift"), 0); /* NaN at most steps */
    assert_int_equal(trace_rows_open(&b, &f, "k_rect_drift"), 0);
    assert_true(a.chunk_steps > 0); /* it is stored as this program stores */
    b.chunk_steps = 0;
    do {
        assert_int_equal(trace_rows_next(&a), 0);
        assert_int_equal(trace_rows_next(&b), 0);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.values, b.values, (size_t)a.n * LANES * LAYERS * sizeof(float));
        n_steps += a.n;
    } while (a.n > 0);
    assert_int_equal(n_steps, STEPS);
    trace_rows_close(&b);
    assert_int_equal(trace_rows_open(&b, &f, "nll"), -1);
    assert_non_null(strstr(fail_text(), "nll is no variable by step, lane and layer"));
    trace_rows_close(&b);
    assert_int_equal(trace_rows_open(&b, &f, "k_head_drift"), -1);
    trace_rows_close(&b);
    trace_rows_close(&a);
    trace_file_close(&f);
}

/* What a chunk is damaged to is no number: every byte of the stored chunks of a variable is turned. */
static void damaged_chunks(void **state)
{
    (void)state;
    struct trace_file f = { 0 };
    struct trace_rows r = { 0 };
    char copy[PATH_MAX + 64], command[4 * PATH_MAX];
    snprintf(copy, sizeof copy, "%s/damaged.h5", folder);
    snprintf(command, sizeof command, "cp %s %s && truncate -s -48 %s", trace_path(0), copy, copy); /* without its seal */
    assert_int_equal(system(command), 0);
    assert_int_equal(trace_file_open(&f, copy), 0);
    const hid_t id = H5Dopen2((hid_t)f.id, "v_accum", H5P_DEFAULT);
    haddr_t at = 0;
    hsize_t n = 0;
    unsigned mask = 0;
    hsize_t offset[3] = { 0 };
    const hid_t space = H5Dget_space(id);
    assert_true(H5Dget_chunk_info(id, space, 0, offset, &mask, &at, &n) >= 0);
    H5Sclose(space);
    H5Dclose(id);
    trace_file_close(&f);
    FILE *file = fopen(copy, "r+b");
    assert_non_null(file);
    fseek(file, (long)at, SEEK_SET);
    for (hsize_t i = 0; i < n; i++) fputc(0xa5, file);
    fclose(file);
    assert_int_equal(trace_file_open(&f, copy), 0);
    assert_int_equal(trace_rows_open(&r, &f, "v_accum"), 0);
    assert_int_equal(trace_rows_next(&r), -1);
    assert_non_null(strstr(fail_text(), "damaged.h5: v_accum: steps 0 to 149 are damaged"));
    trace_rows_close(&r);
    /* A study takes nothing of such a run. */
    struct study s = { 0 };
    struct notes notes = { 0 };
    assert_int_equal(study_begin(&s, &f), 0);
    assert_int_equal(study_add(&s, &f, &notes), -1);
    assert_int_equal(s.n_runs, 0);
    assert_null(s.steps[MAP_K_ACCUM].sum);
    study_close(&s);
    notes_close(&notes);
    trace_file_close(&f);
}

static int n_files(void)
{
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

/* What is put away reads as before, to the bit, also after its pages were given back; no file is to be seen; a folder that is not
 * there leaves the runs in memory. */
static void put_away(void **state)
{
    (void)state;
    struct study kept = { 0 }, away = { 0 };
    study_read(&kept, 2);
    study_read(&away, 2);
    assert_int_equal(study_put_away(&away, "/nonexistent"), -1);
    assert_non_null(strstr(fail_text(), "/nonexistent/.series-"));
    assert_null(away.runs[0].map_base);
    const int n = n_files();
    assert_int_equal(study_put_away(&away, folder), 0);
    assert_int_equal(study_put_away(&away, folder), 0); /* nothing is left to do */
    assert_int_equal(n_files(), n);
    double *a = calloc((size_t)LAYERS * STUDY_STALE_BINS, sizeof *a), *b = calloc((size_t)LAYERS * STUDY_STALE_BINS, sizeof *b);
    assert_non_null(a);
    assert_non_null(b);
    for (int run = 0; run < 2; run++) {
        assert_non_null(away.runs[run].map_base);
        for (int q = 0; q < N_QUANTITIES; q++)
            for (int lane = 0; lane < LANES; lane++) {
                const float *x = study_series(&kept, run, lane, (enum quantity)q), *y = study_series(&away, run, lane, (enum quantity)q);
                assert_true(!x == !y);
                if (x) assert_memory_equal(x, y, STEPS * sizeof *x);
                study_store_touch(&away, STUDY_RESIDENT_BYTES);
            }
    }
    for (int map = 0; map < N_STUDY_MAPS; map++) {
        assert_int_equal(study_stale_map(&kept, (enum study_map)map, STUDY_ABSENT, 2, a), study_stale_map(&away, (enum study_map)map, STUDY_ABSENT, 2, b));
        for (int i = 0; i < LAYERS * STUDY_STALE_BINS; i++) assert_true((isnan(a[i]) && isnan(b[i])) || !(fabs(a[i] - b[i]) > 0));
    }
    free(a);
    free(b);
    study_close(&kept);
    study_close(&away);
}

/* 61 lanes, 512 steps, 32 layers: 20 layered variables are 80 MB, the flat ones 2 MB.  What is kept: 23 series of 0.12 MB,
 * 9 maps of 61 * 32 * (128 + 32 + 16) * 8 bytes = 25 MB, and 18 MB of them twice while a run is added. */
static void bounded_memory(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    print_message("# skip: the sanitizer's own memory is more\n");
    skip();
#endif
    struct rusage before, after;
    struct study s = { 0 };
    struct trace_file f = { 0 };
    struct notes notes = { 0 };
    const pid_t child = fork(); /* what writes the trace must not count */
    if (child == 0) _exit(sweep_write(folder, 9, 61, 512, 32) == 0 ? 0 : 1);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(trace_file_open(&f, trace_path(9)), 0);
    assert_int_equal(study_begin(&s, &f), 0);
    assert_int_equal(study_add(&s, &f, &notes), 0);
    trace_file_close(&f);
    getrusage(RUSAGE_SELF, &after);
    const long kib = after.ru_maxrss - before.ru_maxrss;
    print_message("%ld KiB for 82 MB of values\n", kib);
    assert_true(kib < 60 << 10);
    study_close(&s);
    notes_close(&notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stale_bins),     cmocka_unit_test(series_and_maps), cmocka_unit_test(rows_by_either_way),
        cmocka_unit_test(damaged_chunks), cmocka_unit_test(excerpts_of_a_text), cmocka_unit_test(put_away), cmocka_unit_test(bounded_memory),
    };
    return cmocka_run_group_tests(tests, setup, temp_folder_close);
}

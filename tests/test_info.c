/* What `resa info` prints of traces, results folders, models and other things. */
#include "core/err.h"
#include "core/info.h"
#include "core/results.h"
#include "tests/sample_run.h"
#include "tests/temp_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { ALL_METRICS = 255 };

static char printed[1 << 16];

static int info_of(const char *path)
{
    FILE *out = fmemopen(printed, sizeof printed, "w");
    assert_non_null(out);
    memset(printed, 0, sizeof printed);
    const int rc = info_print(path, out);
    fclose(out);
    return rc;
}

static void assert_printed(const char *words)
{
    if (!strstr(printed, words)) fail_msg("'%s' is not in:\n%s", words, printed);
}

static void assert_refused(const char *path, const char *words)
{
    assert_int_equal(info_of(path), -1);
    if (!strstr(fail_text(), words)) fail_msg("'%s' does not say '%s'", fail_text(), words);
}

static void write_sample(const char *path, const char *id, const char *family)
{
    struct sample_run s;
    assert_int_equal(sample_open(&s, id, 40, ALL_METRICS, 5), 0);
    if (family) snprintf(s.lanes[2].name, sizeof s.lanes[2].name, "%s", family);
    if (sample_write(&s, path, 40) != 0) fail_msg("%s", fail_text());
    sample_close(&s);
}

static void trace(void **state)
{
    (void)state;
    write_sample(temp_path("a.h5"), "one-p20", "bell\aand\x1b[31m");
    assert_int_equal(info_of(temp_path("a.h5")), 0);
    assert_printed("trace       one-p20\n");
    assert_printed("prompt      20 tokens before token 24 of a text, seed 18446744073709551615\n");
    assert_printed("steps       40 of 40 planned\n");
    assert_printed("dimensions  4 lanes, 3 layers, 2 KV heads\n");
    assert_printed("   0  dense           0    16    never     1     2      own     0  dense\n");
    assert_printed("   2  minmax        0.9    16        8     1     2      own     1  bell?and?[31m\n");
    assert_printed("step 40, lane 4, layer 3, kv_head 2, slot 5\n");
    assert_printed("\nk_cache_drift        cache      float32 ");
    assert_printed("\nrun_id                          string ");
    assert_printed("  config             name: sample\n");
    assert_printed("  instruction_set    portable\n");
    assert_printed("  top_p              1\n");
}

static void results(void **state)
{
    (void)state;
    struct results r;
    char folder[PATH_MAX], path[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", temp_path("results"));
    assert_int_equal(results_open(&r, folder), 0);
    assert_int_equal(results_run_path(r.folder, "one", path, sizeof path), 0);
    write_sample(path, "one", NULL);
    assert_int_equal(results_run_path(r.folder, "two", path, sizeof path), 0);
    write_sample(path, "one", NULL);
    assert_int_equal(info_of(folder), 0);
    assert_printed("in work     process ");
    assert_printed("no plan.yaml");
    assert_printed("complete  one, 40 steps, 4 lanes, ");
    assert_printed("runs/two.h5: it is of run one\n");
    assert_printed("\n1 complete, 0 missing, 1 broken\n");
    results_close(&r);
    temp_write("results/plan.yaml", "runs: [{id: one}, {id: three}]\n", 31);
    assert_int_equal(info_of(folder), 0);
    assert_null(strstr(printed, "in work"));
    assert_printed("missing   three\n");
    assert_printed("\n1 complete, 1 missing, 0 broken; 1 more that the plan does not list\n");
}

/* The checkpoint is tests/golden/README.md's; by hand: 2 layers of 9 tensors, the embedding and the last norm;
 * 96 x 64 + 64 + 2 x (2 x 64 + 2 x 64 x 64 + 2 x 16 x 64 + 3 x 96 x 64) weights. */
static void model(void **state)
{
    (void)state;
    if (info_of("tests/golden/tiny-llama") != 0) fail_msg("%s: run from the repository's root", fail_text());
    assert_printed("model       tiny-llama\n");
    assert_printed("llama, 2 layers, hidden 64");
    assert_printed("tokenizer   none\n");
    assert_printed("F16              20           63808   127.6 kB\n");
}

static void others(void **state)
{
    (void)state;
    temp_write("text", "hello", 5);
    temp_write("short.gguf", "GGUF\3\0\0\0", 8);
    temp_write("cut.h5", "\x89HDF\r\n\x1a\n", 8);
    assert_refused(temp_path("text"), "text: neither a trace (HDF5) nor a model (GGUF)");
    assert_refused(temp_path("none"), "none: cannot open: No such file or directory; nor is it a known model (");
    assert_refused(temp_folder, "neither a results folder (no runs/) nor a checkpoint (no config.json)");
    assert_refused(temp_path("short.gguf"), "short.gguf");
    assert_refused(temp_path("cut.h5"), "cut.h5: no readable HDF5 file");
}

static void bytes(void **state)
{
    (void)state;
    char text[32];
    assert_string_equal(info_bytes(0, text, sizeof text), "0 B");
    assert_string_equal(info_bytes(999, text, sizeof text), "999 B");
    assert_string_equal(info_bytes(1000, text, sizeof text), "1.0 kB");
    assert_string_equal(info_bytes(98362432, text, sizeof text), "98.4 MB");
    assert_string_equal(info_bytes(UINT64_MAX, text, sizeof text), "18446744.1 TB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trace),
        cmocka_unit_test(results),
        cmocka_unit_test(model),
        cmocka_unit_test(others),
        cmocka_unit_test(bytes),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, temp_folder_close);
}

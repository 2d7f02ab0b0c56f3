/* Known texts: the table; fetching with an apt-get of our own that "downloads" a package built here; that whatever goes wrong
 * leaves one message and nothing half-made; and a config that names a text. */
#include "core/digest.h"
#include "core/err.h"
#include "core/text_fetch.h"
#include "tests/fake_tool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char script[] =
    "#!/bin/sh\n"
    "here=$(dirname \"$0\")\n"
    "echo \"$*\" >> \"$here/asked\"\n"
    "case $(cat \"$here/mode\") in\n"
    "offline) echo 'E: Unable to locate package fake-text' >&2; echo 'see the log' >&2; exit 100 ;;\n"
    "nothing) exit 0 ;;\n"
    "esac\n"
    "cp \"$here/fake.deb\" fake-text_1%3a2.0-3_all.deb\n";

#define PLAIN "/usr/share/resa-fake-text/plain.txt"
#define PACKED "/usr/share/resa-fake-text/packed.txt.gz"
enum { HEADER = 17, EXCERPT = 5000, TAIL = 40, WHOLE = HEADER + EXCERPT + TAIL };
static char whole[WHOLE];
static char digest[DIGEST_CHARS + 1];

static struct text_package text(const char *path)
{
    return (struct text_package){ "fake", "fake-text", "1.0-1", path, HEADER, EXCERPT, digest, "a text", "none" };
}

/* A package of the two files, with the tools of Debian. */
static int build_package(void)
{
    static const char control[] = "Package: fake-text\nVersion: 2.0-3\nArchitecture: all\nMaintainer: None <none@localhost>\nDescription: x\n";
    char command[4 * PATH_MAX];
    snprintf(command, sizeof command,
             "cd '%s' && mkdir -p p/DEBIAN p/usr/share/resa-fake-text && cp control p/DEBIAN/ && cp whole p" PLAIN
             " && gzip -9nc whole > p" PACKED " && dpkg-deb -b p fake.deb > /dev/null",
             temp_folder);
    temp_write("control", control, sizeof control - 1);
    temp_write("whole", whole, WHOLE);
    return system(command) == 0 ? 0 : -1;
}

static bool has_tools(void)
{
    return system("command -v dpkg-deb tar gzip > /dev/null") == 0;
}

static int set_up(void **state)
{
    if (temp_folder_open(state) != 0) return -1;
    for (int i = 0; i < WHOLE; i++) whole[i] = (char)('a' + i * i % 26);
    digest_bytes(whole + HEADER, EXCERPT, digest);
    if (has_tools() && build_package() != 0) return -1;
    return fake_tool("apt-get", script, sizeof script - 1);
}

static int begin(void **state)
{
    (void)state;
    fake_begin();
    return 0;
}

static const char *cache_path(const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/resa/texts/%s", getenv("XDG_CACHE_HOME"), name);
    return path;
}

static size_t read_file(const char *path, char *bytes, size_t n)
{
    FILE *file = fopen(path, "rb");
    const size_t n_read = file ? fread(bytes, 1, n, file) : 0;
    if (file) fclose(file);
    return n_read;
}

static void assert_there(void)
{
    char got[WHOLE];
    assert_int_equal(read_file(cache_path("fake.txt"), got, sizeof got), EXCERPT);
    assert_memory_equal(got, whole + HEADER, EXCERPT);
    assert_int_equal(access(cache_path("fake.fetch"), F_OK), -1);
}

static void assert_fails(const struct text_package *t, const char *message)
{
    assert_int_equal(text_fetch(t, false), -1);
    if (!strstr(fail_text(), message)) fail_msg("said '%s', not '%s'", fail_text(), message);
    assert_null(strchr(fail_text(), '\n'));
    assert_int_equal(access(cache_path("fake.txt"), F_OK), -1);
    assert_int_equal(access(cache_path("fake.fetch"), F_OK), -1);
}

static void need_tools(void)
{
    if (has_tools()) return;
    print_message("# skip: dpkg-deb, tar or gzip is not there\n");
    skip();
}

/* ---- the table ---- */

static void test_table(void **unused)
{
    (void)unused;
    int n = 0;
    for (const struct text_package *t = text_packages; t->name; t++, n++) {
        assert_int_equal(strlen(t->digest), DIGEST_CHARS);
        assert_int_equal(strspn(t->digest, "0123456789abcdef"), DIGEST_CHARS);
        assert_true(t->path[0] == '/' && !strstr(t->path, "..") && t->offset >= 0);
        assert_in_range(t->n_bytes, 8000, 64000);
        assert_true(t->package[0] && t->version[0] && t->about[0] && t->licence[0]);
        if (n > 0) assert_true(strcmp(t[-1].name, t->name) < 0);
        assert_ptr_equal(text_known_next(t->name, NULL), t);
        assert_non_null(strstr(text_known_names(), t->name));
    }
    assert_true(n >= 6);
    int n_all = 0, n_long = 0, n_j = 0;
    for (const struct text_package *t = NULL; (t = text_known_next("*", t)) != NULL;) n_all++;
    for (const struct text_package *t = NULL; (t = text_known_next("j*", t)) != NULL;) n_j++;
    for (const struct text_package *t = NULL; (t = text_known_next("long-*", t)) != NULL;) n_long++;
    assert_int_equal(n_all + n_long, n); /* a long text stands for itself alone */
    assert_int_equal(n_long, 2);
    assert_int_equal(n_j, 2);
    assert_null(text_known_next("none", NULL));
    assert_null(text_known_pattern("texts/*.txt"));
    assert_string_equal(text_known_pattern("debian:j*"), "j*");
}

/* The one text that is on every Debian and never changes, by other tools than ours. */
static void test_licence(void **unused)
{
    (void)unused;
    char command[PATH_MAX], line[DIGEST_CHARS + 2] = "";
    const struct text_package *t = text_known_next("gpl-3", NULL);
    if (access(t->path, R_OK) != 0) {
        print_message("# skip: %s is not there\n", t->path);
        skip();
    }
    snprintf(command, sizeof command, "tail -c +%lld '%s' | head -c %lld | sha256sum", (long long)t->offset + 1, t->path, (long long)t->n_bytes);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    pclose(f);
    line[DIGEST_CHARS] = 0;
    assert_string_equal(line, t->digest);
}

/* The page that people read says the same. */
static void test_page(void **unused)
{
    (void)unused;
    static char page[1 << 16];
    char row[400];
    page[read_file("configs/texts/README.md", page, sizeof page - 1)] = 0;
    for (const struct text_package *t = text_packages; t->name; t++) {
        snprintf(row, sizeof row, "| `%s` | %s | `%s` %s | `%s` | %lld from %lld | %s |\n", t->name, t->about, t->package, t->version, t->path,
                 (long long)t->n_bytes, (long long)t->offset, t->licence);
        assert_non_null(strstr(page, row));
        snprintf(row, sizeof row, "| `%s` | %s |\n", t->name, t->digest);
        assert_non_null(strstr(page, row));
    }
}

/* ---- fetching ---- */

static void test_fetch(void **unused)
{
    (void)unused;
    static const char *const paths[] = { PLAIN, PACKED };
    char asked[4096];
    need_tools();
    for (int i = 0; i < 2; i++) {
        const struct text_package t = text(paths[i]);
        begin(NULL);
        assert_int_equal(text_fetch(&t, false), 0);
        assert_there();
        asked[read_file(temp_path("asked"), asked, sizeof asked - 1)] = 0;
        assert_string_equal(asked, "-q download fake-text\n");
        assert_int_equal(text_fetch(&t, false), 0); /* it is there: nothing is asked */
        assert_int_equal(truncate(cache_path("fake.txt"), 100), 0);
        assert_int_equal(mkdir(cache_path("fake.fetch"), 0777), 0); /* left by a fetch that was killed */
        assert_int_equal(text_fetch(&t, false), 0);
        assert_there();
        asked[read_file(temp_path("asked"), asked, sizeof asked - 1)] = 0;
        assert_string_equal(asked, "-q download fake-text\n-q download fake-text\n");
    }
}

/* What is installed is taken, if it is the text; else the package is asked for. */
static void test_installed_file(void **unused)
{
    (void)unused;
    char asked[4096], other[WHOLE];
    need_tools();
    const struct text_package t = text(temp_path("whole"));
    fake_mode("offline");
    assert_int_equal(text_fetch(&t, false), 0);
    assert_there();
    assert_int_equal(read_file(temp_path("asked"), asked, sizeof asked), 0);
    begin(NULL);
    fake_mode("offline");
    memcpy(other, whole, sizeof other);
    other[HEADER] = '!';
    temp_write("whole", other, sizeof other);
    assert_fails(&t, "E: Unable to locate package");
    temp_write("whole", whole, WHOLE);
}

static void test_wrong_content(void **unused)
{
    (void)unused;
    need_tools();
    struct text_package t = text(PACKED);
    t.digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char wanted[400];
    snprintf(wanted, sizeof wanted,
             "text debian:fake: fake-text 1%%3a2.0-3 has another text in " PACKED
             " than 1.0-1 has: the 5000 bytes from 17 on have the SHA-256 %s, should have 0123456789abcdef",
             digest);
    assert_fails(&t, wanted);
    t = text(PLAIN);
    t.offset = HEADER + 1; /* the bytes beside it are not the text */
    assert_fails(&t, "the 5000 bytes from 18 on have the SHA-256 ");
    t.n_bytes = WHOLE;
    assert_fails(&t, "it has 5057 bytes, the text ends at 5075");
    t.offset = INT64_MAX;
    assert_fails(&t, "it has 5057 bytes, the text ends at ");
    t = text("/usr/share/resa-fake-text/none");
    assert_fails(&t, "fake-text 1%3a2.0-3 has no /usr/share/resa-fake-text/none: ");
    t = text("/usr/share/resa-fake-text/plain.txt.gz"); /* the name says gzip, the package has no such file */
    assert_fails(&t, "has no /usr/share/resa-fake-text/plain.txt.gz");
}

static void test_no_network(void **unused)
{
    (void)unused;
    need_tools();
    const struct text_package t = text(PACKED);
    fake_mode("offline");
    assert_fails(&t, "text debian:fake: apt-get download fake-text failed (is there a network, and apt's list of packages?): "
                     "E: Unable to locate package fake-text");
    fake_mode("nothing");
    assert_fails(&t, "0 files end in .deb after the download, should be one");
}

static void test_no_tools(void **unused)
{
    (void)unused;
    const struct text_package t = text(PACKED);
    char path[PATH_MAX * 2];
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    assert_fails(&t, "apt-get: No such file or directory");
    setenv("PATH", path, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_licence),
        cmocka_unit_test(test_page),
        cmocka_unit_test_setup(test_fetch, begin),
        cmocka_unit_test_setup(test_installed_file, begin),
        cmocka_unit_test_setup(test_wrong_content, begin),
        cmocka_unit_test_setup(test_no_network, begin),
        cmocka_unit_test_setup(test_no_tools, begin),
    };
    return cmocka_run_group_tests(tests, set_up, temp_folder_close);
}

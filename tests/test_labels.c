/* What results are called beside one another, and where their comparison lies. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */

#include "analysis/labels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/temp_folder.h"

enum { N = 4 };
static char paths[N][PATH_MAX + 256];
static char labels[N][LABEL_MAX];

/* Makes the folders and their labels; the comparison's name. */
static const char *compared(int n, const char *const *names)
{
    static char path[PATH_MAX];
    const char *folders[N];
    for (int i = 0; i < n; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", temp_folder, names[i]);
        for (char *at = paths[i] + strlen(temp_folder) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
            *at = '\0';
            mkdir(paths[i], 0777);
        }
        mkdir(paths[i], 0777);
        folders[i] = paths[i];
    }
    if (labels_make(labels, folders, n) != 0 || labels_folder_make(path, folders[0], labels, n) != 0)
        fail_msg("%s", fail_text());
    assert_int_equal(access(path, W_OK), 0);
    return strrchr(path, '/') + 1;
}

static void beside_one_another(void **state)
{
    (void)state;
    assert_string_equal(compared(2, (const char *[]){ "results/a", "results/b" }), "compare-a-b");
    assert_string_equal(compared(2, (const char *[]){ "results/b", "results/a" }), "compare-b-a");
    assert_string_equal(compared(2, (const char *[]){ "results/a", "results/a" }), "compare-a-a");
}

/* Comparisons of one result with others of one name do not overwrite each other. */
static void elsewhere(void **state)
{
    (void)state;
    assert_string_equal(compared(2, (const char *[]){ "results/a", "old/a" }), "compare-a-old_a");
    assert_string_equal(labels[1], "old/a");
    assert_string_equal(compared(2, (const char *[]){ "results/a", "older/a" }), "compare-a-older_a");
    assert_string_equal(compared(2, (const char *[]){ "results/a", "old/b" }), "compare-a-old_b");
    assert_string_equal(compared(4, (const char *[]){ "results/a", "x/old/a", "y/old/a", "results/b" }), "compare-a-x_old_a-y_old_a-b");
}

/* The first's own way in: a link's name is not a folder's. */
static void through_a_link(void **state)
{
    (void)state;
    char link[PATH_MAX + 8];
    compared(2, (const char *[]){ "results/a", "old/a" });
    snprintf(link, sizeof link, "%s/link", temp_folder);
    assert_int_equal(symlink("old/a", link), 0);
    assert_string_equal(compared(2, (const char *[]){ "results/a", "link" }), "compare-a-old_a");
}

static void names_without_room(void **state)
{
    (void)state;
    static char name[2][200] = { "long/", "long/" };
    memset(name[0] + 5, 'a', 100);
    memset(name[1] + 5, 'b', 100);
    const char *made = compared(3, (const char *[]){ name[0], name[1], "long/c" });
    assert_int_equal(strncmp(made, "compare-aaa", 11), 0);
    assert_non_null(strstr(made, "a-and-2-more"));
}

static void folder_that_is_not_there(void **state)
{
    (void)state;
    const char *nowhere = "/nonexistent/results";
    assert_int_equal(labels_make(labels, &nowhere, 1), -1);
    assert_string_equal(fail_text(), "/nonexistent/results: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beside_one_another), cmocka_unit_test(elsewhere),          cmocka_unit_test(through_a_link),
        cmocka_unit_test(names_without_room), cmocka_unit_test(folder_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, temp_folder_close);
}

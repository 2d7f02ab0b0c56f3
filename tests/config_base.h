/* A config that is opened anew for each case, for the tests of configs.  Include after cmocka.h. */
#ifndef TESTS_CONFIG_BASE_H
#define TESTS_CONFIG_BASE_H

#include "core/err.h"
#include "tests/config_case.h"

#define BASE "name: t\nmodel: {synthetic: {}}\nprompt: {random: 1, tokens: 8}\n" /* three lines */

static struct config config;

static inline void open_good(const char *text, const char *override)
{
    config_close(&config);
    if (case_open(&config, text, override) != 0) fail_msg("%s", fail_text());
    assert_int_equal(config_n_errors(&config), 0);
}

/* The first error in the order of the file. */
static inline void check_refused(const char *text, const char *override, const char *part)
{
    config_close(&config);
    if (case_open(&config, text, override) == 0) fail_msg("accepted: %s %s", text, override ? override : "");
    if (config_n_errors(&config) == 0) fail_msg("%s: %s", text, fail_text());
    char *errors = case_errors(&config);
    if (!strstr(errors, part)) fail_msg("'%s' is not in:\n%s", part, errors);
    free(errors);
}

static inline int close_config(void **state)
{
    config_close(&config);
    return temp_folder_close(state);
}

#endif

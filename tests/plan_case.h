/* A plan over a synthetic model, for the tests of plans.  Include after cmocka.h. */
#ifndef TESTS_PLAN_CASE_H
#define TESTS_PLAN_CASE_H

#include "core/err.h"
#include "core/plan.h"
#include "tests/config_case.h"

#define MODEL "model: {synthetic: {layers: 3, hidden: 32, heads: 2, kv_heads: 1, ffn: 64, vocab: 100, context: 4096}}\n"
#define BASE "name: t\n" MODEL "prompt: {random: 1, tokens: 64}\ndecode: {tokens: 32}\n" /* four lines */

static struct model model;
static struct plan plan;

static inline int open_plan(const char *text, const char *override)
{
    struct config c;
    plan_close(&plan);
    model_close(&model);
    if (case_open(&c, text, override) != 0) {
        char *errors = case_errors(&c);
        fail_msg("%s%s", errors, fail_text());
    }
    assert_int_equal(config_open_model(&c, &model), 0);
    return plan_open(&plan, &c, &model);
}

static inline void open_good(const char *text)
{
    if (open_plan(text, NULL) != 0) fail_msg("%s", fail_text());
}

static inline void check_refused_with(const char *text, const char *override, const char *part)
{
    if (open_plan(text, override) == 0) fail_msg("accepted: %s", text);
    if (config_n_errors(&plan.config) == 0) fail_msg("%s: %s", text, fail_text());
    char *errors = case_errors(&plan.config);
    if (!strstr(errors, part)) fail_msg("'%s' is not in:\n%s", part, errors);
    free(errors);
}

static inline void check_refused(const char *text, const char *part)
{
    check_refused_with(text, NULL, part);
}

static inline int close_all(void **state)
{
    plan_close(&plan);
    model_close(&model);
    return temp_folder_close(state);
}

/* What plan_write_yaml() or plan_print() writes; freed by the caller. */
static inline char *written(int (*write)(FILE *out))
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_int_equal(write(f), 0);
    fclose(f);
    return text;
}

static inline int write_yaml(FILE *out)
{
    return plan_write_yaml(&plan, out);
}

static inline int write_print(FILE *out)
{
    return plan_print(&plan, &model, out);
}

#endif

/* tests/tokenizer_cases.h: the goldens that tests/golden/make_tokenizer_golden.py made, for the tests that use them. */
#ifndef TESTS_TOKENIZER_CASES_H
#define TESTS_TOKENIZER_CASES_H

#include "core/err.h"
#include "core/mem.h"
#include "core/tokenizer.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/"

/* tokenizer_cases.json; json_decref() it. */
static inline json_t *cases_read(void)
{
    json_error_t error;
    json_t *cases = json_load_file(GOLDEN "tokenizer_cases.json", JSON_ALLOW_NUL, &error);
    if (!cases) fail_msg("%s:%d: %s", GOLDEN "tokenizer_cases.json", error.line, error.text);
    return cases;
}

static inline void cases_open(struct tokenizer *t, const char *name)
{
    char folder[128];
    snprintf(folder, sizeof folder, GOLDEN "tokenizer_%s", name);
    if (tokenizer_open_json(t, folder) != 0) fail_msg("%s", fail_text());
}

static inline struct str_view cases_view(const json_t *string)
{
    return (struct str_view){ json_string_value(string), json_string_length(string) };
}

/* Fails, and shows the text, unless ids [n] are want's. */
static inline void cases_same(const char *name, struct str_view text, const int32_t *ids, size_t n, const json_t *want)
{
    bool same = n == json_array_size(want);
    for (size_t i = 0; same && i < n; i++) same = ids[i] == json_integer_value(json_array_get(want, i));
    if (same) return;
    char *wanted = json_dumps(want, JSON_COMPACT);
    print_error("%s: '%.*s' (%zu bytes)\n  want %s\n  got  [", name, (int)text.n, text.at, text.n, wanted);
    for (size_t i = 0; i < n; i++) print_error("%s%d", i ? "," : "", (int)ids[i]);
    print_error("]\n");
    free(wanted);
    fail_msg("%s: other ids", name);
}

/* All texts of the cases, markers as control tokens and as text, against the ids of the vocabulary called name. */
static inline void cases_check(const struct tokenizer *t, const char *name)
{
    json_t *cases = cases_read();
    const json_t *texts = json_object_get(cases, "texts");
    const json_t *want = json_object_get(json_object_get(cases, "ids"), name);
    assert_true(json_array_size(texts) > 200);
    assert_int_equal(json_array_size(want), json_array_size(texts));
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const struct str_view text = cases_view(json_array_get(texts, i));
        const json_t *both = json_array_get(want, i);
        for (int spelled = 0; spelled < 2; spelled++) {
            const json_t *ids = json_array_get(both, (size_t)spelled);
            if (spelled && json_array_size(ids) == 0) ids = json_array_get(both, 0); /* [] says: the same */
            int32_t *got = NULL;
            size_t n = 0;
            const int rc = tokenizer_encode(t, text.at, text.n, spelled ? 0 : TOKENIZER_CONTROL, &got, &n);
            if (json_is_null(both)) { /* it has a byte that the vocabulary has no token for */
                assert_int_equal(rc, -1);
                assert_non_null(strstr(fail_text(), "the vocabulary has no token for it"));
                continue;
            }
            if (rc != 0) fail_msg("%s: '%.*s': %s", name, (int)text.n, text.at, fail_text());
            cases_same(name, text, got, n, ids);
            mem_free(got);
        }
    }
    json_decref(cases);
}

#endif

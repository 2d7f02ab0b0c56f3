#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/pretokenizer.h"

#include "core/err.h"
#include "core/pattern.h"

#include <pcre2.h>
#include <string.h>

/* As the models' own tokenizer.json have them; whole_first of Llama 3 is its "ignore_merges". */
static const struct pretokenizer_plan plans[] = {
    { .name = "smollm", .n_splits = 2, .splits = { { .pattern = "\\p{N}" }, { .pattern = PRETOKENIZER_GPT2 } } },
    { .name = "gpt-2", .n_splits = 1, .splits = { { .pattern = PRETOKENIZER_GPT2 } } },
    { .name = "qwen2",
      .nfc = true,
      .n_splits = 1,
      .splits = { { .pattern = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"
                               " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } } },
    { .name = "llama-bpe",
      .whole_first = true,
      .add_bos = true,
      .n_splits = 1,
      .splits = { { .pattern = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
                               " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+" } } },
};

const struct pretokenizer_plan *pretokenizer_plan_find(const char *name)
{
    char names[128] = "";
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        if (strcmp(plans[i].name, name) == 0) return &plans[i];
        strcat(strcat(names, i ? ", " : ""), plans[i].name);
    }
    fail("pre-tokenizer '%.60s' is not known: %s are", name, names);
    return NULL;
}

int pretokenizer_open(struct pretokenizer *p, const struct pretokenizer_plan *plan)
{
    p->nfc = plan->nfc;
    for (size_t i = 0; i < plan->n_splits; i++) {
        p->splits[i].kind = plan->splits[i].kind;
        if (pattern_open(&p->splits[i].code, plan->splits[i].pattern, plan->splits[i].literal) != 0)
            return fail_in("pre-tokenizer");
        p->n_splits = i + 1;
    }
    return 0;
}

void pretokenizer_close(struct pretokenizer *p)
{
    for (size_t i = 0; i < PRETOKENIZER_MAX_SPLITS; i++) pattern_close(p->splits[i].code);
    *p = (struct pretokenizer){ 0 };
}

enum { MATCH_STEPS = 10000000, MATCH_STEPS_PER_BYTE = 16 };

struct cutting {
    const struct pretokenizer *p;
    pcre2_match_context *context;
    pcre2_match_data *matches[PRETOKENIZER_MAX_SPLITS];
    int (*piece)(void *user, struct str_view bytes);
    void *user;
};

static int cut(const struct cutting *c, size_t stage, struct str_view text);

static int hand_on(const struct cutting *c, size_t stage, struct str_view text, size_t from, size_t to, bool is_piece)
{
    if (from == to || !is_piece) return 0;
    return cut(c, stage + 1, (struct str_view){ text.at + from, to - from });
}

/* Cuts text at the matches of one stage and hands the pieces on to the next; each stage sees its text alone. */
static int cut(const struct cutting *c, size_t stage, struct str_view text)
{
    if (stage == c->p->n_splits) return c->piece(c->user, text) == 0 ? 0 : -1;
    const enum split_kind kind = c->p->splits[stage].kind;
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(c->matches[stage]);
    for (size_t at = 0; at < text.n;) {
        /* The text is known to be UTF-8; an empty match cuts nothing. */
        const int rc = pcre2_match(c->p->splits[stage].code, (PCRE2_SPTR)text.at, text.n, at,
                                   PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, c->matches[stage], c->context);
        if (rc == PCRE2_ERROR_NOMATCH) return hand_on(c, stage, text, at, text.n, kind != SPLIT_KEEP);
        if (rc < 0) {
            char why[120] = "";
            pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
            return fail("pre-tokenizer: stage %zu: %s", stage + 1, why);
        }
        const size_t begin = span[0], end = span[1];
        if (hand_on(c, stage, text, at, begin, kind != SPLIT_KEEP) != 0) return -1;
        if (hand_on(c, stage, text, begin, end, kind != SPLIT_DROP) != 0) return -1;
        at = end;
    }
    return 0;
}

int pretokenizer_run(const struct pretokenizer *p, struct str_view text,
                     int (*piece)(void *user, struct str_view bytes), void *user)
{
    struct cutting c = { .p = p, .piece = piece, .user = user };
    c.context = pcre2_match_context_create(NULL);
    bool ready = c.context != NULL;
    for (size_t i = 0; i < p->n_splits; i++) {
        c.matches[i] = pcre2_match_data_create(1, NULL);
        ready = ready && c.matches[i];
    }
    /* Enough for the known patterns on any text, whose steps grow with its length; one that explodes is stopped. */
    const size_t steps = MATCH_STEPS + MATCH_STEPS_PER_BYTE * text.n;
    if (ready) pcre2_set_match_limit(c.context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    const int rc = ready ? cut(&c, 0, text) : fail("pre-tokenizer: out of memory");
    for (size_t i = 0; i < p->n_splits; i++) pcre2_match_data_free(c.matches[i]);
    pcre2_match_context_free(c.context);
    return rc;
}

/* Tables of errors against what attention read. */
#include "analysis/drift_where.h"
#include "analysis/drift_where_rows.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdio.h>

int where_estimate(struct sheet *t, const struct study *s, const double *values, size_t n_values, size_t i)
{
    double *one = NULL;
    TRY(MEM_NEW(&one, s->n_texts, "texts"), "tables");
    for (int text = 0; text < s->n_texts; text++) one[text] = values[(size_t)text * n_values + i];
    const int rc = sheet_estimate(t, estimate_of(one, s->n_texts));
    mem_free(one);
    return rc;
}

struct named {
    enum quantity quantity;
    const char *key, *label;
};
static const struct named errors[] = {
    { QUANTITY_K_ACCUM, "k_accum", "distance of K to clean" },
    { QUANTITY_ATTN_ERR, "attn_err", "attention error" },
    { QUANTITY_KL_CLEAN, "kl_clean", "KL from clean" },
    { QUANTITY_KL, "kl", "KL from dense" },
};
static const struct named reads[] = {
    { QUANTITY_KEPT_MASS, "kept_mass", "kept mass" },
    { QUANTITY_BEST_MASS, "best_mass", "best mass" },
    { QUANTITY_STALE_MASS, "stale_mass", "mass on stale tokens" },
    { QUANTITY_STALE_TOKENS, "stale_tokens", "stale tokens" },
};
enum { N_ERRORS = sizeof errors / sizeof *errors, N_READS = sizeof reads / sizeof *reads };

int where_mass_columns(struct sheet *t)
{
    snprintf(
        t->caption, sizeof t->caption,
        "Errors against what attention read at the same step: Spearman's rank correlation over the steps of a text, "
        "mean over texts. In the lane that is never rectified stale tokens are steps too.");
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "lane", "lane", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "against", "against", 0) != 0)
        return -1;
    for (int i = 0; i < N_ERRORS; i++)
        if (sheet_column(t, COLUMN_SIGNED, errors[i].key, errors[i].label, 2) != 0) return -1;
    return 0;
}

static int mass_row(struct sheet *t, const struct where *w, int lane, const char *name, const struct named *x)
{
    double *values = NULL;
    int rc = sheet_text(t, w->set->group->title);
    if (rc == 0) rc = sheet_text(t, name);
    if (rc == 0) rc = sheet_text(t, x->label);
    if (rc == 0) rc = MEM_NEW(&values, w->s->n_texts, "texts");
    for (int i = 0; i < N_ERRORS && rc == 0; i++) {
        rc = where_ranks(w->s, lane, errors[i].quantity, x->quantity, values);
        if (rc == 0) rc = sheet_estimate(t, estimate_of(values, w->s->n_texts));
    }
    mem_free(values);
    return rc;
}

int where_mass_rows(struct sheet *t, const struct where *w)
{
    for (int i = 0; i < N_READS; i++)
        if (mass_row(t, w, w->never, "never", &reads[i]) != 0) return -1;
    for (int i = 0; i < 2; i++) /* a clean lane has no stale tokens */
        if (mass_row(t, w, w->set->group->clean, "clean", &reads[i]) != 0) return -1;
    return 0;
}

int where_parts_columns(struct sheet *t)
{
    t->folded = true;
    snprintf(t->caption, sizeof t->caption,
             "The same as means: each text's steps in %d parts of as many steps, from the least of what is read to the "
             "most; the lane that is never rectified.",
             WHERE_PARTS);
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "against", "against", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "part", "part", 0) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "value", "its mean", 3) != 0)
        return -1;
    for (int i = 0; i < N_ERRORS; i++)
        if (sheet_column(t, COLUMN_ESTIMATE, errors[i].key, errors[i].label, 4) != 0) return -1;
    return 0;
}

int where_parts_rows(struct sheet *t, const struct where *w)
{
    const size_t one = (size_t)w->s->n_texts * WHERE_PARTS;
    double *x = NULL, *y = NULL;
    int rc = MEM_NEW(&x, one, "parts");
    if (rc == 0) rc = MEM_NEW(&y, one * N_ERRORS, "parts");
    for (int i = 0; i < N_READS - 1 && rc == 0; i++) { /* stale tokens have tables of their own */
        for (int k = 0; k < N_ERRORS && rc == 0; k++)
            rc = where_parts(w->s, w->never, errors[k].quantity, reads[i].quantity, x, y + (size_t)k * one);
        for (size_t part = 0; part < WHERE_PARTS && rc == 0; part++) {
            rc = sheet_text(t, w->set->group->title);
            if (rc == 0) rc = sheet_text(t, reads[i].label);
            if (rc == 0) rc = sheet_number(t, (double)part + 1);
            if (rc == 0) rc = where_estimate(t, w->s, x, WHERE_PARTS, part);
            for (size_t k = 0; k < N_ERRORS && rc == 0; k++)
                rc = where_estimate(t, w->s, y + k * one, WHERE_PARTS, part);
        }
    }
    mem_free(x);
    mem_free(y);
    return rc;
}

#include "analysis/drift_where_sheets.h"

#include "analysis/drift_where.h"
#include "analysis/drift_where_rows.h"
#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

static int never_of(const struct study *s, const struct growth_group *group)
{
    int best = group->lanes[0];
    for (int i = 1; i < group->n_pure; i++)
        if (s->lanes[group->lanes[i]].dense_until < s->lanes[best].dense_until) best = group->lanes[i];
    return best;
}

/* ---- layers ---- */

static const struct {
    enum study_map map;
    const char *key, *label;
    int decimals;
} layer_columns[] = {
    { MAP_K_ACCUM, "k_accum", "distance of K to clean", 4 },
    { MAP_V_ACCUM, "v_accum", "of V", 4 },
    { MAP_ATTN_ACCUM, "attn_accum", "of the attention output", 4 },
    { MAP_K_DRIFT, "k_drift", "K drift", 4 },
    { MAP_KEPT_MASS, "kept_mass", "kept mass", 3 },
    { MAP_BEST_MASS, "best_mass", "best mass", 3 },
    { MAP_STALE_MASS, "stale_mass", "mass on stale tokens", 3 },
};
enum { N_LAYER_COLUMNS = sizeof layer_columns / sizeof *layer_columns };

static int layers_columns(struct sheet *t)
{
    snprintf(t->caption, sizeof t->caption,
             "Where the drift sits in depth: the lane that is never rectified, by layer, means over steps. Layer 0 "
             "holds no distance to "
             "clean, nor K and V of layer 1, by construction.");
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "layer", "layer", 0) != 0)
        return -1;
    for (int i = 0; i < N_LAYER_COLUMNS; i++)
        if (sheet_column(t, COLUMN_ESTIMATE, layer_columns[i].key, layer_columns[i].label, layer_columns[i].decimals) !=
            0)
            return -1;
    return 0;
}

static int layers_rows(struct sheet *t, const struct where *w)
{
    const size_t layers = (size_t)w->s->n_layers, one = layers * (size_t)w->s->n_texts;
    double *values = NULL;
    int rc = MEM_NEW(&values, one * N_LAYER_COLUMNS, "layers");
    for (int i = 0; i < N_LAYER_COLUMNS && rc == 0; i++)
        rc = where_layers(w->s, w->never, layer_columns[i].map, values + (size_t)i * one);
    for (size_t layer = 0; layer < layers && rc == 0; layer++) {
        rc = sheet_text(t, w->set->group->title);
        if (rc == 0) rc = sheet_number(t, (double)layer);
        for (size_t i = 0; i < N_LAYER_COLUMNS && rc == 0; i++)
            rc = where_estimate(t, w->s, values + i * one, layers, layer);
    }
    mem_free(values);
    return rc;
}

/* ---- places in the block ---- */

static const struct {
    bool clean;
    enum quantity quantity;
    const char *key, *label;
} slot_columns[] = {
    { true, QUANTITY_ATTN_ERR, "clean_attn_err", "clean: attention error" },
    { true, QUANTITY_KEPT_MASS, "clean_kept_mass", "clean: kept mass" },
    { false, QUANTITY_K_ACCUM, "never_k_accum", "never: distance of K to clean" },
    { false, QUANTITY_ATTN_ERR, "never_attn_err", "never: attention error" },
    { false, QUANTITY_KEPT_MASS, "never_kept_mass", "never: kept mass" },
};
enum { N_SLOT_COLUMNS = sizeof slot_columns / sizeof *slot_columns };

static int slots_columns(struct sheet *t)
{
    snprintf(
        t->caption, sizeof t->caption,
        "By the place of the step's token in its block (blocks of more than %d tokens: in %d parts): 0 is the first. "
        "Factor: how much more than on average the distance of K to clean is there at the same number of stale "
        "tokens (the growth law's matching).",
        STUDY_SLOTS, STUDY_SLOTS);
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "slot", "place", 0) != 0)
        return -1;
    for (int i = 0; i < N_SLOT_COLUMNS; i++)
        if (sheet_column(t, COLUMN_ESTIMATE, slot_columns[i].key, slot_columns[i].label, 4) != 0) return -1;
    return sheet_column(t, COLUMN_ESTIMATE, "factor", "factor", 3);
}

static int slots_rows(struct sheet *t, const struct where *w)
{
    const struct growth_result *k = &w->set->results[growth_source_best(w->set, GROWTH_K)][GROWTH_K];
    const bool matched = growth_is_there(k) && k->how.matched;
    const size_t one = (size_t)w->s->n_texts * STUDY_SLOTS;
    const int block = w->set->group->policy.block_size, n_slots = block < STUDY_SLOTS ? block : STUDY_SLOTS;
    double *values = NULL;
    int rc = MEM_NEW(&values, one * (N_SLOT_COLUMNS + 1), "places");
    for (size_t i = 0; i < one * (N_SLOT_COLUMNS + 1) && rc == 0; i++) values[i] = NAN;
    for (size_t i = 0; i < N_SLOT_COLUMNS && rc == 0; i++)
        where_slots(w->s, slot_columns[i].clean ? w->set->group->clean : w->never, slot_columns[i].quantity,
                    values + i * one);
    for (int i = 0; matched && i < k->how.n_texts && rc == 0; i++)
        for (int slot = 0; slot < STUDY_SLOTS; slot++)
            values[N_SLOT_COLUMNS * one + (size_t)(k->how.texts[i] * STUDY_SLOTS + slot)] = k->how.slots[i][slot];
    for (size_t slot = 0; slot < (size_t)n_slots && rc == 0; slot++) {
        rc = sheet_text(t, w->set->group->title);
        if (rc == 0) rc = sheet_number(t, (double)slot);
        for (size_t i = 0; i <= N_SLOT_COLUMNS && rc == 0; i++)
            rc = where_estimate(t, w->s, values + i * one, STUDY_SLOTS, slot);
    }
    mem_free(values);
    return rc;
}

/* ---- stale tokens ---- */

static const char *bin_words(char *text, size_t n_bytes, int bin)
{
    const int first = study_stale_bin_first(bin);
    if (bin == STUDY_STALE_BINS - 1)
        snprintf(text, n_bytes, "%d and more", first);
    else if (study_stale_bin_first(bin + 1) == first + 1)
        snprintf(text, n_bytes, "%d", first);
    else
        snprintf(text, n_bytes, "%d to %d", first, study_stale_bin_first(bin + 1) - 1);
    return text;
}

static const enum quantity stale_quantities[] = { QUANTITY_STALE_MASS, QUANTITY_KEPT_MASS, QUANTITY_BEST_MASS };
enum { N_STALE_QUANTITIES = sizeof stale_quantities / sizeof *stale_quantities };

static int stale_columns(struct sheet *t)
{
    snprintf(
        t->caption, sizeof t->caption,
        "The share of attention that falls on stale tokens, by their number: mean over heads, layers, steps and the "
        "group's lanes; and what the selected blocks, and the best ones, hold of it. Position goes along with the "
        "number where lanes are never rectified.");
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "stale_tokens_first", NULL, 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "stale_tokens", "stale tokens", 0) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "stale_mass", "mass on stale tokens", 4) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "kept_mass", "kept mass", 3) != 0)
        return -1;
    return sheet_column(t, COLUMN_ESTIMATE, "best_mass", "best mass", 3);
}

static bool bin_is_there(const double *values, int n_texts, int bin)
{
    for (int text = 0; text < n_texts; text++)
        if (!isnan(values[text * STUDY_STALE_BINS + bin])) return true;
    return false;
}

static int stale_rows(struct sheet *t, const struct where *w)
{
    const struct growth_group *group = w->set->group;
    const size_t one = (size_t)w->s->n_texts * STUDY_STALE_BINS;
    double *values = NULL;
    char text[48];
    int rc = MEM_NEW(&values, one * N_STALE_QUANTITIES, "stale tokens");
    for (size_t i = 0; i < N_STALE_QUANTITIES && rc == 0; i++)
        where_stale(w->s, group->lanes, group->n_lanes, stale_quantities[i], values + i * one);
    for (int bin = 1; bin < STUDY_STALE_BINS && rc == 0; bin++) {
        if (!bin_is_there(values, w->s->n_texts, bin)) continue;
        rc = sheet_text(t, group->title);
        if (rc == 0) rc = sheet_number(t, study_stale_bin_first(bin));
        if (rc == 0) rc = sheet_text(t, bin_words(text, sizeof text, bin));
        for (size_t i = 0; i < N_STALE_QUANTITIES && rc == 0; i++)
            rc = where_estimate(t, w->s, values + i * one, STUDY_STALE_BINS, (size_t)bin);
    }
    mem_free(values);
    return rc;
}

static int stale_layers_columns(struct sheet *t)
{
    t->folded = true;
    snprintf(t->caption, sizeof t->caption,
             "The same by layer, of the lane that is never rectified, and its distance of K to clean.");
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "layer", "layer", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "stale_tokens_first", NULL, 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "stale_tokens", "stale tokens", 0) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "stale_mass", "mass on stale tokens", 4) != 0)
        return -1;
    return sheet_column(t, COLUMN_ESTIMATE, "k_accum", "distance of K to clean", 4);
}

static int stale_layers_rows(struct sheet *t, const struct where *w)
{
    const size_t cells = (size_t)w->s->n_layers * STUDY_STALE_BINS, one = cells * (size_t)w->s->n_texts;
    double *mass = NULL, *accum = NULL;
    char text[48];
    int rc = MEM_NEW(&mass, one, "layers");
    if (rc == 0) rc = MEM_NEW(&accum, one, "layers");
    if (rc == 0) where_stale_layers(w->s, w->never, MAP_STALE_MASS, mass);
    if (rc == 0) where_stale_layers(w->s, w->never, MAP_K_ACCUM, accum);
    for (size_t i = 0; i < cells && rc == 0; i++) {
        const int bin = (int)(i % STUDY_STALE_BINS), layer = (int)(i / STUDY_STALE_BINS);
        bool any = false;
        for (size_t at = i; at < one; at += cells) any = any || !isnan(mass[at]) || !isnan(accum[at]);
        if (bin == 0 || !any) continue;
        rc = sheet_text(t, w->set->group->title);
        if (rc == 0) rc = sheet_number(t, layer);
        if (rc == 0) rc = sheet_number(t, study_stale_bin_first(bin));
        if (rc == 0) rc = sheet_text(t, bin_words(text, sizeof text, bin));
        if (rc == 0) rc = where_estimate(t, w->s, mass, cells, i);
        if (rc == 0) rc = where_estimate(t, w->s, accum, cells, i);
    }
    mem_free(mass);
    mem_free(accum);
    return rc;
}

/* ---- all of them ---- */

enum { N_WHERE_SHEETS = 6 };
const char *const drift_where_sheet_names[N_WHERE_SHEETS + 1] = {
    "drift-layers", "drift-slots", "drift-stale", "drift-mass", "drift-stale-layers", "drift-mass-parts", NULL
};
static const struct {
    int (*columns)(struct sheet *t);
    int (*rows)(struct sheet *t, const struct where *w);
} makers[N_WHERE_SHEETS] = {
    { layers_columns, layers_rows },
    { slots_columns, slots_rows },
    { stale_columns, stale_rows },
    { where_mass_columns, where_mass_rows },
    { stale_layers_columns, stale_layers_rows },
    { where_parts_columns, where_parts_rows },
};

int drift_where_tables(const struct growth_study *g, struct sheet_list *tables, const char *suffix,
                       struct notes *missing)
{
    const int n = g->groups.n < WHERE_MAX_GROUPS ? g->groups.n : WHERE_MAX_GROUPS;
    if (n < g->groups.n &&
        notes_add(missing, "Where the drift sits is told of the first %d of %d sets of lanes.", n, g->groups.n) != 0)
        return -1;
    for (int i = 0; i < N_WHERE_SHEETS; i++) {
        char name[96];
        struct sheet *t = sheet_list_next(tables);
        snprintf(name, sizeof name, "%s%.60s", drift_where_sheet_names[i], suffix);
        if (!t) return -1;
        TRY(sheet_open(t, name), "tables");
        if (makers[i].columns(t) != 0) return -1;
        for (int k = 0; k < n; k++) {
            const struct where w = { g, g->study, &g->sets[k], never_of(g->study, g->sets[k].group) };
            if (makers[i].rows(t, &w) != 0) return -1;
        }
    }
    return 0;
}

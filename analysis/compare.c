#include "analysis/compare.h"

#include "analysis/output.h"
#include "analysis/page_style.h"
#include "analysis/sheet.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

static const enum measure measures[] = { MEASURE_ABOVE_DENSE, MEASURE_KL,      MEASURE_KL_MEDIAN, MEASURE_TOP1,
                                         MEASURE_K_SHIFT,     MEASURE_K_ACCUM, MEASURE_ATTN_ERR,  MEASURE_BYTES };
enum { N_MEASURES_SHOWN = sizeof measures / sizeof measures[0] };

static int columns_make(struct sheet *t)
{
    static const char *const texts[][2] = {
        { "lane", "lane" }, { "results", "results" }, { "study", "study" }, { "commit", NULL }
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (sheet_column(t, COLUMN_TEXT, texts[i][0], texts[i][1], 0) != 0) return -1;
    if (sheet_column(t, COLUMN_NUMBER, "texts", "texts", 0) != 0) return -1;
    for (int i = 0; i < N_MEASURES_SHOWN; i++)
        if (sheet_column_measure(t, i == 0 ? COLUMN_ESTIMATE : COLUMN_NUMBER, measures[i]) != 0) return -1;
    return 0;
}

static int row_add(struct sheet *t, const struct evidence *e, const struct study *s, int lane)
{
    struct estimate estimate;
    if (sheet_text(t, s->lanes[lane].name) != 0 || sheet_text(t, e->folder) != 0 || sheet_text(t, s->title) != 0 ||
        sheet_text(t, s->runs[0].facts[FACT_COMMIT]) != 0 || sheet_number(t, s->n_texts) != 0)
        return -1;
    for (int i = 0; i < N_MEASURES_SHOWN; i++)
        if (study_estimate(s, lane, measures[i], 0, &estimate) != 0 || sheet_estimate(t, estimate) != 0) return -1;
    return 0;
}

/* Calls each lane of all studies in order; row_add for those of a name (NULL: counts whether the name came before). */
static int rows_of_name(struct sheet *t, const struct evidence *all, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n_studies; k++)
            for (int lane = 0; lane < all[i].studies[k].n_lanes; lane++)
                if (strcmp(all[i].studies[k].lanes[lane].name, name) == 0 &&
                    row_add(t, &all[i], &all[i].studies[k], lane) != 0)
                    return -1;
    return 0;
}

static bool name_before(const struct evidence *all, int folder, int study, int lane)
{
    const char *name = all[folder].studies[study].lanes[lane].name;
    for (int i = 0; i <= folder; i++)
        for (int k = 0; k < (i < folder ? all[i].n_studies : study); k++)
            for (int l = 0; l < all[i].studies[k].n_lanes; l++)
                if (strcmp(all[i].studies[k].lanes[l].name, name) == 0) return true;
    return false;
}

static int rows_make(struct sheet *t, const struct evidence *all, int n)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n_studies; k++)
            for (int lane = 0; lane < all[i].studies[k].n_lanes; lane++)
                if (!name_before(all, i, k, lane) && rows_of_name(t, all, n, all[i].studies[k].lanes[lane].name) != 0)
                    return -1;
    return 0;
}

static int html_write(const struct sheet *t, const char *folder)
{
    struct output o = { 0 };
    int rc = output_open(&o, folder, "compare.html");
    if (rc == 0) {
        page_begin(o.file, "Results side by side");
        fputs("<p>", o.file);
        output_html(o.file, t->caption);
        fputs("</p>\n", o.file);
        rc = sheet_write_html(t, o.file);
        page_end(o.file);
    }
    if (rc == 0) rc = output_done(&o);
    output_close(&o);
    return rc;
}

int compare_write(const struct evidence *all, int n)
{
    struct sheet t = { 0 };
    int rc = sheet_open(&t, "compare");
    snprintf(t.caption, sizeof t.caption,
             "%d results side by side, lanes of one name together. Means over the texts of each, in brackets 95 %% bootstrap-t "
             "intervals over texts (from %d texts on). Texts, models and programs may differ between results: nothing is paired "
             "or tested across them.",
             n, ESTIMATE_MIN_TEXTS);
    if (rc == 0) rc = columns_make(&t);
    if (rc == 0) rc = rows_make(&t, all, n);
    if (rc == 0) rc = sheet_write(&t, all[0].folder, "Not paired across results.");
    if (rc == 0) rc = html_write(&t, all[0].folder);
    sheet_close(&t);
    return rc;
}

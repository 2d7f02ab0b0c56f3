#include "analysis/compare.h"

#include "analysis/output.h"
#include "analysis/page_figure.h"
#include "analysis/page_style.h"
#include "analysis/plot_compare.h"
#include "analysis/sheet.h"
#include "analysis/words.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

static const enum measure measures[] = { MEASURE_ABOVE_DENSE, MEASURE_KL,      MEASURE_KL_MEDIAN, MEASURE_TOP1,
                                         MEASURE_K_SHIFT,     MEASURE_K_ACCUM, MEASURE_ATTN_ERR,  MEASURE_BYTES };
enum { N_MEASURES_SHOWN = sizeof measures / sizeof measures[0] };

static int columns_make(struct sheet *t)
{
    static const char *const texts[][2] = {
        { "lane", "lane" }, { "results", "results" }, { "model", "model" }, { "folder", NULL },
        { "study", NULL },  { "commit", NULL },       { "command", NULL },  { "runs_until", NULL },
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (sheet_column(t, COLUMN_TEXT, texts[i][0], texts[i][1], 0) != 0) return -1;
    if (sheet_column(t, COLUMN_NUMBER, "texts", "texts", 0) != 0) return -1;
    for (int i = 0; i < N_MEASURES_SHOWN; i++)
        if (sheet_column_measure(t, i == 0 ? COLUMN_ESTIMATE : COLUMN_NUMBER, measures[i]) != 0) return -1;
    return 0;
}

/* When the last of its runs ended; ISO 8601 sorts as text. */
static const char *runs_until(const struct study *s)
{
    const char *last = s->runs[0].facts[FACT_END];
    for (int i = 1; i < s->n_runs; i++)
        if (strcmp(s->runs[i].facts[FACT_END], last) > 0) last = s->runs[i].facts[FACT_END];
    return last;
}

static int row_add(struct sheet *t, const struct evidence *e, const struct study *s, int lane)
{
    struct estimate estimate;
    char results[256];
    snprintf(results, sizeof results, "%.160s%s%s", e->label, e->n_studies > 1 ? ", " : "",
             e->n_studies > 1 ? s->key : "");
    if (sheet_text(t, s->lanes[lane].name) != 0 || sheet_text(t, results) != 0 || sheet_text(t, s->model) != 0 ||
        sheet_text(t, e->folder) != 0 || sheet_text(t, s->title) != 0 ||
        sheet_text(t, s->runs[0].facts[FACT_COMMIT]) != 0 || sheet_text(t, s->runs[0].facts[FACT_COMMAND]) != 0 ||
        sheet_text(t, runs_until(s)) != 0 || sheet_number(t, s->n_texts) != 0)
        return -1;
    for (int i = 0; i < N_MEASURES_SHOWN; i++)
        if (study_estimate(s, lane, measures[i], s->lanes[lane].dense_until, &estimate) != 0 || sheet_estimate(t, estimate) != 0) return -1;
    return 0;
}

/* The rows of a name, in the order of the results. */
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

/* ---- figures ---- */

enum { MAX_COMPARE_FIGURES = 6 };

/* Figures of each of the results that are worth seeing beside one another, by how their names begin. */
static const char *const main_figures[] = { "corners", "accumulation", "growth", "pareto", "intervals" };

struct compare_figures {
    struct figure figures[MAX_COMPARE_FIGURES];
    int n;
};

static int figures_draw(struct compare_figures *c, const char *folder, const struct evidence *all, int n)
{
    for (int rc = 0; rc == 0 && c->n < MAX_COMPARE_FIGURES;) {
        struct figure *f = &c->figures[c->n];
        char name[32];
        if (c->n == 0)
            snprintf(name, sizeof name, "compare");
        else
            snprintf(name, sizeof name, "compare-%d", c->n + 1);
        rc = figure_open(f, folder, name);
        if (rc == 0) rc = plot_compare(f, all, n, c->n);
        if (rc == 0) rc = figure_draw(f);
        figure_close(f);
        if (rc < 0) return -1;
        c->n += rc == 0;
    }
    return 0;
}

static bool name_begins(const struct figure *f, const char *kind)
{
    return strncmp(f->name, kind, strlen(kind)) == 0;
}

static bool kind_is_there(const struct evidence *all, struct page_part *const *parts, int n, const char *kind)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n_studies; k++)
            for (int m = 0; m < parts[i][k].n_figures; m++)
                if (name_begins(&parts[i][k].figures[m], kind)) return true;
    return false;
}

/* The figures of a kind, those of each of the results in its own column. */
static int kind_write(FILE *out, const struct evidence *all, struct page_part *const *parts, int n, const char *kind)
{
    if (!kind_is_there(all, parts, n, kind)) return 0;
    fputs("<div class=\"beside\">\n", out);
    for (int i = 0; i < n; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "r%d-", i + 1);
        fputs("<div><h3>", out);
        output_html(out, all[i].label);
        fputs("</h3>\n", out);
        for (int k = 0; k < all[i].n_studies; k++)
            for (int m = 0; m < parts[i][k].n_figures; m++) {
                const struct figure *f = &parts[i][k].figures[m];
                if (name_begins(f, kind) && page_figure_write(out, f, NULL, prefix) != 0) return -1;
            }
        fputs("</div>\n", out);
    }
    fputs("</div>\n", out);
    return 0;
}

/* ---- the page ---- */

enum { MADE_MAX = 512 };

/* "12 runs until .., made by commit .. with: .." */
static void made_print(char *text, size_t n_bytes, const struct study *s)
{
    snprintf(text, n_bytes, "%d run%s until %.40s, made by commit %.80s with: %.255s", s->n_runs, words_s(s->n_runs),
             runs_until(s), s->runs[0].facts[FACT_COMMIT], s->runs[0].facts[FACT_COMMAND]);
}

static int content_write(FILE *out, const struct sheet *t, const struct evidence *all, struct page_part *const *parts,
                         int n, const struct compare_figures *figures)
{
    char made[MADE_MAX];
    page_begin(out, "Results side by side");
    fputs("<ul>\n", out);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n_studies; k++) {
            const struct study *s = &all[i].studies[k];
            fputs("<li><strong>", out);
            output_html(out, all[i].label);
            fputs("</strong>: ", out);
            output_html(out, s->title);
            fprintf(out, "; %d texts, %d lanes; ", s->n_texts, s->n_lanes);
            made_print(made, sizeof made, s);
            output_html(out, made);
            fputs(".</li>\n", out);
        }
    fputs("</ul>\n", out);
    for (int i = 0; i < figures->n; i++)
        if (page_figure_write(out, &figures->figures[i], "plots", "") != 0) return -1;
    fputs("<div class=\"table broad\"><p class=\"caption\"><strong>compare.</strong> ", out);
    output_html(out, t->caption);
    fputs("</p>\n", out);
    if (sheet_write_html(t, out) != 0) return -1;
    fputs("</div>\n", out);
    for (size_t i = 0; i < sizeof main_figures / sizeof main_figures[0]; i++)
        if (kind_write(out, all, parts, n, main_figures[i]) != 0) return -1;
    page_end(out);
    return 0;
}

static int html_write(const struct sheet *t, const char *folder, const struct evidence *all,
                      struct page_part *const *parts, int n, const struct compare_figures *figures)
{
    struct output o = { 0 };
    int rc = output_open(&o, folder, "compare.html");
    if (rc == 0) rc = content_write(o.file, t, all, parts, n, figures);
    if (rc == 0) rc = output_done(&o);
    output_close(&o);
    return rc;
}

/* Every study of every folder, and who made it: [n_bytes] are enough, or the rest is left out. */
static void footer_print(char *text, size_t n_bytes, const struct evidence *all, int n)
{
    size_t at = (size_t)snprintf(text, n_bytes, "Not paired across results.");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n_studies && at < n_bytes; k++) {
            char made[MADE_MAX];
            made_print(made, sizeof made, &all[i].studies[k]);
            at +=
                (size_t)snprintf(text + at, n_bytes - at, " %s, %s: %s.", all[i].folder, all[i].studies[k].title, made);
        }
}

static int table_write(struct sheet *t, const char *folder, const struct evidence *all, int n)
{
    char footer[8192];
    bool late = false;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n_studies; k++) late = late || study_turns_late(&all[i].studies[k]);
    TRY(sheet_open(t, "compare"), "compare");
    snprintf(
        t->caption, sizeof t->caption,
        "%d results side by side, lanes of one name together. Means over the texts of each, in brackets 95 %% "
        "bootstrap-t intervals over texts (from %d texts on). Texts, models and programs may differ between results: "
        "nothing is paired or tested across them.%s",
        n, ESTIMATE_MIN_TEXTS, late ? " Lanes that are dense until some step: from that step on." : "");
    if (columns_make(t) != 0 || rows_make(t, all, n) != 0) return -1;
    footer_print(footer, sizeof footer, all, n);
    return sheet_write(t, folder, footer);
}

int compare_write(const struct evidence *all, struct page_part *const *parts, int n, const char *folder)
{
    struct compare_figures figures = { 0 };
    struct sheet t = { 0 };
    int rc = table_write(&t, folder, all, n);
    if (rc == 0) rc = figures_draw(&figures, folder, all, n);
    if (rc == 0) rc = html_write(&t, folder, all, parts, n, &figures);
    sheet_close(&t);
    return rc;
}

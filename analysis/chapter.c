#include "analysis/chapter.h"

#include "analysis/ablation.h"
#include "analysis/drift_where_sheets.h"
#include "analysis/effects.h"
#include "analysis/findings.h"
#include "analysis/headline.h"
#include "analysis/origin_sheet.h"
#include "analysis/paper_sheets.h"
#include "analysis/sheets.h"
#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdio.h>

enum { N_TABLES = 8 }; /* of every study */

const char *const chapter_sheet_names[] = { "effects", "tests", "corners", "paired", "pareto", "summary", "paired-texts", "texts", NULL };

static int tables_write(struct chapter *c, const char *folder, const struct study *s, const char *suffix, double bound)
{
    char file[N_TABLES][96], footer[512];
    for (int i = 0; i < N_TABLES; i++) snprintf(file[i], sizeof file[i], "%s%.60s", chapter_sheet_names[i], suffix);
    struct sheet *t[N_TABLES];
    for (int i = 0; i < N_TABLES; i++)
        if (!(t[i] = sheet_list_next(&c->tables))) return -1;
    TRY(effects_sheet(t[0], s, &c->plain, file[0]), "%s", folder);
    TRY(contests_sheet(t[1], s, &c->contests, file[1]), "%s", folder);
    TRY(sheet_of_corners(t[2], s, &c->corners, file[2]), "%s", folder);
    TRY(sheet_of_pairs(t[3], s, &c->corners, file[3]), "%s", folder);
    TRY(pareto_sheet(t[4], s, &c->pareto, file[4]), "%s", folder);
    TRY(sheet_of_lanes(t[5], s, file[5]), "%s", folder);
    TRY(sheet_of_texts(t[6], s, &c->corners, file[6]), "%s", folder);
    TRY(sheet_of_origins(t[7], s, &c->plain, file[7]), "%s", folder);
    TRY(ablation_sheets(&c->tables, s, suffix), "%s", folder);
    TRY(growth_report_tables(&c->growth, bound, &c->tables, suffix), "%s", folder);
    TRY(drift_where_tables(&c->growth.study, &c->tables, suffix, &c->part.missing), "%s", folder);
    TRY(paper_sheets(&c->tables, s, suffix), "%s", folder);
    snprintf(footer, sizeof footer, "%s. %d run%s, made by commit %.80s with: %.200s", s->title, s->n_runs,
             words_s(s->n_runs), s->runs[0].facts[FACT_COMMIT], s->runs[0].facts[FACT_COMMAND]);
    for (int i = 0; i < c->tables.n; i++) {
        sheet_made_by(&c->tables.sheets[i], s->runs[0].facts[FACT_COMMIT], s->runs[0].facts[FACT_COMMAND]);
        if (sheet_write(&c->tables.sheets[i], folder, footer) != 0) return -1;
    }
    return 0;
}

static int chapter_tell(struct chapter *c, const struct study *s, double bound)
{
    if (findings_write(s, &c->plain, &c->contests, c->part.findings, &c->part.missing) != 0 ||
        growth_report_tell(&c->growth, bound, &c->part.findings[FINDINGS_GROWTH]) != 0)
        return -1;
    return headline_write(s, &c->plain, &c->contests, &c->growth, &c->part.headline);
}

int chapter_write(struct chapter *c, const struct evidence *e, const struct study *s, double bound)
{
    char suffix[72] = "";
    if (e->n_studies > 1) snprintf(suffix, sizeof suffix, "-%s", s->key);
    c->part.study = s;
    TRY(corners_open(&c->corners, s), "%s", e->folder);
    TRY(corners_plain(&c->plain, &c->corners), "%s", e->folder);
    TRY(pareto_open(&c->pareto, s, &c->corners), "%s", e->folder);
    TRY(contests_open(&c->contests, s, &c->corners), "%s", e->folder);
    TRY(growth_report_open(&c->growth, s, &c->corners, &c->part.missing), "%s", e->folder);
    TRY(chapter_tell(c, s, bound), "%s", e->folder);
    if (tables_write(c, e->folder, s, suffix, bound) != 0) return -1;
    TRY(plots_draw(&c->plots, e->folder, s, &c->corners, &c->pareto, &c->growth, suffix, &c->part.missing), "%s", e->folder);
    c->part.figures = c->plots.figures;
    c->part.n_figures = c->plots.n_figures;
    c->part.tables = c->tables.sheets;
    c->part.n_tables = c->tables.n;
    return 0;
}

void chapter_close(struct chapter *c)
{
    sheet_list_close(&c->tables);
    plots_close(&c->plots);
    growth_report_close(&c->growth);
    pareto_close(&c->pareto);
    contests_close(&c->contests);
    mem_free(c->plain.sets);
    corners_close(&c->corners);
    notes_close(&c->part.headline);
    for (int i = 0; i < N_FINDINGS_KINDS; i++) notes_close(&c->part.findings[i]);
    notes_close(&c->part.missing);
}

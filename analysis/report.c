#include "analysis/report.h"

#include "analysis/ablation.h"
#include "analysis/compare.h"
#include "analysis/effects.h"
#include "analysis/drift_where_sheets.h"
#include "analysis/findings.h"
#include "analysis/growth_report.h"
#include "analysis/headline.h"
#include "analysis/latency.h"
#include "analysis/leftovers.h"
#include "analysis/origin_sheet.h"
#include "analysis/page.h"
#include "analysis/paper_sheets.h"
#include "analysis/plots.h"
#include "analysis/sheets.h"
#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <gsl/gsl_errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { N_TABLES = 8 }; /* of every study */

static const char *const table_names[N_TABLES + 1] = { "effects", "tests", "corners", "paired", "pareto", "summary", "paired-texts", "texts", NULL };

/* One study on its way into the page. */
struct chapter {
    struct corners corners, plain; /* plain: corners_plain(), its sets the chapter's */
    struct contests contests;
    struct pareto pareto;
    struct growth_report growth;
    struct plots plots;
    struct sheet_list tables;
    struct page_part part;
};

static int tables_write(struct chapter *c, const char *folder, const struct study *s, const char *suffix, double bound)
{
    char file[N_TABLES][96], footer[512];
    for (int i = 0; i < N_TABLES; i++) snprintf(file[i], sizeof file[i], "%s%.60s", table_names[i], suffix);
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

static int chapter_write(struct chapter *c, struct evidence *e, const struct study *s, double bound)
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

static void chapter_close(struct chapter *c)
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

static int chapters_write(struct evidence *e, struct chapter *chapters, struct page_part *parts, double bound)
{
    for (int i = 0; i < e->n_studies; i++) {
        if (chapter_write(&chapters[i], e, &e->studies[i], bound) != 0) return -1;
        parts[i] = chapters[i].part;
    }
    return page_write(e, parts, e->n_studies);
}

/* What an earlier report of the folder has left. */
static int leftovers_clean(const struct evidence *e, const struct page_part *parts)
{
    static const char *const tables[] = { ".csv", ".md", ".tex", NULL };
    const char **names = NULL;
    int n_names = 1, n = 0;
    static const char *const *const kinds[] = { table_names, ablation_sheet_names, growth_sheet_names, drift_where_sheet_names,
                                                paper_sheet_names };
    for (int i = 0; i < e->n_studies; i++) n_names += parts[i].n_figures + parts[i].n_tables;
    TRY(MEM_NEW(&names, n_names, "names"), "%s", e->folder);
    for (int i = 0; i < e->n_studies; i++)
        for (int k = 0; k < parts[i].n_tables; k++) names[n++] = parts[i].tables[k].name;
    int rc = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == 0; i++)
        rc = leftovers_remove(&(struct leftovers){ e->folder, "tables", kinds[i], tables, names, n });
    n = 0;
    for (int i = 0; i < e->n_studies; i++)
        for (int k = 0; k < parts[i].n_figures; k++) names[n++] = parts[i].figures[k].name;
    if (rc == 0)
        rc = leftovers_remove(&(struct leftovers){ e->folder, "plots", plot_kind_names, figure_extensions, names, n });
    mem_free(names);
    return rc;
}

/* A folder's report, kept while others are compared with it. */
struct volume {
    struct chapter *chapters; /* owned [n_studies] */
    struct page_part *parts;  /* owned [n_studies], of the chapters */
};

static int volume_write(struct volume *v, struct evidence *e, double bound)
{
    int rc = MEM_NEW(&v->chapters, e->n_studies, "studies");
    if (rc == 0) rc = MEM_NEW(&v->parts, e->n_studies, "studies");
    if (rc == 0) rc = chapters_write(e, v->chapters, v->parts, bound);
    return rc == 0 ? leftovers_clean(e, v->parts) : rc;
}

static void volume_close(struct volume *v, int n_studies)
{
    for (int i = 0; v->chapters && i < n_studies; i++) chapter_close(&v->chapters[i]);
    mem_free(v->chapters);
    mem_free(v->parts);
}

/* ---- what is left to say ---- */

void report_told_close(struct report_told *told)
{
    notes_close(&told->pages);
    notes_close(&told->warnings);
}

static int page_told(struct report_told *told, const char *folder, const char *page)
{
    return told ? notes_add(&told->pages, "%s/%s", folder, page) : 0;
}

static int folder_told(struct report_told *told, const char *folder, const struct notes *warnings)
{
    if (page_told(told, folder, "report.html") != 0) return -1;
    for (int i = 0; told && i < warnings->n; i++)
        if (notes_add(&told->warnings, "%s: %s", folder, warnings->text[i]) != 0) return -1;
    return 0;
}

/* ---- folders ---- */

static int volumes_compare(const struct evidence *all, const struct volume *volumes, int n, struct report_told *told)
{
    char folder[PATH_MAX];
    struct page_part **parts = NULL;
    int rc = MEM_NEW(&parts, n, "folders");
    for (int i = 0; i < n && rc == 0; i++) parts[i] = volumes[i].parts;
    if (rc == 0) rc = compare_write(all, parts, n, folder);
    if (rc == 0) rc = page_told(told, folder, "compare.html");
    mem_free(parts);
    return rc;
}

int report_write(int n_folders, char *const *folders)
{
    return report_write_bound(n_folders, folders, NAN, NULL);
}

/* A folder of drift runs, of which *n are open already; one of experiment latency is reported by itself. */
static int folder_report(struct evidence *all, struct volume *volumes, int *n, const char *folder,
                         const char *no_pictures, double bound, struct report_told *told)
{
    struct latency_study times;
    bool timed = false;
    int rc = latency_study_open(&times, folder, &timed);
    if (rc == 0 && timed && no_pictures[0]) rc = notes_add(&times.warnings, "no pictures: %s", no_pictures);
    if (rc == 0 && timed) rc = latency_report(&times);
    if (rc == 0 && timed) rc = folder_told(told, folder, &times.warnings);
    latency_study_close(&times);
    if (rc != 0 || timed) return rc;
    struct evidence *e = &all[*n];
    struct volume *v = &volumes[(*n)++];
    if (evidence_open(e, folder) != 0) return -1;
    if (no_pictures[0] && notes_add(&e->warnings, "no pictures: %s", no_pictures) != 0) return -1;
    return volume_write(v, e, bound) != 0 ? -1 : folder_told(told, folder, &e->warnings);
}

/* Waits until no other report is written into the folder; the descriptor that holds it, -1: none, as where a file system knows no locks of folders. */
static int folder_hold(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        while (flock(fd, LOCK_EX) != 0 && errno == EINTR) continue;
    return fd;
}

int report_write_bound(int n_folders, char *const *folders, double bound, struct report_told *told)
{
    struct evidence *all = NULL;
    struct volume *volumes = NULL;
    char no_pictures[512] = "";
    int n = 0;
    gsl_set_error_handler_off();
    TRY(MEM_NEW(&all, n_folders, "folders"), "report");
    if (figure_check() != 0) snprintf(no_pictures, sizeof no_pictures, "%s", fail_text());
    int rc = MEM_NEW(&volumes, n_folders, "folders");
    for (int i = 0; i < n_folders && rc == 0; i++) {
        const int held = folder_hold(folders[i]);
        rc = folder_report(all, volumes, &n, folders[i], no_pictures, bound, told);
        if (held >= 0) close(held);
    }
    if (rc == 0 && n > 1) rc = volumes_compare(all, volumes, n, told);
    for (int i = 0; i < n; i++) {
        volume_close(&volumes[i], all[i].n_studies);
        evidence_close(&all[i]);
    }
    mem_free(volumes);
    mem_free(all);
    return rc;
}

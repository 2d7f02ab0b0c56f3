/* tables/latency.csv and .md, plots, report.html of a folder of experiment latency. */
#include "analysis/latency.h"
#include "analysis/output.h"
#include "analysis/page_figure.h"
#include "analysis/page_style.h"
#include "analysis/paper_latency.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

enum { N_FIGURES = 2, N_TABLES = 2 };

static void list_write(FILE *out, const struct notes *notes)
{
    fputs("<ul>\n", out);
    for (int i = 0; i < notes->n; i++) {
        fputs("<li>", out);
        output_html(out, notes->text[i]);
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
}

static int page(const struct latency_study *s, const struct notes *findings, const struct figure *figures, const struct sheet *tables)
{
    struct output o = { 0 };
    char title[256];
    const char *slash = strrchr(s->folder, '/');
    TRY(output_open(&o, s->folder, "report.html"), "%s", s->folder);
    snprintf(title, sizeof title, "%.120s: the time of decode steps", slash && slash[1] ? slash + 1 : s->folder);
    page_begin(o.file, title);
    fputs("<p>", o.file);
    output_html(o.file, s->model);
    fputs(" on ", o.file);
    output_html(o.file, s->machine);
    fprintf(o.file, " (device %s), %d runs, made by commit ", s->device, s->n_runs);
    output_html(o.file, s->commit);
    fputs(".</p>\n", o.file);
    if (s->warnings.n) {
        fputs("<div class=\"warnings\">\n", o.file);
        list_write(o.file, &s->warnings);
        fputs("</div>\n", o.file);
    }
    list_write(o.file, findings);
    int rc = 0;
    for (int i = 0; i < N_FIGURES && rc == 0; i++) rc = page_figure_write(o.file, &figures[i], "plots", "");
    for (int i = 0; i < N_TABLES && rc == 0; i++) {
        fputs("<p class=\"caption\">", o.file);
        output_html(o.file, tables[i].caption);
        fputs("</p>\n", o.file);
        rc = sheet_write_html(&tables[i], o.file);
    }
    page_end(o.file);
    if (rc == 0) rc = output_done(&o);
    output_close(&o);
    return rc;
}

int latency_report(const struct latency_study *s)
{
    static int (*const plots[N_FIGURES])(struct figure *f, const struct latency_study *s) = { latency_plot_tokens, latency_plot_parts };
    struct figure figures[N_FIGURES] = { 0 };
    struct sheet tables[N_TABLES] = { 0 };
    struct notes findings = { 0 };
    char footer[400];
    snprintf(footer, sizeof footer, "%s on %s, made by commit %s", s->model, s->machine, s->commit);
    int rc = latency_sheet(&tables[0], s);
    if (rc == 0) rc = paper_latency_sheet(&tables[1], s);
    for (int i = 0; i < N_TABLES && rc == 0; i++) rc = sheet_write(&tables[i], s->folder, footer);
    for (int i = 0; i < N_FIGURES && rc == 0; i++) {
        rc = plots[i](&figures[i], s);
        if (rc == 0) rc = figure_draw(&figures[i]);
    }
    if (rc == 0) rc = latency_findings(s, &findings);
    if (rc == 0) rc = page(s, &findings, figures, tables);
    for (int i = 0; i < N_FIGURES; i++) figure_close(&figures[i]);
    notes_close(&findings);
    for (int i = 0; i < N_TABLES; i++) sheet_close(&tables[i]);
    return rc;
}

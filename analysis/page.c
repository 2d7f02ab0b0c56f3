#include "analysis/page.h"

#include "analysis/output.h"
#include "analysis/page_figure.h"
#include "analysis/page_method.h"
#include "analysis/page_style.h"
#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether two notes begin with the same words up to a colon. */
static bool same_subject(const char *a, const char *b)
{
    const size_t n = strcspn(a, ":");
    return a[n] && n == strcspn(b, ":") && strncmp(a, b, n) == 0;
}

/* A little room where the subject changes. */
static void list_write(FILE *out, const struct notes *notes)
{
    fputs("<ul>\n", out);
    for (int i = 0; i < notes->n; i++) {
        fputs(i && !same_subject(notes->text[i - 1], notes->text[i]) ? "<li class=\"next\">" : "<li>", out);
        output_html(out, notes->text[i]);
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
}

/* ---- tables ---- */

enum {
    LONG_TABLE = 30,
    BROAD_TABLE = 14
}; /* rows above which a table is folded, columns above which its page is turned */

/* What a table was written as, of these. */
static void table_files(FILE *out, const struct evidence *e, const struct sheet *t)
{
    static const char *const extensions[] = { ".csv", ".md", ".tex" };
    char path[4352];
    fputs(" <span class=\"files\">", out);
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++) {
        snprintf(path, sizeof path, "%s/tables/%s%s", e->folder, t->name, extensions[i]);
        if (access(path, R_OK) != 0) continue;
        fprintf(out, "%s<a href=\"tables/", i ? " \xc2\xb7 " : "");
        output_html(out, t->name);
        fprintf(out, "%s\">%s</a>", extensions[i], extensions[i] + 1);
    }
    fputs("</span>", out);
}

/* Of a name like "paired-texts" the words. */
static void table_title(FILE *out, const struct sheet *t)
{
    for (const char *c = t->name; *c; c++) fputc(*c == '-' ? ' ' : *c, out);
}

static int table_write(FILE *out, const struct evidence *e, const struct sheet *t)
{
    const bool folded = sheet_n_rows(t) > LONG_TABLE;
    if (sheet_n_rows(t) == 0) return 0;
    fprintf(out, "<div class=\"table%s\" id=\"table-%s\">%s<strong>",
            t->n_columns > BROAD_TABLE && !folded ? " broad" : "", t->name,
            folded ? "<details><summary class=\"caption\">" : "<p class=\"caption\">");
    table_title(out, t);
    fputs(".</strong> ", out);
    output_html(out, t->caption);
    table_files(out, e, t);
    fputs(folded ? "</summary>\n" : "</p>\n", out);
    TRY(sheet_write_html(t, out), "report.html");
    fputs(folded ? "</details></div>\n" : "</div>\n", out);
    return 0;
}

/* ---- provenance ---- */

static void fact_write(FILE *out, const char *name, const char *value)
{
    if (!value || !value[0]) return;
    fprintf(out, "<dt>%s</dt><dd>", name);
    output_html(out, value);
    fputs("</dd>\n", out);
}

/* A fact once where the runs agree, else each of its values in the order of the runs. */
static void facts_write(FILE *out, const struct study *s, enum run_fact fact, const char *name)
{
    for (int i = 0; i < s->n_runs; i++) {
        bool before = false;
        for (int k = 0; k < i; k++) before = before || strcmp(s->runs[k].facts[fact], s->runs[i].facts[fact]) == 0;
        if (!before) fact_write(out, name, s->runs[i].facts[fact]);
    }
}

static void times_write(FILE *out, const struct study *s)
{
    const char *first = s->runs[0].facts[FACT_START], *last = s->runs[0].facts[FACT_END];
    char text[128];
    int least = s->runs[0].n_threads, most = least;
    for (int i = 1; i < s->n_runs; i++) { /* ISO 8601 sorts as text */
        const struct study_run *r = &s->runs[i];
        if (strcmp(r->facts[FACT_START], first) < 0) first = r->facts[FACT_START];
        if (strcmp(r->facts[FACT_END], last) > 0) last = r->facts[FACT_END];
        least = r->n_threads < least ? r->n_threads : least;
        most = r->n_threads > most ? r->n_threads : most;
    }
    if (least == most)
        snprintf(text, sizeof text, "%d", least);
    else
        snprintf(text, sizeof text, "%d to %d", least, most);
    if (most > 0) fact_write(out, "threads", text);
    snprintf(text, sizeof text, "%.40s to %.40s", first, last);
    fact_write(out, "run", text);
}

static void provenance_write(FILE *out, const struct study *s)
{
    char texts[2048] = "";
    size_t n = 0;
    for (int i = 0; i < s->n_texts && n < sizeof texts; i++)
        n += (size_t)snprintf(texts + n, sizeof texts - n, "%s%s", i ? ", " : "", s->texts[i]);
    fputs("<dl>\n", out);
    facts_write(out, s, FACT_MODEL, "model");
    facts_write(out, s, FACT_MODEL_DIGEST, "model digest");
    fact_write(out, "texts", texts);
    facts_write(out, s, FACT_COMMIT, "commit");
    facts_write(out, s, FACT_COMMAND, "command");
    facts_write(out, s, FACT_CPU, "cpu");
    facts_write(out, s, FACT_GPU, "gpu");
    facts_write(out, s, FACT_DEVICE, "device");
    facts_write(out, s, FACT_ISA, "instruction set");
    times_write(out, s);
    facts_write(out, s, FACT_LIBRARIES, "libraries");
    fputs("</dl>\n", out);
}

/* ---- the page ---- */

/* Links to what is in a part. */
static void part_contents(FILE *out, const struct page_part *part, int number, bool named)
{
    if (named) {
        fprintf(out, "<li><a href=\"#part%d\"><strong>", number);
        output_html(out, part->study->title);
        fputs("</strong></a></li>\n", out);
    }
    fprintf(out, "<li><a href=\"#made%d\">Provenance</a></li>\n", number);
    for (int i = 0; i < part->n_figures; i++) {
        fprintf(out, "<li><a href=\"#%s\">", part->figures[i].name);
        output_html(out, part->figures[i].title);
        fputs("</a></li>\n", out);
    }
    for (int i = 0; i < part->n_tables; i++) {
        if (sheet_n_rows(&part->tables[i]) == 0) continue;
        fprintf(out, "<li><a href=\"#table-%s\">Table: ", part->tables[i].name);
        table_title(out, &part->tables[i]);
        fputs("</a></li>\n", out);
    }
}

static int n_findings(const struct page_part *part)
{
    int n = 0;
    for (int i = 0; i < N_FINDINGS_KINDS; i++) n += part->findings[i].n;
    return n;
}

/* All of it: on demand where there is a short form, so that the figures are not far away. */
static void findings_in_full(FILE *out, const struct page_part *part, bool named)
{
    const int n = n_findings(part);
    const bool folded = part->headline.n > 0;
    if (n == 0) return;
    if (folded) fprintf(out, "<details><summary>In full: %d finding%s, with tests and what holds on how many texts</summary>\n", n, words_s(n));
    for (int i = 0; i < N_FINDINGS_KINDS; i++) {
        if (part->findings[i].n == 0) continue;
        fprintf(out, "<h%d>%s</h%d>\n", named ? 4 : 3, findings_titles[i], named ? 4 : 3);
        list_write(out, &part->findings[i]);
    }
    if (folded) fputs("</details>\n", out);
}

/* What a study says, in short and then in full, and what it cannot say. */
static void part_findings(FILE *out, const struct page_part *part, bool named)
{
    if (named) {
        fputs("<h3>", out);
        output_html(out, part->study->title);
        fputs("</h3>\n", out);
    }
    if (part->headline.n) {
        list_write(out, &part->headline);
        fprintf(out, "<p class=\"caption\">%s; in brackets 95 %% bootstrap-t intervals over texts.</p>\n",
                study_is_of_text(part->study) ? "NLL in nats per token against the dense lane or against one another, "
                                                "paired step by step"
                                              : "KL from the dense lane in nats and agreement with it, paired step by "
                                                "step at the steps that can be compared");
    } else if (n_findings(part) == 0) {
        fputs("<p>Nothing can be said: see what is missing.</p>\n", out);
    }
    findings_in_full(out, part, named);
    if (part->missing.n) {
        fputs("<h3>What is missing</h3>\n", out);
        list_write(out, &part->missing);
    }
}

static int part_write(FILE *out, const struct evidence *e, const struct page_part *part, int number, bool named)
{
    const char *level = named ? "h3" : "h2";
    if (named) {
        fprintf(out, "<h2 id=\"part%d\">", number);
        output_html(out, part->study->title);
        fputs("</h2>\n", out);
    }
    fprintf(out, "<%s id=\"made%d\">Provenance</%s>\n", level, number, level);
    provenance_write(out, part->study);
    if (part->n_figures) fprintf(out, "<%s>Figures</%s>\n", level, level);
    for (int i = 0; i < part->n_figures; i++)
        if (page_figure_write(out, &part->figures[i], "plots", "") != 0) return -1;
    fprintf(out, "<%s>Tables</%s>\n", level, level);
    for (int i = 0; i < part->n_tables; i++)
        if (table_write(out, e, &part->tables[i]) != 0) return -1;
    return 0;
}

/* What is in it and, before all else, what it says and what speaks against it. */
static void summary_write(FILE *out, const struct evidence *e, const struct page_part *parts, int n_parts)
{
    for (int i = 0; i < n_parts; i++) {
        const struct study *s = parts[i].study;
        fputs("<p>", out);
        output_html(out, s->title);
        fprintf(out, ": %d run%s, %d text%s, %d lane%s.</p>\n", s->n_runs, words_s(s->n_runs), s->n_texts,
                words_s(s->n_texts), s->n_lanes, words_s(s->n_lanes));
    }
    if (e->warnings.n)
        fprintf(out, "<p><a href=\"#warnings\">%d warning%s.</a></p>\n", e->warnings.n, words_s(e->warnings.n));
    fputs("<h2>What it shows</h2>\n", out);
    for (int i = 0; i < n_parts; i++) part_findings(out, &parts[i], n_parts > 1);
    if (e->warnings.n) {
        fputs("<div class=\"warnings\" id=\"warnings\"><h2>Warnings</h2>\n", out);
        list_write(out, &e->warnings);
        fputs("</div>\n", out);
    }
    fputs("<nav aria-label=\"Contents\"><ul>\n", out);
    for (int i = 0; i < n_parts; i++) part_contents(out, &parts[i], i, n_parts > 1);
    fputs("<li><a href=\"#floors\">Floors</a></li>\n<li><a href=\"#method\">Method notes</a></li>\n</ul></nav>\n", out);
}

static int content_write(FILE *out, const struct evidence *e, const struct page_part *parts, int n_parts)
{
    char title[256];
    snprintf(title, sizeof title, "%.200s: sparse decoding and rectification", e->name);
    page_begin(out, title);
    summary_write(out, e, parts, n_parts);
    for (int i = 0; i < n_parts; i++)
        if (part_write(out, e, &parts[i], i, n_parts > 1) != 0) return -1;
    fputs("<h2 id=\"floors\">Floors</h2>\n", out);
    if (e->floors.n)
        list_write(out, &e->floors);
    else
        fputs("<p>No control lane and no rectified lane has shown a floor of exactly 0.</p>\n", out);
    page_method_write(out);
    page_end(out);
    return ferror(out) ? fail("report.html: cannot be written: %s", strerror(errno)) : 0;
}

int page_write(const struct evidence *e, const struct page_part *parts, int n_parts)
{
    struct output o = { 0 };
    int rc = output_open(&o, e->folder, "report.html");
    if (rc == 0) rc = content_write(o.file, e, parts, n_parts);
    if (rc == 0) rc = output_done(&o);
    output_close(&o);
    return rc;
}

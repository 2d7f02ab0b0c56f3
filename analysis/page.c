#include "analysis/page.h"

#include "analysis/output.h"
#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char style[] =
    "body{font:16px/1.5 system-ui,-apple-system,'Segoe "
    "UI',sans-serif;color:#1a1a1a;background:#fff;max-width:60rem;margin:0 auto;padding:1rem}\n"
    "h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid "
    "#ccc}h3{font-size:1rem}\n"
    "p,li{overflow-wrap:anywhere}figure{margin:1.5rem 0}figcaption,.caption{font-size:.85rem;color:#444;margin:.4rem "
    "0}\n"
    ".wide{overflow-x:auto}figure svg{width:100%;min-width:34rem;height:auto;display:block}figure svg "
    "image{image-rendering:pixelated}\n"
    "table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.2rem .5rem;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}\n"
    "th{white-space:normal;vertical-align:bottom;border-bottom:1px solid #888}td.text,th.text{text-align:left}\n"
    ".warnings{border-left:4px solid #b35900;background:#fff6ec;padding:.3rem 1rem;margin:1rem 0}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem "
    "1rem;font-size:.85rem}dt{color:#555}dd{margin:0;overflow-wrap:anywhere}\n"
    "@media(max-width:40rem){body{padding:.6rem}dl{grid-template-columns:1fr}dd{margin:0 0 .4rem 0}}\n"
    "@media print{body{max-width:none;font-size:10pt;padding:0}figure,tr{break-inside:avoid}figure "
    "svg{min-width:0}.wide{overflow:visible}"
    "table{font-size:6pt;width:100%}th,td{padding:1pt "
    "2pt;white-space:normal}td.text{overflow-wrap:anywhere}h2{break-after:avoid}"
    "@page{margin:12mm}}\n";

void page_begin(FILE *out, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          out);
    output_html(out, title);
    fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>", style);
    output_html(out, title);
    fputs("</h1>\n", out);
}

void page_end(FILE *out)
{
    fputs("</body>\n</html>\n", out);
}

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

/* ---- figures ---- */

static int svg_read(const struct figure *f, char **text)
{
    char path[4224];
    size_t n = 0, got;
    snprintf(path, sizeof path, "%s/%s.svg", f->folder, f->name);
    FILE *in = fopen(path, "re");
    if (!in) return fail("%s: cannot open: %s", path, strerror(errno));
    int rc = 0;
    do {
        rc = mem_grow((void **)text, n, n + (1 << 18) + 1, 1, "svg");
        got = rc == 0 ? fread(*text + n, 1, 1 << 18, in) : 0;
        n += got;
    } while (got > 0);
    if (rc == 0 && ferror(in)) rc = fail("%s: cannot be read: %s", path, strerror(errno));
    fclose(in);
    return rc;
}

/* From the svg element on; gnuplot's marks and its canvas get the figure's name, because ids are one space in a page. */
static void svg_write(FILE *out, const struct figure *f, const char *text)
{
    static const char *const shared[] = { "gpDot", "gpPt", "gnuplot_canvas" };
    const char *at = strstr(text, "<svg");
    while (at && *at) {
        const char *next = NULL;
        for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
            const char *found = strstr(at, shared[i]);
            if (found && (!next || found < next)) next = found;
        }
        if (!next) break;
        fwrite(at, 1, (size_t)(next - at), out);
        fprintf(out, "%s_", f->name);
        fputc(*next, out);
        at = next + 1;
    }
    if (at) fputs(at, out);
}

static int figure_write(FILE *out, const struct figure *f)
{
    char *text = NULL;
    const int rc = svg_read(f, &text);
    if (rc == 0) {
        fprintf(out, "<figure><div class=\"wide\" style=\"max-width:%dpx\">\n", f->width * 19 / 10);
        svg_write(out, f, text);
        fputs("</div><figcaption>", out);
        output_html(out, f->caption);
        fputs("</figcaption></figure>\n", out);
    }
    mem_free(text);
    return rc;
}

/* ---- tables ---- */

static int part_table(FILE *out, const struct sheet *t, bool folded)
{
    if (sheet_n_rows(t) == 0) return 0;
    fputs(folded ? "<details><summary class=\"caption\">" : "<p class=\"caption\">", out);
    output_html(out, t->caption);
    fprintf(out, folded ? "</summary>\n" : "</p>\n");
    TRY(sheet_write_html(t, out), "report.html");
    if (folded) fputs("</details>\n", out);
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

static int part_write(FILE *out, const struct page_part *part, bool named)
{
    if (named) {
        fputs("<h2>", out);
        output_html(out, part->study->title);
        fputs("</h2>\n", out);
    }
    fprintf(out, "<%s>What it shows</%s>\n", named ? "h3" : "h2", named ? "h3" : "h2");
    if (part->findings.n) {
        fprintf(out, "<p class=\"caption\">%s; in brackets 95 %% bootstrap-t intervals over texts.</p>\n",
                study_is_of_text(part->study) ? "NLL in nats per token against the dense lane or against one another, "
                                                "paired step by step"
                                              : "KL from the dense lane in nats and agreement with it, paired step by "
                                                "step at the steps that can be compared");
        list_write(out, &part->findings);
    } else {
        fputs("<p>Nothing can be said: see what is missing.</p>\n", out);
    }
    if (part->missing.n) {
        fprintf(out, "<h3>What is missing</h3>\n");
        list_write(out, &part->missing);
    }
    for (int i = 0; i < part->n_figures; i++)
        if (figure_write(out, &part->figures[i]) != 0) return -1;
    fprintf(out, "<%s>Tables</%s>\n", named ? "h3" : "h2", named ? "h3" : "h2");
    for (int i = 0; i < part->n_tables; i++)
        if (part_table(out, &part->tables[i], part->tables[i].folded) != 0) return -1;
    fprintf(out, "<%s>Provenance</%s>\n", named ? "h3" : "h2", named ? "h3" : "h2");
    provenance_write(out, part->study);
    return 0;
}

static int content_write(FILE *out, const struct evidence *e, const struct page_part *parts, int n_parts)
{
    char title[256];
    snprintf(title, sizeof title, "%.200s: sparse decoding and rectification", e->name);
    page_begin(out, title);
    for (int i = 0; i < n_parts; i++) {
        fputs("<p>", out);
        output_html(out, parts[i].study->title);
        const struct study *s = parts[i].study;
        fprintf(out, ": %d run%s, %d text%s, %d lane%s.</p>\n", s->n_runs, words_s(s->n_runs), s->n_texts,
                words_s(s->n_texts), s->n_lanes, words_s(s->n_lanes));
    }
    if (e->warnings.n) {
        fputs("<div class=\"warnings\"><h3>Warnings</h3>\n", out);
        list_write(out, &e->warnings);
        fputs("</div>\n", out);
    }
    for (int i = 0; i < n_parts; i++)
        if (part_write(out, &parts[i], n_parts > 1) != 0) return -1;
    fputs("<h2>Floors</h2>\n", out);
    if (e->floors.n)
        list_write(out, &e->floors);
    else
        fputs("<p>No control lane and no rectified lane has shown a floor of exactly 0.</p>\n", out);
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

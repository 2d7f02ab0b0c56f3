#include "analysis/page_figure.h"

#include "core/err.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

enum { NARROW = 300 }; /* a figure up to so wide fits a phone smaller than others */

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

/* What gnuplot calls the same in every svg, and what stands for it: ids are one space in a page, and a browser shows a title. */
static void instead_write(FILE *out, const struct figure *f, const char *prefix, const char *word)
{
    if (strstr(word, "_plot_")) {
        fprintf(out, "%s%s", prefix, word);
    } else if (word[0] == '<') {
        fputs("<title>", out);
        output_html(out, f->title);
        fputs("</title>", out);
    } else {
        fprintf(out, "%s%s_%s", prefix, f->name, word);
    }
}

/* From the svg element on. */
static void svg_write(FILE *out, const struct figure *f, const char *prefix, const char *text)
{
    char id[96], plots[128];
    const char *const words[] = { "gpDot", "gpPt", "gnuplot_canvas", "<title>Gnuplot</title>", plots };
    const char *at = strstr(text, "<svg");
    if (!at) return;
    figure_id(f, id, sizeof id);
    snprintf(plots, sizeof plots, "%s_plot_", id);
    fprintf(out, "<svg role=\"img\"%s", f->width <= NARROW ? " class=\"half\"" : "");
    at += strlen("<svg");
    for (;;) {
        const char *next = NULL, *word = NULL;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            const char *found = strstr(at, words[i]);
            if (found && (!next || found < next)) {
                next = found;
                word = words[i];
            }
        }
        if (!next) break;
        fwrite(at, 1, (size_t)(next - at), out);
        instead_write(out, f, prefix, word);
        at = next + strlen(word);
    }
    fputs(at, out);
}

static void files_write(FILE *out, const struct figure *f, const char *folder)
{
    fputs(" <span class=\"files\">", out);
    for (int i = 0; figure_extensions[i] && (i == 0 || f->drawn); i++) {
        fprintf(out, "%s<a href=\"", i ? " \xc2\xb7 " : "");
        output_html(out, folder);
        fprintf(out, "/%s%s\">%s</a>", f->name, figure_extensions[i], figure_extensions[i] + 1);
    }
    fputs("</span>", out);
}

int page_figure_write(FILE *out, const struct figure *f, const char *folder, const char *prefix)
{
    char *text = NULL;
    const int rc = f->drawn ? svg_read(f, &text) : 0;
    if (rc == 0) {
        fprintf(out, "<figure id=\"%s%s\"><div class=\"wide\" style=\"--pt:%d\">\n", prefix, f->name, f->width);
        if (f->drawn)
            svg_write(out, f, prefix, text);
        else
            fprintf(out, "<p>Not drawn: there was no gnuplot. <code>gnuplot -d %s.gp</code> draws it.</p>\n", f->name);
        fputs("</div><figcaption><strong>", out);
        output_html(out, f->title);
        fputs(".</strong> ", out);
        output_html(out, f->caption);
        if (folder) files_write(out, f, folder);
        fputs("</figcaption></figure>\n", out);
    }
    mem_free(text);
    return rc;
}

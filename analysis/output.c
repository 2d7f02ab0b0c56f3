#include "analysis/output.h"

#include "core/err.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int output_open(struct output *o, const char *folder, const char *name)
{
    *o = (struct output){ 0 };
    if (snprintf(o->path, sizeof o->path, "%s/%s", folder, name) >= (int)sizeof o->path)
        return fail("%s/%s: the path is too long", folder, name);
    snprintf(o->part, sizeof o->part, "%s.part", o->path);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail("%s: cannot create the folder: %s", folder, strerror(errno));
    o->file = fopen(o->part, "we");
    return o->file ? 0 : fail("%s: cannot create: %s", o->part, strerror(errno));
}

int output_done(struct output *o)
{
    int rc = ferror(o->file) || fflush(o->file) != 0 ? fail("%s: cannot write: %s", o->part, strerror(errno)) : 0;
    if (fclose(o->file) != 0 && rc == 0) rc = fail("%s: cannot write: %s", o->part, strerror(errno));
    o->file = NULL;
    if (rc == 0 && rename(o->part, o->path) != 0)
        rc = fail("%s: cannot rename to %s: %s", o->part, o->path, strerror(errno));
    if (rc != 0) unlink(o->part);
    return rc;
}

void output_close(struct output *o)
{
    if (!o->file) return;
    fclose(o->file);
    o->file = NULL;
    unlink(o->part);
}

/* Bytes of the well-formed UTF-8 character at text, 0: there is none. */
static int utf8_length(const unsigned char *text)
{
    const unsigned char c = text[0];
    const int n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    for (int i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f) || (c == 0xf0 && text[1] < 0x90) ||
        (c == 0xf4 && text[1] > 0x8f))
        return 0;
    return n;
}

/* Replacements: pairs of a character and what stands for it. */
static void escaped(FILE *out, const char *text, const char *const (*replace)[2])
{
    while (*text) {
        const int n = utf8_length((const unsigned char *)text);
        const char *instead = n == 0 || (unsigned char)*text < 0x20 || *text == 0x7f ? "?" : NULL;
        for (int i = 0; n == 1 && !instead && replace[i][0]; i++)
            if (*text == replace[i][0][0]) instead = replace[i][1];
        if (instead)
            fputs(instead, out);
        else
            fwrite(text, 1, (size_t)n, out);
        text += n ? n : 1;
    }
}

void output_html(FILE *out, const char *text)
{
    static const char *const replace[][2] = { { "&", "&amp;" },   { "<", "&lt;" },  { ">", "&gt;" },
                                              { "\"", "&quot;" }, { "'", "&#39;" }, { NULL, NULL } };
    escaped(out, text, replace);
}

void output_md(FILE *out, const char *text)
{
    static const char *const replace[][2] = { { "|", "\\|" }, { "<", "&lt;" },  { "&", "&amp;" },
                                              { "*", "\\*" }, { "_", "\\_" },   { "`", "\\`" },
                                              { "[", "\\[" }, { "\\", "\\\\" }, { NULL, NULL } };
    escaped(out, text, replace);
}

void output_plot(FILE *out, const char *text)
{
    static const char *const replace[][2] = {
        { "\"", "'" }, { "\\", "/" }, { "`", "'" }, { "@", "\\@" }, { NULL, NULL }
    };
    escaped(out, text, replace);
}

void output_csv(FILE *out, const char *text)
{
    const int quoted = text[strcspn(text, ",\"\r\n")] != '\0';
    if (quoted) fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    if (quoted) fputc('"', out);
}

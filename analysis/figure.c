#include "analysis/figure.h"

#include "core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const figure_extensions[] = { ".gp", ".svg", ".pdf", ".png", NULL }; /* the script first */

/* Okabe and Ito's colours, in an order whose greys differ, each with its own dash and point. */
const char *const figure_colours[FIGURE_STYLES] = { "#000000", "#0072B2", "#D55E00", "#009E73",
                                                    "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F" };
static const char *const marks[FIGURE_STYLES] = {
    "dt 1 pt 7 ps 0.45",           "dt 1 pt 5 ps 0.45",    "dt (14,4) pt 9 ps 0.55",         "dt (4,3) pt 11 ps 0.55",
    "dt (10,3,2,3) pt 13 ps 0.55", "dt (2,2) pt 6 ps 0.5", "dt (16,3,2,3,2,3) pt 4 ps 0.45", "dt (8,8) pt 8 ps 0.5",
};

static const char settings[] = "set border 3 lw 0.5\n"
                               "set tics nomirror out scale 0.4\n"
                               "unset key\n"
                               "set datafile missing '?'\n"
                               /* viridis, at nine places: its lightness rises evenly, so that it can be read in grey */
                               "set palette defined (0 '#440154', 1 '#472d7b', 2 '#3b528b', 3 '#2c728e', 4 '#21918c', "
                               "5 '#28ae80', 6 '#5ec962', 7 '#addc30', 8 '#fde725')\n";

int figure_open(struct figure *f, const char *results, const char *name)
{
    char script[112];
    *f = (struct figure){ .width = FIGURE_WIDTH };
    if (snprintf(f->name, sizeof f->name, "%s", name) >= (int)sizeof f->name)
        return fail("plot %s: the name is too long", name);
    if (snprintf(f->folder, sizeof f->folder, "%s/plots", results) >= (int)sizeof f->folder)
        return fail("%s/plots: the path is too long", results);
    f->body = open_memstream(&f->body_text, &f->body_bytes);
    if (!f->body) return fail("plot %s: out of memory", name);
    snprintf(script, sizeof script, "%s.gp", name);
    TRY(output_open(&f->script, f->folder, script), "plot %s", name);
    fprintf(f->script.file, "# %s: gnuplot -d %s makes %s.svg, %s.pdf and %s.png of it.\n", script, script, name, name,
            name);
    return 0;
}

void figure_close(struct figure *f)
{
    output_close(&f->script);
    if (f->body) fclose(f->body);
    free(f->body_text);
    f->body = NULL;
    f->body_text = NULL;
}

void figure_data(struct figure *f, const char *block)
{
    fprintf(f->script.file, "$%s << EOD\n", block);
}

void figure_data_end(struct figure *f)
{
    fputs("EOD\n", f->script.file);
}

void figure_id(const struct figure *f, char *id, size_t n_bytes)
{
    snprintf(id, n_bytes, "%s", f->name);
    for (char *c = id; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789", *c)) *c = '_'; /* gnuplot takes no other names */
}

void figure_begin(struct figure *f)
{
    FILE *out = f->script.file;
    char id[sizeof f->name];
    figure_id(f, id, sizeof id);
    /* The PNG is drawn at 3 pixels a point, 216 dots an inch.  Both cairo terminals take fonts for 96 dots an inch, a third
     * too large; the pdf's lines are half as wide as asked for. */
    fprintf(out,
            "do for [kind in 'svg pdf png'] {\n"
            "if (kind eq 'svg') {\n"
            "  set terminal svg size %d,%d dynamic enhanced font 'sans-serif,%d' name '%s' background rgb 'white'\n"
            "}\n"
            "if (kind eq 'pdf') {\n"
            "  set terminal pdfcairo size %.4fin,%.4fin enhanced font 'sans-serif,%d' fontscale 0.75 linewidth 2 "
            "background rgb 'white'\n"
            "}\n"
            "if (kind eq 'png') {\n"
            "  set terminal pngcairo size %d,%d enhanced font 'sans-serif,%d' fontscale 2.25 linewidth 3 pointscale 3 "
            "background rgb 'white'\n"
            "}\n"
            "set output '%s.'.kind\n"
            "reset\nset encoding utf8\n",
            f->width, f->height, FIGURE_FONT, id, f->width / 72.0, f->height / 72.0, FIGURE_FONT, f->width * 3,
            f->height * 3, FIGURE_FONT, f->name);
    for (int i = 0; i < FIGURE_STYLES; i++)
        fprintf(out, "set style line %d lw 1.4 lc rgb '%s' %s\n", i + 1, figure_colours[i], marks[i]);
    fputs(settings, out);
    fputs("set multiplot\n", out);
}

/* Reads what gnuplot says, the first of it into text, until it ends. */
static void said_read(int fd, char *text, size_t n_bytes)
{
    char rest[512];
    size_t n = 0;
    for (;;) {
        const size_t room = n_bytes - 1 - n;
        const ssize_t got = read(fd, room ? text + n : rest, room ? room : sizeof rest);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        if (room) n += (size_t)got;
    }
    text[n] = '\0';
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20) *c = ' ';
}

/* GNUPLOT_MISSING is a failure too, with its text. */
enum { GNUPLOT_MISSING = -2 };
static int gnuplot_run(const char *folder, const char *argument, const char *script)
{
    int ends[2], status = 0;
    char said[512];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail("gnuplot: no pipe: %s", strerror(errno));
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const int null = open("/dev/null", O_RDWR);
        if (null < 0 || dup2(null, 0) < 0 || dup2(ends[1], 1) < 0 || dup2(ends[1], 2) < 0 || chdir(folder) != 0)
            _exit(126);
        if (setenv("TZ", "UTC", 1) != 0) _exit(126); /* a pdf tells its date in the zone of its maker */
        execlp("gnuplot", "gnuplot", argument, script, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (child > 0) said_read(ends[0], said, sizeof said);
    close(ends[0]);
    if (child < 0) return fail("gnuplot: cannot start: %s", strerror(errno));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return fail("gnuplot: not found; pictures need it (Debian's gnuplot-nox)"), GNUPLOT_MISSING;
    return fail("gnuplot: %s: %s", script ? script : argument, said[0] ? said : "it ended without a word");
}

int figure_check(void)
{
    return gnuplot_run("/", "--version", NULL);
}

/* Pictures that an earlier script made. */
static void pictures_remove(const struct figure *f)
{
    char path[4224];
    for (int i = 1; figure_extensions[i]; i++) {
        snprintf(path, sizeof path, "%s/%s%s", f->folder, f->name, figure_extensions[i]);
        unlink(path);
    }
}

/* The day on which a pdf was made is written over: the same data give the same bytes. */
static int pdf_undate(const struct figure *f)
{
    static const char key[] = "/CreationDate (D:", day[] = "19700101000000Z";
    char path[4224], seen[sizeof key] = "";
    snprintf(path, sizeof path, "%s/%s.pdf", f->folder, f->name);
    FILE *file = fopen(path, "r+e");
    if (!file) return fail("%s: cannot open: %s", path, strerror(errno));
    int rc = 0, c;
    while ((c = fgetc(file)) != EOF) {
        memmove(seen, seen + 1, sizeof key - 2);
        seen[sizeof key - 2] = (char)c;
        if (memcmp(seen, key, sizeof key - 1) != 0) continue;
        if (fseek(file, 0, SEEK_CUR) != 0 || fputs(day, file) < 0) rc = -1;
        break;
    }
    if (ferror(file) || fclose(file) != 0 || rc != 0) return fail("%s: cannot write: %s", path, strerror(errno));
    return 0;
}

int figure_draw(struct figure *f)
{
    char script[112];
    if (fflush(f->body) != 0) return fail("plot %s: out of memory", f->name);
    fwrite(f->body_text, 1, f->body_bytes, f->script.file);
    fputs("unset multiplot\nset output\n}\n", f->script.file);
    TRY(output_done(&f->script), "plot %s", f->name);
    snprintf(script, sizeof script, "%s.gp", f->name);
    const int rc = gnuplot_run(f->folder, "-d", script);
    f->drawn = rc == 0;
    if (rc == GNUPLOT_MISSING) return pictures_remove(f), 0;
    return rc == 0 ? pdf_undate(f) : fail_in("plot %s", f->name);
}

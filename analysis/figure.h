/* analysis/figure.h: a figure: a gnuplot script that holds its own data, and the pictures that gnuplot makes of it.
 *
 * FOLDER/plots/NAME.gp is complete: `gnuplot -d NAME.gp` in its folder makes NAME.svg, NAME.pdf and NAME.png anew.  A panel's
 * data go to `script` (figure_data .. figure_data_end) and what draws it to `body`, in whatever order; when all panels are
 * there figure_begin() starts the loop over the terminals, settings for all panels may follow, and figure_draw() adds the body.
 * The same data give the same bytes in every file.                                                              */
#ifndef ANALYSIS_FIGURE_H
#define ANALYSIS_FIGURE_H

#include "analysis/output.h"

#include <stdbool.h>

struct figure {
    char name[96];
    char folder[4096]; /* of the plots */
    char title[128];   /* of a few words, for a list of figures */
    char caption[2048];
    int width, height; /* in points of a page: 8-point text is 8 high */
    bool drawn;        /* its pictures are there: gnuplot was */
    struct output script;
    FILE *body;      /* owned: memory */
    char *body_text; /* owned by body until it is closed */
    size_t body_bytes;
};

int figure_open(struct figure *f, const char *results,
                const char *name);   /* a page wide; whoever draws sets the height */
void figure_close(struct figure *f); /* safe on a zeroed or drawn figure */

void figure_data(struct figure *f, const char *block); /* $block << EOD */
void figure_data_end(struct figure *f);
void figure_begin(struct figure *f); /* the loop over terminals, common settings, multiplot */

/* How the ids of plots in the svg begin, before "_plot_". */
void figure_id(const struct figure *f, char *id, size_t n_bytes);

/* Ends the script and runs gnuplot; -1 with what it said.  Without gnuplot the script is all there is: pictures of an earlier
 * one are removed. */
int figure_draw(struct figure *f);

/* Whether gnuplot can be run here. */
int figure_check(void);

/* What a figure is written as: ".gp", ".svg", .., NULL. */
extern const char *const figure_extensions[];

/* Line styles 1 .. FIGURE_STYLES: colour, dash and point differ, so that they can be read in grey.  figure_colours[i]: the
 * colour of style i + 1, "#RRGGBB". */
enum { FIGURE_STYLES = 8, FIGURE_WIDTH = 504, FIGURE_FONT = 8 };
extern const char *const figure_colours[FIGURE_STYLES];

#endif

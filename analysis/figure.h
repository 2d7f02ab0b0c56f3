/* analysis/figure.h: a figure: a gnuplot script that holds its own data, and the pictures that gnuplot makes of it.
 *
 * FOLDER/plots/NAME.gp is complete: `gnuplot -d NAME.gp` in its folder makes NAME.svg and NAME.png anew.  Data blocks come
 * first (figure_data .. figure_row .. figure_data_end), then figure_begin(), then whatever draws, once for each terminal.  */
#ifndef ANALYSIS_FIGURE_H
#define ANALYSIS_FIGURE_H

#include "analysis/output.h"

struct figure {
    char name[96];
    char folder[4096]; /* of the plots */
    char caption[1280];
    int width, height; /* in points of a page: 10-point text is 10 high */
    struct output script;
};

int figure_open(struct figure *f, const char *results,
                const char *name);   /* a page wide; whoever draws sets the height */
void figure_close(struct figure *f); /* safe on a zeroed or drawn figure */

void figure_data(struct figure *f, const char *block); /* $block << EOD */
void figure_data_end(struct figure *f);
void figure_begin(struct figure *f); /* the loop over terminals, common settings */

/* Ends the script and runs gnuplot; -1 with what it said. */
int figure_draw(struct figure *f);

/* Whether gnuplot can be run here. */
int figure_check(void);

/* The line style of curve i of a figure: colour, dash and point differ, so that it can be read in grey. */
enum { FIGURE_STYLES = 8, FIGURE_WIDTH = 504 };

#endif

/* analysis/plot_grid.h: panels of one size in rows and columns on a figure, and a key above them.
 *
 * Lengths are points of a page.  Panels are numbered row by row from the top left; the last row may be short.  A panel's
 * text uses label tags 1 to 9.                                                                                 */
#ifndef ANALYSIS_PLOT_GRID_H
#define ANALYSIS_PLOT_GRID_H

#include "analysis/figure.h"

#include <stdbool.h>

enum { GRID_MAX_KEYS = 24 };

enum grid_look { GRID_LINE = 1, GRID_POINT = 2, GRID_BOTH = 3, GRID_BOX = 4 /* filled, as bars are */ };
struct grid_key {
    int style; /* of figure.h */
    enum grid_look look;
    char text[48];
};

struct plot_grid {
    /* the caller's */
    int n_panels, n_columns;
    int panel_height;
    int left, right, top, bottom; /* outside the panels; top: without the key */
    int gap_x, gap_y;
    struct grid_key keys[GRID_MAX_KEYS];
    int n_keys;
    char note[96]; /* small and grey at the figure's foot: how much of what the figure is of */
    /* grid_open()'s */
    int n_rows, width, height, key_height, note_height;
};

/* What most figures use: a column of labels at the left, one of numbers below. */
extern const struct plot_grid plot_grid_usual;

/* An entry of the key, once for each text. */
void grid_key_add(struct plot_grid *g, int style, enum grid_look look, const char *text);

/* The size of everything, and the figure's: a page wide, unless it has one column or the caller has set a width. */
void grid_open(struct plot_grid *g, struct figure *f);
/* After the panels: figure_begin() and the key. */
void grid_begin(const struct plot_grid *g, struct figure *f);

/* Where a panel's axes stand; unsets the labels of the panel before. */
void grid_panel(const struct plot_grid *g, FILE *out, int panel);
/* Whether no panel is below it, or left of it: there the axis has numbers. */
bool grid_is_foot(const struct plot_grid *g, int panel);
bool grid_is_side(const struct plot_grid *g, int panel);
/* The x axis' name, where the panel is the lowest of its column. */
void grid_x_name(const struct plot_grid *g, FILE *out, int panel, const char *name);
/* The same, and numbers at the foot and the left alone. */
void grid_axes(const struct plot_grid *g, FILE *out, int panel, const char *x_name);
/* A name for the y axes of rows first .. last, at the figure's left. */
void grid_y_name(const struct plot_grid *g, FILE *out, int first, int last, const char *name);
/* The colours' scale of a column, as wide as it, so high and with its foot so far above the figure's. */
void grid_colour_box(const struct plot_grid *g, FILE *out, int column, int foot, int height);
/* Above the panel, in the middle; at the figure's left; inside it, at its top left. */
void grid_title(FILE *out, const char *text);
void grid_head(const struct plot_grid *g, FILE *out, const char *text);
void grid_inside(FILE *out, const char *text);
/* Inside it, at its bottom right. */
void grid_inside_foot(FILE *out, const char *text);
/* A panel's width. */
double grid_panel_width(const struct plot_grid *g);

#endif

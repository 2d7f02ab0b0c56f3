#include "analysis/plot_grid.h"

#include <string.h>

enum { KEY_HEIGHT = 12, NOTE_HEIGHT = 9, NOTE_FONT = 6, KEY_SAMPLE = 30, KEY_BOX = 6, KEY_GAP = 16, X_NAME = 28, ONE_COLUMN = 320 };

const struct plot_grid plot_grid_usual = {
    .n_columns = 1, .panel_height = 120, .left = 46, .right = 16, .top = 16, .bottom = 36, .gap_x = 14, .gap_y = 18
};

void grid_key_add(struct plot_grid *g, int style, enum grid_look look, const char *text)
{
    for (int i = 0; i < g->n_keys; i++)
        if (strcmp(g->keys[i].text, text) == 0) return;
    if (g->n_keys == GRID_MAX_KEYS) return;
    g->keys[g->n_keys].style = style;
    g->keys[g->n_keys].look = look;
    snprintf(g->keys[g->n_keys++].text, sizeof g->keys[0].text, "%s", text);
}

/* The widths of letters are gnuplot's guess too: on average six tenths of their height. */
static int key_width(const struct grid_key *k)
{
    return KEY_SAMPLE + (int)strlen(k->text) * FIGURE_FONT * 6 / 10 + KEY_GAP;
}

/* Where entry i stands: its left end, and its row. */
static void key_place(const struct plot_grid *g, int i, int *left, int *row)
{
    *left = g->left;
    *row = 0;
    for (int k = 0; k <= i; k++) {
        if (*left > g->left && *left + key_width(&g->keys[k]) - KEY_GAP > g->width - g->right) {
            *left = g->left;
            (*row)++;
        }
        if (k < i) *left += key_width(&g->keys[k]);
    }
}

void grid_open(struct plot_grid *g, struct figure *f)
{
    int left = 0, row = -1;
    if (g->n_columns > g->n_panels) g->n_columns = g->n_panels;
    if (g->n_columns == 1 && f->width == FIGURE_WIDTH)
        f->width = ONE_COLUMN; /* a panel as wide as a page looks empty */
    g->width = f->width;
    g->n_rows = (g->n_panels + g->n_columns - 1) / g->n_columns;
    if (g->n_keys) key_place(g, g->n_keys - 1, &left, &row);
    g->key_height = (row + 1) * KEY_HEIGHT;
    g->note_height = g->note[0] ? NOTE_HEIGHT : 0;
    g->height = g->key_height + g->top + g->n_rows * g->panel_height + (g->n_rows - 1) * g->gap_y + g->bottom +
                g->note_height;
    f->height = g->height;
}

static void label_write(FILE *out, int tag, const char *text)
{
    fprintf(out, "set label %d \"", tag);
    output_plot(out, text);
    fputs("\" ", out);
}

static void key_draw(const struct plot_grid *g, FILE *out)
{
    fputs("set lmargin at screen 0; set rmargin at screen 1; set tmargin at screen 1; set bmargin at screen 0\n"
          "unset border; unset xtics; unset ytics\n",
          out);
    for (int i = 0; i < g->n_keys; i++) {
        int left, row;
        key_place(g, i, &left, &row);
        const struct grid_key *k = &g->keys[i];
        const double y = 1 - (row + 0.6) * KEY_HEIGHT / g->height;
        if (k->look & GRID_LINE)
            fprintf(out, "set arrow %d from screen %.4f, screen %.4f to screen %.4f, screen %.4f nohead ls %d\n",
                    100 + i, (double)left / g->width, y, (left + 24.0) / g->width, y, k->style);
        if (k->look & GRID_POINT)
            fprintf(out, "set label %d '' at screen %.4f, screen %.4f point ls %d\n", 100 + i, (left + 12.0) / g->width,
                    y, k->style);
        if (k->look & GRID_BOX)
            fprintf(out,
                    "set object %d rectangle from screen %.4f, screen %.4f to screen %.4f, screen %.4f fc rgb '%s' fs "
                    "solid 0.85 noborder\n",
                    100 + i, (left + 10.0) / g->width, y - KEY_BOX / 2.0 / g->height, (left + 24.0) / g->width,
                    y + KEY_BOX / 2.0 / g->height, figure_colours[k->style - 1]);
        label_write(out, 200 + i, g->keys[i].text);
        fprintf(out, "at screen %.4f, screen %.4f left noenhanced\n", (left + (double)KEY_SAMPLE) / g->width, y);
    }
    if (g->note[0]) {
        label_write(out, 99, g->note);
        fprintf(out, "at screen 1, screen %.4f right offset -0.5,0 font ',%d' textcolor rgb '#808080' noenhanced\n",
                0.5 * NOTE_HEIGHT / g->height, NOTE_FONT);
    }
    fputs("set xrange [0:1]\nset yrange [0:1]\nplot NaN notitle\nunset arrow\nunset label\nunset object\nset border 3 lw 0.5\n"
          "set xtics nomirror out\nset ytics nomirror out\n",
          out);
}

void grid_begin(const struct plot_grid *g, struct figure *f)
{
    figure_begin(f);
    if (g->n_keys || g->note[0]) key_draw(g, f->script.file);
}

double grid_panel_width(const struct plot_grid *g)
{
    return (double)(g->width - g->left - g->right - (g->n_columns - 1) * g->gap_x) / g->n_columns;
}

static double panel_top(const struct plot_grid *g, int panel)
{
    const int row = panel / g->n_columns;
    return g->key_height + g->top + (double)row * (g->panel_height + g->gap_y);
}

void grid_panel(const struct plot_grid *g, FILE *out, int panel)
{
    const double width = grid_panel_width(g), top = panel_top(g, panel),
                 left = g->left + panel % g->n_columns * (width + g->gap_x);
    fputs("unset label\nunset arrow\n", out);
    fprintf(out,
            "set lmargin at screen %.4f; set rmargin at screen %.4f; set tmargin at screen %.4f; set bmargin at screen "
            "%.4f\n",
            left / g->width, (left + width) / g->width, 1 - top / g->height, 1 - (top + g->panel_height) / g->height);
}

bool grid_is_foot(const struct plot_grid *g, int panel)
{
    return panel + g->n_columns >= g->n_panels;
}

bool grid_is_side(const struct plot_grid *g, int panel)
{
    return panel % g->n_columns == 0;
}

/* Not the axis' own label: how far below it that stands depends on the terminal. */
void grid_x_name(const struct plot_grid *g, FILE *out, int panel, const char *name)
{
    if (!grid_is_foot(g, panel)) return;
    label_write(out, 8, name);
    fprintf(out, "at graph 0.5, screen %.4f center noenhanced\n",
            1 - (panel_top(g, panel) + g->panel_height + X_NAME) / g->height);
}

void grid_axes(const struct plot_grid *g, FILE *out, int panel, const char *x_name)
{
    fprintf(out, "set format x '%s'; set format y '%s'\n", grid_is_foot(g, panel) ? "%g" : "",
            grid_is_side(g, panel) ? "%g" : "");
    grid_x_name(g, out, panel, x_name);
}

void grid_y_name(const struct plot_grid *g, FILE *out, int first, int last, const char *name)
{
    const double top = panel_top(g, first * g->n_columns), bottom = panel_top(g, last * g->n_columns) + g->panel_height;
    label_write(out, 9, name);
    fprintf(out, "at screen %.4f, screen %.4f center rotate noenhanced\n", 7.0 / g->width,
            1 - (top + bottom) / 2 / g->height);
}

void grid_colour_box(const struct plot_grid *g, FILE *out, int column, int foot, int height)
{
    const double width = grid_panel_width(g), left = g->left + column * (width + g->gap_x);
    fprintf(out, "set colorbox horizontal user origin screen %.4f, screen %.4f size screen %.4f, screen %.4f\n",
            left / g->width, (double)(foot + g->note_height) / g->height, width / g->width, (double)height / g->height);
}

void grid_title(FILE *out, const char *text)
{
    label_write(out, 2, text);
    fputs("at graph 0.5, graph 1 center noenhanced offset 0,0.6\n", out);
}

void grid_head(const struct plot_grid *g, FILE *out, const char *text)
{
    label_write(out, 2, text);
    fprintf(out, "at screen %.4f, graph 1 left noenhanced offset 0,0.6\n", 6.0 / g->width);
}

void grid_inside(FILE *out, const char *text)
{
    label_write(out, 1, text);
    fputs("at graph 0, graph 1 left noenhanced front offset 0.4,-0.6\n", out);
}

void grid_inside_foot(FILE *out, const char *text)
{
    label_write(out, 1, text);
    fputs("at graph 1, graph 0 right noenhanced front offset -0.4,0.6\n", out);
}

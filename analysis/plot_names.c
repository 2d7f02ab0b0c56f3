#include "analysis/plot_names.h"

enum { LETTER_WIDTH = 5, NAME_HEIGHT = 9, RING = 6 };

struct name_box name_ring(const struct name_canvas *c, double x, double y)
{
    const double across = (x - c->x.min) / (c->x.max - c->x.min) * c->width,
                 up = (y - c->y.min) / (c->y.max - c->y.min) * c->height;
    return (struct name_box){ across - RING, across + RING, up - RING, up + RING };
}

static bool boxes_meet(const struct name_box *a, const struct name_box *b)
{
    return a->left < b->right && b->left < a->right && a->low < b->high && b->low < a->high;
}

static bool box_is_free(const struct name_canvas *c, const struct name_box *box, const struct name_box *taken, int n)
{
    if (box->left < 0 || box->right > c->width || box->low < 0 || box->high > c->height) return false;
    for (int i = 0; i < n; i++)
        if (boxes_meet(box, &taken[i])) return false;
    return true;
}

bool name_place(const struct name_canvas *c, const struct name_box *ring, size_t n_letters,
                const struct name_box *taken, int n, struct name_box *box)
{
    const double width = (double)n_letters * LETTER_WIDTH;
    *box = (struct name_box){ ring->left - width, ring->left, ring->low - NAME_HEIGHT, ring->low };
    if (box_is_free(c, box, taken, n)) return true;
    *box = (struct name_box){ ring->right, ring->right + width, ring->high, ring->high + NAME_HEIGHT };
    return box_is_free(c, box, taken, n);
}

void name_middle(const struct name_canvas *c, const struct name_box *box, double *x, double *y)
{
    *x = c->x.min + (box->left + box->right) / 2 / c->width * (c->x.max - c->x.min);
    *y = c->y.min + (box->low + box->high) / 2 / c->height * (c->y.max - c->y.min);
}

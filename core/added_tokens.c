#include "core/added_tokens.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

static int compare(struct str_view a, struct str_view b)
{
    const int order = memcmp(a.at, b.at, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_tokens(const void *a, const void *b)
{
    return compare(((const struct added_token *)a)->text, ((const struct added_token *)b)->text);
}

int added_tokens_open(struct added_tokens *a, const struct added_token *list, size_t n)
{
    if (MEM_NEW(&a->sorted, n, "added tokens") != 0) return -1;
    if (n) memcpy(a->sorted, list, n * sizeof *list);
    if (n) qsort(a->sorted, n, sizeof *a->sorted, compare_tokens);
    a->n = n;
    for (size_t i = 0; i < n; i++) {
        if (a->sorted[i].text.n == 0) return fail("added token %d is empty", (int)a->sorted[i].id);
        if (i > 0 && compare_tokens(&a->sorted[i - 1], &a->sorted[i]) == 0)
            return fail("added tokens %d and %d are the same: '%.*s'", (int)a->sorted[i - 1].id, (int)a->sorted[i].id,
                        (int)(a->sorted[i].text.n < 40 ? a->sorted[i].text.n : 40), a->sorted[i].text.at);
        a->begins[(unsigned char)a->sorted[i].text.at[0]] = true;
    }
    return 0;
}

void added_tokens_close(struct added_tokens *a)
{
    mem_free(a->sorted);
    *a = (struct added_tokens){ 0 };
}

/* Of sorted[lo .. hi-1], which agree in their first depth bytes, the first whose byte there is at least c. */
static size_t lower_bound(const struct added_tokens *a, size_t lo, size_t hi, size_t depth, unsigned c)
{
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const struct str_view text = a->sorted[mid].text;
        if (text.n <= depth || (unsigned char)text.at[depth] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest token that stands at text[at]: byte after byte, the range of tokens that begin so is narrowed. */
static const struct added_token *longest_at(const struct added_tokens *a, struct str_view text, size_t at, bool control)
{
    const struct added_token *best = NULL;
    size_t lo = 0, hi = a->n;
    for (size_t depth = 0; at + depth < text.n && lo < hi; depth++) {
        const unsigned c = (unsigned char)text.at[at + depth];
        lo = lower_bound(a, lo, hi, depth, c);
        hi = lower_bound(a, lo, hi, depth, c + 1);
        /* a token that ends here is the first of those that begin so */
        if (lo < hi && a->sorted[lo].text.n == depth + 1 && (control || !a->sorted[lo].control)) best = &a->sorted[lo];
    }
    return best;
}

const struct added_token *added_tokens_next(const struct added_tokens *a, struct str_view text, size_t from,
                                            bool control, size_t *at)
{
    for (size_t i = from; i < text.n; i++) {
        if (!a->begins[(unsigned char)text.at[i]]) continue;
        const struct added_token *found = longest_at(a, text, i, control);
        if (!found) continue;
        *at = i;
        return found;
    }
    return NULL;
}

const struct added_token *added_tokens_find(const struct added_tokens *a, struct str_view text)
{
    const struct added_token key = { text, 0, false };
    return a->n ? bsearch(&key, a->sorted, a->n, sizeof *a->sorted, compare_tokens) : NULL;
}

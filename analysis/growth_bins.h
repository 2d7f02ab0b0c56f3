/* analysis/growth_bins.h: bins of stale tokens, two an octave, that curves of growth are made of.
 *
 *   bin      0  1  2  3  4    5    6     7      8      9  ..
 *   tokens   0  1  2  3  4  5-6  7-8  9-12  13-16  17-24  ..                                                     */
#ifndef ANALYSIS_GROWTH_BINS_H
#define ANALYSIS_GROWTH_BINS_H

enum { N_GROWTH_BINS = 56 }; /* the last one is open */

/* The fewest stale tokens of a bin. */
static inline int growth_bin_first(int bin)
{
    if (bin < 3) return bin;
    return (bin % 2 ? 1 << ((bin - 1) / 2) : 3 << ((bin - 4) / 2)) + 1;
}

static inline int growth_bin(int stale_tokens)
{
    int bin = 0;
    while (bin + 1 < N_GROWTH_BINS && growth_bin_first(bin + 1) <= stale_tokens) bin++;
    return bin;
}

#endif

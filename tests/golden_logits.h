/* tests/golden_logits.h: reads tests/golden/logits-*.bin (format: tests/golden/README.md). */
#ifndef TESTS_GOLDEN_LOGITS_H
#define TESTS_GOLDEN_LOGITS_H

#include "core/err.h"
#include "core/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct golden_logits {
    uint32_t n_positions, vocab, n_kept;
    int32_t *ids;    /* owned [n_positions]: the sequence, from position 0 */
    int32_t *kept;   /* owned [n_kept]: the vocabulary ids whose logits are kept */
    int32_t *argmax; /* owned [n_positions], over the whole vocabulary */
    float *max_abs;  /* owned [n_positions]: the largest |logit|, over the whole vocabulary */
    float *logits;   /* owned [n_positions][n_kept] */
};

static inline void golden_logits_close(struct golden_logits *g)
{
    mem_free(g->ids);
    mem_free(g->kept);
    mem_free(g->argmax);
    mem_free(g->max_abs);
    mem_free(g->logits);
    memset(g, 0, sizeof *g);
}

static inline int golden_logits_array(FILE *file, void **p, size_t n, const char *path)
{
    if (mem_alloc(p, n, 4, path) != 0) return -1;
    return fread(*p, 4, n, file) == n ? 0 : fail("%s: ends early", path);
}

static inline int golden_logits_read(struct golden_logits *g, FILE *file, const char *path)
{
    char magic[8];
    if (fread(magic, 1, 8, file) != 8 || memcmp(magic, "LOGITS1", 8) != 0 || fread(&g->n_positions, 4, 1, file) != 1 ||
        fread(&g->vocab, 4, 1, file) != 1 || fread(&g->n_kept, 4, 1, file) != 1)
        return fail("%s: not a file of logits", path);
    const size_t n = g->n_positions, k = g->n_kept;
    return golden_logits_array(file, (void **)&g->ids, n, path) ||
                   golden_logits_array(file, (void **)&g->kept, k, path) ||
                   golden_logits_array(file, (void **)&g->argmax, n, path) ||
                   golden_logits_array(file, (void **)&g->max_abs, n, path) ||
                   golden_logits_array(file, (void **)&g->logits, n * k, path)
               ? -1
               : 0;
}

/* Zeroed before, closed by the caller whatever happened. */
static inline int golden_logits_open(struct golden_logits *g, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return fail("%s cannot be read: run from the repository's root", path);
    const int rc = golden_logits_read(g, file, path);
    fclose(file);
    return rc;
}

#endif

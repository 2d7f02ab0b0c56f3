#include "analysis/latency_peer.h"

#include "core/err.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 32, LINE_BYTES = 4096 };

/* Columns that say which step it is: the shape's, in the order of latency_study.shape, then batch and context. */
static const char *const keys[] = { "layers", "hidden", "heads", "kv_heads", "dim", "ffn", "vocab", "batch", "context", "ms", "torch", "gpu", "driver" };
enum { BATCH = N_LATENCY_SHAPE, CONTEXT, MS, TORCH, GPU, DRIVER, N_KEYS };
_Static_assert(sizeof keys / sizeof *keys == N_KEYS, "a key for each column");

/* Cuts a line in place; the file's texts hold no quotes and no commas.  How many fields. */
static int line_cut(char *line, char *fields[MAX_FIELDS])
{
    int n = 0;
    line[strcspn(line, "\r\n")] = 0;
    for (char *at = line; at && n < MAX_FIELDS; n++) {
        fields[n] = at;
        at = strchr(at, ',');
        if (at) *at++ = 0;
    }
    return n;
}

static bool number_read(const char *text, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    return end != text && *end == 0 && errno == 0 && isfinite(*value);
}

/* The columns of the keys; -1 with a message where one is missing. */
static int head_read(char *line, const char *path, int columns[N_KEYS])
{
    char *fields[MAX_FIELDS];
    const int n = line_cut(line, fields);
    for (int k = 0; k < N_KEYS; k++) {
        columns[k] = -1;
        for (int i = 0; i < n; i++)
            if (strcmp(fields[i], keys[k]) == 0) columns[k] = i;
        if (columns[k] < 0) return fail("%s: line 1: no column %s", path, keys[k]);
    }
    return 0;
}

static bool shape_is(const struct latency_study *s, const double *values)
{
    for (int i = 0; i < N_LATENCY_SHAPE; i++)
        if ((double)s->shape[i] != values[i]) return false;
    return true;
}

static void points_set(struct latency_study *s, const double *values)
{
    for (int i = 0; i < s->n_points; i++) {
        struct latency_point *p = &s->points[i];
        if ((double)p->batch != values[BATCH] || (double)p->context != values[CONTEXT]) continue;
        p->peer = values[MS] / 1e3;
        p->peer_gain = p->peer / p->token;
        p->peer_verdict = latency_judge(p, p->peer, p->peer, p->peer);
        s->n_peers++;
    }
}

static int row_read(struct latency_study *s, char *line, int number, const int columns[N_KEYS])
{
    char *fields[MAX_FIELDS];
    double values[MS + 1];
    const int n = line_cut(line, fields);
    for (int k = 0; k < N_KEYS; k++)
        if (columns[k] >= n) return notes_add(&s->warnings, "peer-step.csv, line %d: %d fields, column %s is the %dth", number, n, keys[k], columns[k] + 1);
    if (fields[columns[MS]][0] == 0) return 0; /* there was no memory for it */
    for (int k = 0; k <= MS; k++)
        if (!number_read(fields[columns[k]], &values[k]) || values[k] <= 0)
            return notes_add(&s->warnings, "peer-step.csv, line %d: %s: '%.40s' is no number above 0", number, keys[k], fields[columns[k]]);
    if (!shape_is(s, values)) return 0;
    points_set(s, values);
    const char *gpu = fields[columns[GPU]];
    snprintf(s->peer, sizeof s->peer, "PyTorch %.40s on %.80s, driver %.40s", fields[columns[TORCH]], gpu, fields[columns[DRIVER]]);
    if (strcmp(gpu, s->machine) != 0 && !s->peer_is_elsewhere) {
        s->peer_is_elsewhere = true;
        return notes_add(&s->warnings, "peer-step.csv was made on %.80s, the runs on %.80s: what is set against the strong dense step compares machines", gpu, s->machine);
    }
    return 0;
}

int latency_peer_read(struct latency_study *s)
{
    char path[sizeof s->folder + 32], line[LINE_BYTES];
    int columns[N_KEYS], rc = 0;
    snprintf(path, sizeof path, "%s/peer-step.csv", s->folder);
    FILE *in = fopen(path, "re");
    if (!in) return errno == ENOENT ? 0 : fail("%s: %s", path, strerror(errno));
    for (int number = 1; rc == 0 && fgets(line, sizeof line, in); number++)
        rc = number == 1 ? head_read(line, path, columns) : row_read(s, line, number, columns);
    if (rc == 0 && ferror(in)) rc = fail("%s: cannot be read", path);
    fclose(in);
    return rc;
}

void latency_peer_say(const struct latency_study *s, char *text, size_t n_bytes)
{
    if (s->n_peers > 0)
        snprintf(text, n_bytes, "Strong dense: a dense step of the same shape, batch and context in compiled PyTorch with fused attention and one CUDA graph (%s; peer-step.csv).", s->peer);
    else
        snprintf(text, n_bytes,
                 "There is no strong dense baseline here: gains are against this program's own dense lane. It is a dense step of the same shape in compiled PyTorch, "
                 "timed on the same machine by tests/peer_step.py %.200s, which writes peer-step.csv there.",
                 s->folder);
}

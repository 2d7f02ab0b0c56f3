#include "analysis/study_store.h"

#include "analysis/study_load.h"

#include "core/err.h"
#include "core/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGN = 64, MAX_PARTS = N_QUANTITIES + 2 * N_STUDY_AXES * N_STUDY_MAPS };

/* One array of a run. */
struct part {
    void **at;
    size_t n_bytes;
};

static void part_add(struct part *parts, int *n, void **at, size_t n_bytes)
{
    if (*at) parts[(*n)++] = (struct part){ at, n_bytes };
}

/* All that there are, at most MAX_PARTS. */
static int parts_of(const struct study *s, struct study_run *run, struct part *parts)
{
    const size_t lanes = (size_t)run->n_lanes;
    int n = 0;
    for (int q = 0; q < N_QUANTITIES; q++)
        part_add(parts, &n, (void **)&run->series[q], lanes * (size_t)run->n_steps * sizeof(float));
    for (int axis = 0; axis < N_STUDY_AXES; axis++)
        for (int m = 0; m < N_STUDY_MAPS; m++) {
            const size_t cells = lanes * (size_t)study_axis_bins(s, (enum study_axis)axis) * (size_t)s->n_layers;
            part_add(parts, &n, (void **)&run->grids[axis][m].sum, cells * sizeof(float));
            part_add(parts, &n, (void **)&run->grids[axis][m].n, cells * sizeof(uint32_t));
        }
    return n;
}

static size_t aligned(size_t n_bytes)
{
    return (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static int all_write(int fd, const void *bytes, size_t n_bytes)
{
    const char *at = bytes;
    while (n_bytes > 0) {
        const ssize_t n = write(fd, at, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail("%s", strerror(errno));
        at += n;
        n_bytes -= (size_t)n;
    }
    return 0;
}

static int parts_write(int fd, const struct part *parts, int n)
{
    static const char zeros[ALIGN];
    for (int i = 0; i < n; i++)
        if (all_write(fd, *parts[i].at, parts[i].n_bytes) != 0 ||
            all_write(fd, zeros, aligned(parts[i].n_bytes) - parts[i].n_bytes) != 0)
            return -1;
    return 0;
}

/* The file has its name for as long as it takes to drop it. */
static int file_map(struct study_run *run, const char *folder, const struct part *parts, int n, size_t n_bytes)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/.series-XXXXXX", folder) >= (int)sizeof path)
        return fail("%s: the path is too long", folder);
    const int fd = mkstemp(path);
    if (fd < 0) return fail("%s: cannot create: %s", path, strerror(errno));
    unlink(path);
    int rc = parts_write(fd, parts, n);
    void *map = rc == 0 ? mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (rc == 0 && map == MAP_FAILED) rc = fail("%s", strerror(errno));
    close(fd);
    if (rc != 0) return fail_in("%s: %zu bytes of run %s", path, n_bytes, run->id);
    run->map_base = map;
    run->map_bytes = n_bytes;
    return 0;
}

int study_store_run(struct study *s, struct study_run *run, const char *folder)
{
    struct part parts[MAX_PARTS];
    size_t n_bytes = 0;
    const int n = parts_of(s, run, parts);
    for (int i = 0; i < n; i++) n_bytes += aligned(parts[i].n_bytes);
    if (run->map_base || n_bytes == 0) return 0;
    if (!s->touch) TRY(mem_alloc((void **)&s->touch, 1, sizeof *s->touch, "study"), "%s", s->key);
    if (file_map(run, folder, parts, n, n_bytes) != 0) return -1;
    char *at = run->map_base;
    for (int i = 0; i < n; i++) {
        mem_free(*parts[i].at);
        *parts[i].at = at;
        at += aligned(parts[i].n_bytes);
    }
    return 0;
}

void study_store_close(struct study_run *run)
{
    if (!run->map_base) return;
    munmap(run->map_base, run->map_bytes);
    memset(run->series, 0, sizeof run->series);
    memset(run->grids, 0, sizeof run->grids);
    run->map_base = NULL;
    run->map_bytes = 0;
}

/* Whoever crosses the limit gives back; what another thread is reading meanwhile it reads again. */
void study_store_touch(const struct study *s, size_t n_bytes)
{
    if (!s->touch) return;
    size_t before;
#pragma omp atomic capture
    {
        before = s->touch->n_bytes;
        s->touch->n_bytes += n_bytes;
    }
    if (before / STUDY_RESIDENT_BYTES == (before + n_bytes) / STUDY_RESIDENT_BYTES) return;
    for (int i = 0; i < s->n_runs; i++)
        if (s->runs[i].map_base) madvise(s->runs[i].map_base, s->runs[i].map_bytes, MADV_DONTNEED);
}

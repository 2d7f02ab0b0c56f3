#include "core/file_map.h"

#include "core/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map_descriptor(struct file_map *f, int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return fail("%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) return fail("%s: not a regular file", path);
    f->n_bytes = (size_t)st.st_size;
    f->device = (uint64_t)st.st_dev;
    f->inode = (uint64_t)st.st_ino;
    f->modified = st.st_mtim;
    f->changed = st.st_ctim;
    if (f->n_bytes == 0) return 0;
    void *p = mmap(NULL, f->n_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) return fail("%s: cannot map %zu bytes: %s", path, f->n_bytes, strerror(errno));
    f->bytes = p;
    return 0;
}

int file_map_open(struct file_map *f, const char *path)
{
    memset(f, 0, sizeof *f);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no waiting for the writer of a FIFO */
    if (fd < 0) return fail("%s: %s", path, strerror(errno));
    const int rc = map_descriptor(f, fd, path);
    close(fd);
    return rc;
}

void file_map_close(struct file_map *f)
{
    if (f->bytes) munmap((void *)(uintptr_t)f->bytes, f->n_bytes);
    memset(f, 0, sizeof *f);
}

void file_map_drop(const struct file_map *f)
{
    if (f->bytes) madvise((void *)(uintptr_t)f->bytes, f->n_bytes, MADV_DONTNEED);
}

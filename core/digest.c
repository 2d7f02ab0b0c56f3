#include "core/digest.h"

#include "core/user_cache.h"

#include <limits.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KEPT_FROM_BYTES = 1 << 20 };

void digest_bytes(const void *bytes, size_t n_bytes, char hex[DIGEST_CHARS + 1])
{
    struct sha256_ctx sha;
    uint8_t raw[SHA256_DIGEST_SIZE];
    sha256_init(&sha);
    sha256_update(&sha, n_bytes, bytes);
    sha256_digest(&sha, sizeof raw, raw);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
}

/* The change time is part of the name: a file written anew with its old modification time is another file. */
static int stamp_path(const struct file_map *f, char *path, size_t n_bytes)
{
    char name[160];
    snprintf(name, sizeof name, "digests/%llx-%llx-%llx-%llx.%lx-%llx.%lx", (unsigned long long)f->device,
             (unsigned long long)f->inode, (unsigned long long)f->n_bytes, (unsigned long long)f->modified.tv_sec,
             (unsigned long)f->modified.tv_nsec, (unsigned long long)f->changed.tv_sec,
             (unsigned long)f->changed.tv_nsec);
    return user_cache_path(name, path, n_bytes);
}

static bool stamp_read(const char *path, char hex[DIGEST_CHARS + 1])
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    char text[DIGEST_CHARS + 2] = { 0 };
    const size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    if (n != DIGEST_CHARS + 1 || text[DIGEST_CHARS] != '\n') return false;
    text[DIGEST_CHARS] = '\0';
    if (strspn(text, "0123456789abcdef") != DIGEST_CHARS) return false;
    memcpy(hex, text, DIGEST_CHARS + 1);
    return true;
}

/* Written beside and renamed, so that a reader never sees half a stamp. */
static void stamp_write(const char *path, const char *hex)
{
    char part[PATH_MAX + 32];
    if (user_cache_make("digests") != 0) return;
    snprintf(part, sizeof part, "%s.%ld.part", path, (long)getpid());
    FILE *file = fopen(part, "we");
    if (!file) return;
    const bool written = fprintf(file, "%s\n", hex) > 0;
    if (fclose(file) != 0 || !written || rename(part, path) != 0) unlink(part);
}

void digest_file(const struct file_map *f, char hex[DIGEST_CHARS + 1])
{
    char path[PATH_MAX];
    const bool keep = f->n_bytes >= KEPT_FROM_BYTES && stamp_path(f, path, sizeof path) == 0;
    if (keep && stamp_read(path, hex)) return;
    digest_bytes(f->bytes, f->n_bytes, hex);
    if (keep) stamp_write(path, hex);
}

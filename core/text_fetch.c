#include "core/text_fetch.h"

#include "core/digest.h"
#include "core/err.h"
#include "core/fetch.h"
#include "core/file_map.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_packed(const struct text_package *t)
{
    const size_t n = strlen(t->path);
    return n > 3 && strcmp(t->path + n - 3, ".gz") == 0;
}

/* The excerpt of a file into bytes [t->n_bytes]; fails where it is not the text. */
static int excerpt_read(const struct text_package *t, const char *path, void *bytes)
{
    struct file_map map = { 0 };
    char hex[DIGEST_CHARS + 1];
    const size_t first = (size_t)t->offset, n = (size_t)t->n_bytes;
    int rc = file_map_open(&map, path);
    if (rc == 0 && (map.n_bytes < first || map.n_bytes - first < n))
        rc = fail("it has %zu bytes, the text ends at %zu", map.n_bytes, first + n);
    if (rc == 0) {
        memcpy(bytes, map.bytes + first, n);
        digest_bytes(bytes, n, hex);
        if (!text_known_is(t, bytes, n))
            rc = fail("the %zu bytes from %zu on have the SHA-256 %s, should have %s", n, first, hex, t->digest);
    }
    file_map_close(&map);
    return rc;
}

/* The same of the package's file, packed or not. */
static int member_read(const struct fetch *f, const struct text_package *t, const char *path, void *bytes)
{
    char plain[PATH_MAX + 8];
    if (!is_packed(t)) return excerpt_read(t, path, bytes);
    const char *const argv[] = { "gzip", "-dc", path, NULL };
    snprintf(plain, sizeof plain, "%s/plain", f->folder);
    TRY(fetch_run(f, argv, plain), "gzip -dc %s", path);
    return excerpt_read(t, plain, bytes);
}

/* VERSION of PACKAGE_VERSION_ARCHITECTURE.deb, as far as a file's name has it. */
static void version_of(const char *deb, char *version, size_t n_bytes)
{
    const char *at = strrchr(deb, '/');
    at = strchr(at ? at : deb, '_');
    snprintf(version, n_bytes, "%.*s", at ? (int)strcspn(at + 1, "_") : 0, at ? at + 1 : "");
}

static int download(const struct fetch *f, const struct text_package *t, void *bytes)
{
    char deb[PATH_MAX + 300], tar[PATH_MAX + 8], member[PATH_MAX + 8], inner[PATH_MAX], version[100];
    const char *const get[] = { "apt-get", "-q", "download", t->package, NULL };
    const char *const unpack[] = { "dpkg-deb", "--fsys-tarfile", deb, NULL };
    const char *const take[] = { "tar", "-xOf", tar, inner, NULL };
    snprintf(tar, sizeof tar, "%s/tar", f->folder);
    snprintf(member, sizeof member, "%s/member", f->folder);
    snprintf(inner, sizeof inner, ".%s", t->path);
    if (f->verbose) fprintf(stderr, "fetching text %s: Debian package %s\n", t->name, t->package);
    TRY(fetch_run(f, get, NULL), "apt-get download %s failed (is there a network, and apt's list of packages?)", t->package);
    TRY(fetch_find(f, ".deb", deb, sizeof deb), "apt-get download %s", t->package);
    version_of(deb, version, sizeof version);
    TRY(fetch_run(f, unpack, tar), "dpkg-deb --fsys-tarfile %s", deb);
    TRY(fetch_run(f, take, member), "%s %s has no %s", t->package, version, t->path);
    TRY(member_read(f, t, member, bytes), "%s %s has another text in %s than %s has", t->package, version, t->path, t->version);
    return 0;
}

static int keep(const struct fetch *f, const struct text_package *t, const void *bytes)
{
    const int fd = open(f->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return fail("cannot make %s: %s", f->part, strerror(errno));
    const ssize_t n = write(fd, bytes, (size_t)t->n_bytes);
    const int rc = n == t->n_bytes ? fetch_publish(f, fd) : fail("cannot write %s: %s", f->part, n < 0 ? strerror(errno) : "no room");
    close(fd);
    return rc;
}

static int fetch_anew(struct fetch *f, const struct text_package *t)
{
    void *bytes = NULL;
    int rc = fetch_make_folder(f);
    if (rc == 0) rc = mem_alloc(&bytes, 1, (size_t)t->n_bytes, "text");
    if (rc == 0 && (access(t->path, R_OK) != 0 || member_read(f, t, t->path, bytes) != 0)) rc = download(f, t, bytes);
    if (rc == 0) rc = keep(f, t, bytes);
    mem_free(bytes);
    return rc;
}

static bool is_there(const struct fetch *f, const struct text_package *t)
{
    struct file_map map = { 0 };
    if (access(f->target, F_OK) != 0) return false;
    const bool is = file_map_open(&map, f->target) == 0 && text_known_is(t, map.bytes, map.n_bytes);
    file_map_close(&map);
    if (!is) fprintf(stderr, "%s is not the text %s (its SHA-256 differs): fetching it again\n", f->target, t->name);
    return is;
}

int text_fetch(const struct text_package *t, bool verbose)
{
    struct fetch f;
    int rc = fetch_open(&f, "texts", t->name, "txt", verbose);
    if (rc == 0 && !is_there(&f, t)) rc = fetch_anew(&f, t);
    fetch_close(&f);
    return rc == 0 ? 0 : fail_in("text %s%s", TEXT_PREFIX, t->name);
}

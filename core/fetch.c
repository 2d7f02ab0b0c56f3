#include "core/fetch.h"

#include "core/err.h"
#include "core/user_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Removes what a fetch that was killed left, and what this one made: plain files and the folder. */
static void clear_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    rmdir(folder);
}

static int lock(struct fetch *f, const char *path)
{
    f->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (f->lock_fd < 0) return fail("cannot make %s: %s", path, strerror(errno));
    if (flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (f->verbose) fprintf(stderr, "waiting for another fetch of %s\n", f->name);
    while (flock(f->lock_fd, LOCK_EX) != 0)
        if (errno != EINTR) return fail("cannot lock %s: %s", path, strerror(errno));
    return 0;
}

int fetch_open(struct fetch *f, const char *kind, const char *name, const char *extension, bool verbose)
{
    char file[160], lock_path[PATH_MAX];
    *f = (struct fetch){ .verbose = verbose, .lock_fd = -1 };
    snprintf(f->name, sizeof f->name, "%s", name);
    if (user_cache_make(kind) != 0) return -1;
    snprintf(file, sizeof file, "%s/%s.%s", kind, name, extension);
    if (user_cache_path(file, f->target, sizeof f->target) != 0) return -1;
    snprintf(file, sizeof file, "%s/%s.fetch", kind, name);
    if (user_cache_path(file, f->folder, sizeof f->folder) != 0) return -1;
    snprintf(file, sizeof file, "%s/%s.lock", kind, name);
    if (user_cache_path(file, lock_path, sizeof lock_path) != 0) return -1;
    snprintf(f->part, sizeof f->part, "%s/part", f->folder);
    return lock(f, lock_path);
}

int fetch_make_folder(struct fetch *f)
{
    clear_folder(f->folder);
    f->has_folder = mkdir(f->folder, 0777) == 0;
    return f->has_folder ? 0 : fail("cannot make folder %s: %s", f->folder, strerror(errno));
}

/* On the disk before it has its name, and the name on the disk before we say so. */
int fetch_publish(const struct fetch *f, int fd)
{
    char folder[PATH_MAX];
    if (fsync(fd) != 0) return fail("%s: %s", f->part, strerror(errno));
    if (rename(f->part, f->target) != 0) return fail("cannot rename to %s: %s", f->target, strerror(errno));
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(f->target, '/') - f->target), f->target);
    const int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0) return 0;
    fsync(folder_fd);
    close(folder_fd);
    return 0;
}

void fetch_close(struct fetch *f)
{
    if (f->has_folder) clear_folder(f->folder);
    if (f->lock_fd >= 0) close(f->lock_fd); /* and unlocks; the file stays, for whoever waits on it */
    f->has_folder = false;
    f->lock_fd = -1;
}

/* ---- tools ---- */

static bool is_error(const char *line)
{
    return strncmp(line, "ERROR", 5) == 0 || strncmp(line, "E: ", 3) == 0; /* pip's, apt's */
}

/* The last line of a log that is not empty, an error's first of all: what went wrong. */
static void last_words(const char *log, char *words, size_t n_bytes)
{
    char line[1024];
    bool has_error = false;
    snprintf(words, n_bytes, "it said nothing");
    FILE *file = fopen(log, "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0' || (has_error && !is_error(line))) continue;
        snprintf(words, n_bytes, "%.*s", (int)n_bytes - 1, line);
        has_error |= is_error(line);
    }
    if (file) fclose(file);
}

static _Noreturn void become(const struct fetch *f, const char *const *argv, const char *out, const char *log)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    const int in = open("/dev/null", O_RDONLY), err = open(log, flags, 0666);
    if (in < 0 || err < 0 || dup2(in, 0) < 0 || dup2(err, 2) < 0) _exit(126);
    const int to = out ? open(out, flags, 0666) : err;
    if (to < 0 || dup2(to, 1) < 0 || chdir(f->folder) != 0) _exit(126);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int fetch_run(const struct fetch *f, const char *const *argv, const char *out)
{
    char log[PATH_MAX + 8], words[512];
    int status;
    snprintf(log, sizeof log, "%s/log", f->folder);
    const pid_t pid = fork();
    if (pid < 0) return fail("cannot start %s: %s", argv[0], strerror(errno));
    if (pid == 0) become(f, argv, out, log);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return fail("%s: %s", argv[0], strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
    if (WIFSIGNALED(status)) return fail("%s was ended by signal %d", argv[0], WTERMSIG(status));
    last_words(log, words, sizeof words);
    return fail("%s", words);
}

int fetch_find(const struct fetch *f, const char *ending, char *path, size_t n_bytes)
{
    int n = 0;
    DIR *dir = opendir(f->folder);
    if (!dir) return fail("%s: %s", f->folder, strerror(errno));
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        const size_t length = strlen(e->d_name), tail = strlen(ending);
        if (length < tail || strcmp(e->d_name + length - tail, ending) != 0) continue;
        if (n++ == 0) snprintf(path, n_bytes, "%s/%s", f->folder, e->d_name);
    }
    closedir(dir);
    return n == 1 ? 0 : fail("%s: %d files end in %s after the download, should be one", f->folder, n, ending);
}

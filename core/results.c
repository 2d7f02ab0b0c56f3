#include "core/results.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "core/results_index.h"
#include "core/trace_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool name_ends(const char *name, const char *end)
{
    const size_t n = strlen(name), n_end = strlen(end);
    return n > n_end && strcmp(name + n - n_end, end) == 0;
}

static int path_join(const char *folder, const char *name, char *path, size_t n_bytes)
{
    if (snprintf(path, n_bytes, "%s/%s", folder, name) < (int)n_bytes) return 0;
    return fail("%s/%s: the path is longer than %zu bytes", folder, name, n_bytes - 1);
}

int results_path(const struct results *r, const char *name, char *path, size_t n_bytes)
{
    return path_join(r->folder, name, path, n_bytes);
}

int results_run_path(const char *folder, const char *run_id, char *path, size_t n_bytes)
{
    if (snprintf(path, n_bytes, "%s/runs/%s.h5", folder, run_id) < (int)n_bytes) return 0;
    return fail("%s/runs/%s.h5: the path is longer than %zu bytes", folder, run_id, n_bytes - 1);
}

/* The folder and those above it. */
static int folder_make(const char *folder)
{
    char path[PATH_MAX];
    struct stat st;
    if (snprintf(path, sizeof path, "%s", folder) >= (int)sizeof path) return fail("%s: the path is too long", folder);
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != '\0') continue;
        const char here = *at;
        *at = '\0';
        if (mkdir(path, 0777) != 0) {
            const int why = errno;
            if (stat(path, &st) != 0) return fail("%s: cannot create the folder: %s", path, strerror(why));
            if (!S_ISDIR(st.st_mode)) return fail("%s: cannot create the folder: a file has its name", path);
        }
        *at = here;
        if (here == '\0') return 0;
    }
}

static void holder_read(int fd, char *holder, size_t n_bytes)
{
    const ssize_t n = pread(fd, holder, n_bytes - 1, 0);
    holder[n > 0 ? n : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    if (!holder[0]) snprintf(holder, n_bytes, "a process that has just started");
}

static int lock_refuse(const char *path, int fd)
{
    char holder[256];
    holder_read(fd, holder, sizeof holder);
    return fail("%s: another process writes here: %s", path, holder);
}

/* flock, and no file that exists or not: the lock of a process that dies is gone with it. */
static int lock_take(struct results *r)
{
    char path[PATH_MAX], time[PROVENANCE_TIME_BYTES], host[128] = "unknown host", holder[256];
    if (path_join(r->folder, "lock", path, sizeof path) != 0) return -1;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return fail("%s: cannot open: %s", path, strerror(errno));
    r->lock_fd = fd;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) return errno == EWOULDBLOCK ? lock_refuse(path, fd) : fail("%s: cannot lock: %s", path, strerror(errno));
    provenance_now(time, sizeof time);
    gethostname(host, sizeof host - 1);
    const int n = snprintf(holder, sizeof holder, "process %ld on %s since %s\n", (long)getpid(), host, time);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, holder, (size_t)n, 0) != n) return fail("%s: cannot write: %s", path, strerror(errno));
    return 0;
}

/* Nobody else writes here, so whatever ends in .part was left behind. */
static int parts_remove(const char *folder, int *n_removed)
{
    char path[PATH_MAX];
    DIR *d = opendir(folder);
    int rc = 0;
    if (!d) return fail("%s: cannot be listed: %s", folder, strerror(errno));
    for (struct dirent *e; rc == 0 && (e = readdir(d));) {
        if (!name_ends(e->d_name, ".part")) continue;
        rc = path_join(folder, e->d_name, path, sizeof path);
        if (rc == 0 && unlink(path) != 0) rc = fail("%s: cannot remove: %s", path, strerror(errno));
        *n_removed += rc == 0;
    }
    closedir(d);
    return rc;
}

int results_open(struct results *r, const char *folder)
{
    static const char *const inside[] = { "runs", "tables", "plots" };
    char path[PATH_MAX];
    *r = (struct results){ .lock_fd = -1 };
    TRY(mem_strdup(&r->folder, folder), "%s", folder);
    if (folder_make(folder) != 0 || lock_take(r) != 0) return -1;
    for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++)
        if (path_join(folder, inside[i], path, sizeof path) != 0 || folder_make(path) != 0) return -1;
    if (parts_remove(folder, &r->n_removed) != 0 || path_join(folder, "runs", path, sizeof path) != 0) return -1;
    return parts_remove(path, &r->n_removed);
}

void results_close(struct results *r)
{
    if (r->lock_fd >= 0 && r->folder) close(r->lock_fd); /* and with it the lock */
    results_rows_free(r->rows, r->n_rows);
    mem_free(r->folder);
    *r = (struct results){ .lock_fd = -1 };
}

int results_log(const struct results *r, const char *fmt, ...)
{
    char path[PATH_MAX], line[2048];
    va_list ap;
    provenance_now(line, PROVENANCE_TIME_BYTES);
    const size_t head = strlen(line);
    line[head] = ' ';
    va_start(ap, fmt);
    vsnprintf(line + head + 1, sizeof line - head - 2, fmt, ap);
    va_end(ap);
    for (char *c = line; *c; c++)
        if (*c == '\n') *c = ' ';
    const size_t n = strlen(line);
    line[n] = '\n';
    if (results_path(r, "log.txt", path, sizeof path) != 0) return -1;
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) return fail("%s: cannot open: %s", path, strerror(errno));
    const int rc = write(fd, line, n + 1) == (ssize_t)n + 1 ? 0 : fail("%s: cannot write: %s", path, strerror(errno));
    close(fd);
    return rc;
}

int results_run_check(const struct trace_file *f, const char *run_id, int n_steps)
{
    char *stop = NULL;
    int64_t steps = 0;
    if (strcmp(f->run_id, run_id) != 0) return fail("%s: it is of run %s", f->path, f->run_id);
    if (n_steps >= 0 && f->steps_planned != n_steps)
        return fail("%s: %d steps were planned, now it is %d", f->path, f->steps_planned, n_steps);
    if (trace_attr_int(f, "steps", &steps) != 0 || trace_attr_text(f, "stop", &stop) != 0) return -1;
    const bool may_stop = strcmp(stop, "eos") == 0;
    mem_free(stop);
    if (steps != f->n_steps) return fail("%s: %lld steps were recorded, it holds %d", f->path, (long long)steps, f->n_steps);
    if (f->n_steps > f->steps_planned || (f->n_steps < f->steps_planned && !may_stop))
        return fail("%s: it holds %d steps of %d", f->path, f->n_steps, f->steps_planned);
    return 0;
}

int results_commit(const struct trace_file *f, char *commit, size_t n_bytes)
{
    char *text = NULL;
    int64_t dirty = 0;
    if (trace_attr_text(f, "commit", &text) != 0 || trace_attr_int(f, "commit_dirty", &dirty) != 0) {
        mem_free(text);
        return -1;
    }
    snprintf(commit, n_bytes, "%s%s", text, dirty ? "-dirty" : "");
    mem_free(text);
    return 0;
}

static int device_of(const struct trace_file *f, char *device, size_t n_bytes)
{
    char *text = NULL;
    TRY(trace_attr_text(f, "device", &text), "device");
    snprintf(device, n_bytes, "%s", text);
    mem_free(text);
    return 0;
}

void run_status_read(struct run_status *status, const char *path, const char *run_id, int n_steps)
{
    struct trace_file f = { 0 };
    *status = (struct run_status){ .state = RUN_ABSENT };
    if (access(path, F_OK) != 0) return;
    int rc = trace_file_open(&f, path);
    if (rc == 0) rc = results_run_check(&f, run_id, n_steps);
    if (rc == 0) rc = results_commit(&f, status->commit, sizeof status->commit);
    if (rc == 0) rc = device_of(&f, status->device, sizeof status->device);
    status->n_steps = f.n_steps;
    status->n_lanes = f.n_lanes;
    trace_file_close(&f);
    status->state = rc == 0 ? RUN_COMPLETE : RUN_BROKEN;
    if (rc != 0) snprintf(status->why, sizeof status->why, "%s", fail_text());
}

void results_run_status(const struct results *r, const struct run_plan *run, struct run_status *status)
{
    char path[PATH_MAX];
    if (results_run_path(r->folder, run->id, path, sizeof path) == 0) {
        run_status_read(status, path, run->id, run->n_steps);
        return;
    }
    *status = (struct run_status){ .state = RUN_BROKEN };
    snprintf(status->why, sizeof status->why, "%s", fail_text());
}

bool results_is_held(const char *folder, char *holder, size_t n_bytes)
{
    char path[PATH_MAX];
    if (path_join(folder, "lock", path, sizeof path) != 0) return false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (held) holder_read(fd, holder, n_bytes);
    close(fd);
    return held;
}

static int is_run(const struct dirent *e)
{
    return name_ends(e->d_name, ".h5");
}

int results_runs_each(const char *folder, int (*each)(void *data, const char *run_id, const char *path), void *data)
{
    char runs[PATH_MAX], path[PATH_MAX], run_id[NAME_MAX + 1];
    struct dirent **names = NULL;
    if (path_join(folder, "runs", runs, sizeof runs) != 0) return -1;
    const int n = scandir(runs, &names, is_run, alphasort);
    if (n < 0) return errno == ENOENT ? 0 : fail("%s: cannot be listed: %s", runs, strerror(errno));
    int rc = 0;
    for (int i = 0; i < n; i++) {
        const int n_id = (int)strlen(names[i]->d_name) - 3;
        snprintf(run_id, sizeof run_id, "%.*s", n_id, names[i]->d_name);
        if (rc == 0) rc = path_join(runs, names[i]->d_name, path, sizeof path);
        if (rc == 0) rc = each(data, run_id, path);
        free(names[i]);
    }
    free(names);
    return rc;
}

#include "analysis/report.h"

#include "analysis/ablation.h"
#include "analysis/chapter.h"
#include "analysis/compare.h"
#include "analysis/drift_where_sheets.h"
#include "analysis/labels.h"
#include "analysis/latency.h"
#include "analysis/latency_compare.h"
#include "analysis/leftovers.h"
#include "analysis/paper_sheets.h"

#include "core/err.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <gsl/gsl_errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int chapters_write(struct evidence *e, struct chapter *chapters, struct page_part *parts, double bound)
{
    for (int i = 0; i < e->n_studies; i++) {
        if (chapter_write(&chapters[i], e, &e->studies[i], bound) != 0) return -1;
        parts[i] = chapters[i].part;
    }
    return page_write(e, parts, e->n_studies);
}

/* What an earlier report of the folder has left. */
static int leftovers_clean(const struct evidence *e, const struct page_part *parts)
{
    static const char *const tables[] = { ".csv", ".md", ".tex", NULL };
    const char **names = NULL;
    int n_names = 1, n = 0;
    static const char *const *const kinds[] = { chapter_sheet_names, ablation_sheet_names, growth_sheet_names, drift_where_sheet_names,
                                                paper_sheet_names };
    for (int i = 0; i < e->n_studies; i++) n_names += parts[i].n_figures + parts[i].n_tables;
    TRY(MEM_NEW(&names, n_names, "names"), "%s", e->folder);
    for (int i = 0; i < e->n_studies; i++)
        for (int k = 0; k < parts[i].n_tables; k++) names[n++] = parts[i].tables[k].name;
    int rc = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == 0; i++)
        rc = leftovers_remove(&(struct leftovers){ e->folder, "tables", kinds[i], tables, names, n });
    n = 0;
    for (int i = 0; i < e->n_studies; i++)
        for (int k = 0; k < parts[i].n_figures; k++) names[n++] = parts[i].figures[k].name;
    if (rc == 0)
        rc = leftovers_remove(&(struct leftovers){ e->folder, "plots", plot_kind_names, figure_extensions, names, n });
    mem_free(names);
    return rc;
}

/* A folder's report, kept while others are compared with it. */
struct volume {
    struct chapter *chapters; /* owned [n_studies] */
    struct page_part *parts;  /* owned [n_studies], of the chapters */
};

static int volume_write(struct volume *v, struct evidence *e, double bound)
{
    int rc = MEM_NEW(&v->chapters, e->n_studies, "studies");
    if (rc == 0) rc = MEM_NEW(&v->parts, e->n_studies, "studies");
    if (rc == 0) rc = chapters_write(e, v->chapters, v->parts, bound);
    return rc == 0 ? leftovers_clean(e, v->parts) : rc;
}

static void volume_close(struct volume *v, int n_studies)
{
    for (int i = 0; v->chapters && i < n_studies; i++) chapter_close(&v->chapters[i]);
    mem_free(v->chapters);
    mem_free(v->parts);
}

/* ---- what is left to say ---- */

void report_told_close(struct report_told *told)
{
    notes_close(&told->pages);
    notes_close(&told->warnings);
}

static int page_told(struct report_told *told, const char *folder, const char *page)
{
    return told ? notes_add(&told->pages, "%s/%s", folder, page) : 0;
}

static int folder_told(struct report_told *told, const char *folder, const struct notes *warnings)
{
    if (page_told(told, folder, "report.html") != 0) return -1;
    for (int i = 0; told && i < warnings->n; i++)
        if (notes_add(&told->warnings, "%s: %s", folder, warnings->text[i]) != 0) return -1;
    return 0;
}

/* ---- folders ---- */

struct report {
    struct evidence *all;   /* owned [n]: folders of drift runs */
    struct volume *volumes; /* owned [n] */
    int n;
    struct latency_study *times; /* owned [n_times]: folders of experiment latency */
    int n_times;
    char no_pictures[512];       /* why there are none; "" where there are */
    double bound;
    struct report_told *told;
};

static int drift_report(struct report *r, const char *folder)
{
    struct evidence *e = &r->all[r->n];
    struct volume *v = &r->volumes[r->n++];
    if (evidence_open(e, folder) != 0) return -1;
    if (r->no_pictures[0] && notes_add(&e->warnings, "no pictures: %s", r->no_pictures) != 0) return -1;
    return volume_write(v, e, r->bound) != 0 ? -1 : folder_told(r->told, folder, &e->warnings);
}

static int folder_report(struct report *r, const char *folder)
{
    struct latency_study *times = &r->times[r->n_times];
    bool timed = false;
    int rc = latency_study_open(times, folder, &timed);
    r->n_times += timed;
    if (rc != 0 || !timed) return rc != 0 ? -1 : drift_report(r, folder);
    if (r->no_pictures[0]) rc = notes_add(&times->warnings, "no pictures: %s", r->no_pictures);
    if (rc == 0) rc = latency_report(times);
    return rc != 0 ? -1 : folder_told(r->told, folder, &times->warnings);
}

/* Waits until no other report is written into the folder; the descriptor that holds it, -1: none, as where a file system knows no locks of folders. */
static int folder_hold(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        while (flock(fd, LOCK_EX) != 0 && errno == EINTR) continue;
    return fd;
}

/* ---- several folders ---- */

static int drift_compare(struct report *r, const char **folders, char (*labels)[LABEL_MAX])
{
    char path[PATH_MAX];
    struct page_part **parts = NULL;
    for (int i = 0; i < r->n; i++) folders[i] = r->all[i].folder;
    int rc = labels_make(labels, folders, r->n);
    for (int i = 0; i < r->n; i++) memcpy(r->all[i].label, labels[i], LABEL_MAX);
    if (rc == 0) rc = labels_folder_make(path, folders[0], labels, r->n);
    if (rc == 0) rc = MEM_NEW(&parts, r->n, "folders");
    for (int i = 0; i < r->n && rc == 0; i++) parts[i] = r->volumes[i].parts;
    if (rc == 0) rc = compare_write(r->all, parts, r->n, path);
    if (rc == 0) rc = page_told(r->told, path, "compare.html");
    mem_free(parts);
    return rc;
}

static int times_compare(struct report *r, const char **folders, char (*labels)[LABEL_MAX])
{
    char path[PATH_MAX];
    for (int i = 0; i < r->n_times; i++) folders[i] = r->times[i].folder;
    int rc = labels_make(labels, folders, r->n_times);
    for (int i = 0; i < r->n_times; i++) memcpy(r->times[i].label, labels[i], LABEL_MAX);
    if (rc == 0) rc = labels_folder_make(path, folders[0], labels, r->n_times);
    if (rc == 0) rc = latency_compare_write(r->times, r->n_times, path);
    return rc == 0 ? page_told(r->told, path, "compare.html") : rc;
}

/* Drift beside drift, times beside times. */
static int folders_compare(struct report *r)
{
    const char **folders = NULL;
    char (*labels)[LABEL_MAX] = NULL;
    const int n = r->n + r->n_times;
    if (n < 2) return 0;
    int rc = MEM_NEW(&folders, n, "folders");
    if (rc == 0) rc = MEM_NEW(&labels, n, "folders");
    if (rc == 0 && r->n > 1) rc = drift_compare(r, folders, labels);
    if (rc == 0 && r->n_times > 1) rc = times_compare(r, folders, labels);
    if (rc == 0 && r->n == 1 && r->told)
        rc = notes_add(&r->told->warnings, "%s: compared with nothing: of these folders it alone holds drift runs", r->all[0].folder);
    if (rc == 0 && r->n_times == 1 && r->told)
        rc = notes_add(&r->told->warnings, "%s: compared with nothing: of these folders it alone is of experiment latency", r->times[0].folder);
    mem_free(labels);
    mem_free(folders);
    return rc;
}

static int report_open(struct report *r, int n_folders)
{
    if (MEM_NEW(&r->all, n_folders, "folders") != 0 || MEM_NEW(&r->volumes, n_folders, "folders") != 0) return -1;
    return MEM_NEW(&r->times, n_folders, "folders");
}

static void report_close(struct report *r)
{
    for (int i = 0; i < r->n; i++) {
        volume_close(&r->volumes[i], r->all[i].n_studies);
        evidence_close(&r->all[i]);
    }
    for (int i = 0; i < r->n_times; i++) latency_study_close(&r->times[i]);
    mem_free(r->times);
    mem_free(r->volumes);
    mem_free(r->all);
}

int report_write_bound(int n_folders, char *const *folders, double bound, struct report_told *told)
{
    struct report r = { .bound = bound, .told = told };
    gsl_set_error_handler_off();
    if (figure_check() != 0) snprintf(r.no_pictures, sizeof r.no_pictures, "%s", fail_text());
    int rc = report_open(&r, n_folders);
    for (int i = 0; i < n_folders && rc == 0; i++) {
        const int held = folder_hold(folders[i]);
        rc = folder_report(&r, folders[i]);
        if (held >= 0) close(held);
    }
    if (rc == 0) rc = folders_compare(&r);
    report_close(&r);
    return rc;
}

int report_write(int n_folders, char *const *folders)
{
    return report_write_bound(n_folders, folders, NAN, NULL);
}

#include "analysis/evidence.h"

#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/results.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int name_take(struct evidence *e, const char *folder)
{
    char *full = realpath(folder, NULL);
    const char *last = full ? strrchr(full, '/') : NULL;
    const int rc = mem_strdup(&e->name, last && last[1] ? last + 1 : folder);
    free(full);
    return rc;
}

static struct study *study_for(struct evidence *e, const struct trace_file *f)
{
    for (int i = 0; i < e->n_studies; i++)
        if (study_takes(&e->studies[i], f)) return &e->studies[i];
    if (mem_grow((void **)&e->studies, (size_t)e->n_studies, (size_t)e->n_studies + 1, sizeof *e->studies, "studies") !=
        0)
        return NULL;
    struct study *s = &e->studies[e->n_studies];
    if (study_begin(s, f) != 0) return NULL;
    int n_same = 0;
    for (int i = 0; i < e->n_studies; i++) n_same += strncmp(e->studies[i].key, s->key, strlen(s->key)) == 0;
    const size_t n = strlen(s->key);
    if (n_same) snprintf(s->key + n, sizeof s->key - n, "-%d", n_same + 1);
    e->n_studies++;
    return s;
}

static int run_note_broken(struct evidence *e, const char *run_id, const char *why)
{
    e->n_broken++;
    return notes_add(&e->warnings, "run %s is left out: %s", run_id, why);
}

static int run_take(void *data, const char *run_id, const char *path)
{
    struct evidence *e = data;
    struct trace_file f = { 0 };
    if (access(path, F_OK) != 0) {
        e->n_missing++;
        return notes_add(&e->warnings, "run %s is missing: it was planned, and has no trace", run_id);
    }
    int rc = trace_file_open(&f, path);
    if (rc == 0) rc = results_run_check(&f, run_id, -1);
    if (rc == 0 && f.n_steps < 1) rc = fail("%s: it holds no steps", path);
    struct study *s = rc == 0 ? study_for(e, &f) : NULL;
    if (rc == 0) rc = s ? study_add(s, &f, &e->warnings) : -1;
    trace_file_close(&f);
    if (rc == 0 && study_put_away(s, e->folder) != 0) return -1;
    e->n_runs += rc == 0;
    return rc == 0 ? 0 : run_note_broken(e, run_id, fail_text());
}

static int run_count(void *data, const char *run_id, const char *path)
{
    (void)run_id;
    (void)path;
    ++*(int *)data;
    return 0;
}

static int runs_read(struct evidence *e)
{
    char plan[PATH_MAX], holder[256];
    struct stat st;
    int n_files = 0;
    if (snprintf(plan, sizeof plan, "%s/plan.yaml", e->folder) >= (int)sizeof plan)
        return fail("%s: the path is too long", e->folder);
    if (stat(e->folder, &st) != 0 || !S_ISDIR(st.st_mode)) return fail("%s: no such results folder", e->folder);
    if (results_is_held(e->folder, holder, sizeof holder))
        notes_add(&e->warnings, "runs are still being made here, by %s: this report is of what was complete", holder);
    if (results_runs_each(e->folder, run_count, &n_files) != 0) return -1;
    if (access(plan, F_OK) != 0) {
        notes_add(&e->warnings, "there is no plan.yaml: all of runs/ is taken, and what is missing cannot be said");
        return results_runs_each(e->folder, run_take, e);
    }
    if (results_planned_each(e->folder, run_take, e) != 0) return -1;
    e->n_unplanned = n_files - e->n_runs - e->n_broken;
    if (e->n_unplanned > 0)
        notes_add(&e->warnings,
                  "%d trace%s in runs/ %s not of this plan (other settings, an earlier config) and left out",
                  e->n_unplanned, words_s(e->n_unplanned), e->n_unplanned == 1 ? "is" : "are");
    return 0;
}

int evidence_open(struct evidence *e, const char *folder)
{
    *e = (struct evidence){ 0 };
    TRY(mem_strdup(&e->folder, folder), "%s", folder);
    TRY(name_take(e, folder), "%s", folder);
    if (runs_read(e) != 0) return -1;
    const int n_lost = e->n_broken + e->n_missing;
    if (e->n_runs == 0 && n_lost == 0) return fail("%s: it holds no runs (runs/*.h5)", folder);
    if (e->n_runs == 0 && n_lost == 1) return fail("%s: its only run cannot be read; %s", folder, e->warnings.text[0]);
    if (e->n_runs == 0) return fail("%s: not one of its %d runs can be read; %s", folder, n_lost, e->warnings.text[0]);
    return evidence_check(e);
}

void evidence_close(struct evidence *e)
{
    for (int i = 0; i < e->n_studies; i++) study_close(&e->studies[i]);
    mem_free(e->studies);
    notes_close(&e->warnings);
    notes_close(&e->floors);
    mem_free(e->folder);
    mem_free(e->name);
    *e = (struct evidence){ 0 };
}

/* The runs that plan.yaml lists, read as a stream of events: a plan of many runs is larger than any config may be. */
#include "core/err.h"
#include "core/results.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <yaml.h>

/* Deep enough for what this program writes; libyaml's time grows with the square of the depth. */
enum { MAX_DEPTH = 16 };

struct plan_reader {
    const char *folder, *path;
    int (*each)(void *data, const char *run_id, const char *path);
    void *data;
    int depth;                     /* of open maps and lists */
    bool is_value;                 /* in a map: the next scalar is a value */
    bool in_runs;                  /* inside the value of the key `runs` */
    char key[64];                  /* the last key */
};

static int run_found(const struct plan_reader *p, const char *run_id)
{
    char path[PATH_MAX];
    if (strchr(run_id, '/') || run_id[0] == '.' || run_id[0] == '\0') return fail("%s: '%s' is no run's name", p->path, run_id);
    TRY(results_run_path(p->folder, run_id, path, sizeof path), "%s", p->path);
    return p->each(p->data, run_id, path);
}

/* The plan is a map; runs is a list of maps: a run's keys are at depth 3. */
static int event_take(struct plan_reader *p, const yaml_event_t *event)
{
    const bool opens = event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;
    const bool closes = event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT;
    const char *text = event->type == YAML_SCALAR_EVENT ? (const char *)event->data.scalar.value : NULL;
    int rc = 0;
    if (opens && ++p->depth > MAX_DEPTH) return fail("%s: deeper than %d levels", p->path, MAX_DEPTH);
    if (opens && p->depth == 2) p->in_runs = strcmp(p->key, "runs") == 0 && event->type == YAML_SEQUENCE_START_EVENT;
    if (closes && p->depth-- == 2) p->in_runs = false;
    if (text && p->is_value && p->depth == 3 && p->in_runs && strcmp(p->key, "id") == 0) rc = run_found(p, text);
    if (text && !p->is_value) snprintf(p->key, sizeof p->key, "%s", text);
    /* Whatever opens or closes has been a value as a whole.  (In a list the turn means nothing, and its end sets it right.) */
    p->is_value = text ? !p->is_value : false;
    return rc;
}

static int plan_read(struct plan_reader *p, FILE *in)
{
    yaml_parser_t parser;
    int rc = 0;
    if (!yaml_parser_initialize(&parser)) return fail("%s: out of memory", p->path);
    yaml_parser_set_input_file(&parser, in);
    for (bool done = false; !done && rc == 0;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            rc = fail("%s:%zu: %s", p->path, parser.problem_mark.line + 1, parser.problem ? parser.problem : "cannot be read");
            break;
        }
        done = event.type == YAML_STREAM_END_EVENT;
        rc = event_take(p, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return rc;
}

int results_planned_each(const char *folder, int (*each)(void *data, const char *run_id, const char *path), void *data)
{
    char path[PATH_MAX];
    struct plan_reader p = { .folder = folder, .path = path, .each = each, .data = data };
    if (snprintf(path, sizeof path, "%s/plan.yaml", folder) >= (int)sizeof path) return fail("%s: the path is too long", folder);
    FILE *in = fopen(path, "re");
    if (!in) return fail("%s: cannot open: %s", path, strerror(errno));
    const int rc = plan_read(&p, in);
    fclose(in);
    return rc;
}

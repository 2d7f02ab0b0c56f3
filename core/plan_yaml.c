/* plan.yaml: the config as understood, every default written out, and the runs that the report reads.  The model, the
 * prompt's source, the trace and the rows of a lane are written as a config has them, and read back as the same.  Numbers and texts
 * are written so that YAML 1.1 readers (PyYAML) give them the same types. */
#include "core/config_schema.h"
#include "core/err.h"
#include "core/mem.h"
#include "core/plan_store.h"
#include "core/version.h"

#include <string.h>

enum { VALUE_MAX = 8192 };

static void write_text(FILE *out, const char *key, const char *value)
{
    char text[VALUE_MAX];
    schema_format_text(value, text, sizeof text);
    fprintf(out, "%s: %s", key, text);
}

static void write_synthetic(const struct plan *p, FILE *out)
{
    fprintf(out, "model: {synthetic: {");
    for (int i = 0; i < schema_synthetic.n_fields; i++) {
        char text[64];
        schema_format(&schema_synthetic.fields[i], &p->config.synthetic, text, sizeof text);
        fprintf(out, "%s%s: %s", i ? ", " : "", schema_synthetic.fields[i].key, text);
    }
    fprintf(out, "}}\n");
}

/* A text of any length, as a YAML scalar. */
static int write_long(FILE *out, const char *value)
{
    char *text = NULL;
    const size_t n = SCHEMA_TEXT_GROWTH * strlen(value) + SCHEMA_TEXT_EXTRA;
    if (mem_alloc((void **)&text, n, 1, "plan.yaml") != 0) return -1;
    schema_format_text(value, text, n);
    fputs(text, out);
    mem_free(text);
    return 0;
}

static int write_texts(const struct config_prompt *c, FILE *out)
{
    int rc = 0;
    fprintf(out, "[");
    for (int i = 0; rc == 0 && i < c->n_texts; i++) {
        fprintf(out, "%s", i ? ", " : "");
        rc = write_long(out, c->texts[i]);
    }
    fprintf(out, "]\n");
    return rc;
}

static int write_chat(const struct config_prompt *c, FILE *out)
{
    int rc = 0;
    write_text(out, "{format", c->chat_format);
    fprintf(out, ", messages: [");
    for (int i = 0; rc == 0 && i < c->n_messages; i++) {
        fprintf(out, "%s{role: %s, content: ", i ? ", " : "", c->messages[i].role);
        rc = write_long(out, c->messages[i].content);
        fprintf(out, "}");
    }
    fprintf(out, "]}\n");
    return rc;
}

/* The source as a config's prompt has it: the value of the key that goes by the kind. */
static int write_source(const struct config_prompt *c, FILE *out)
{
    if (c->kind == PROMPT_CHAT) return write_chat(c, out);
    if (c->kind == PROMPT_FILE || c->kind == PROMPT_TEXT) return write_texts(c, out);
    if (c->kind == PROMPT_IDS && c->n_texts > 0) {
        const int rc = write_long(out, c->texts[0]);
        fprintf(out, "\n");
        return rc;
    }
    fprintf(out, "[");
    for (int i = 0; c->kind == PROMPT_IDS && i < c->n_ids; i++) fprintf(out, "%s%d", i ? ", " : "", (int)c->ids[i]);
    for (int i = 0; c->kind == PROMPT_RANDOM && i < c->n_random_seeds; i++)
        fprintf(out, "%s%llu", i ? ", " : "", (unsigned long long)c->random_seeds[i]);
    fprintf(out, "]\n");
    return 0;
}

static int write_prompt(const struct plan *p, FILE *out)
{
    const struct config_prompt *c = &p->config.prompt;
    const char *kind = schema_prompt.fields[PROMPT_KEY_FILE + c->kind].key;
    char windows[32];
    schema_format(&schema_prompt.fields[PROMPT_KEY_WINDOWS], c, windows, sizeof windows);
    fprintf(out, "prompt:\n  kind: %s\n  windows: %s\n", kind, windows);
    if (c->kind == PROMPT_FILE || (c->kind == PROMPT_IDS && c->n_texts > 0)) { /* what the names are relative to */
        fprintf(out, "  folder: ");
        if (write_long(out, p->config.folder) != 0) return -1;
        fprintf(out, "\n");
    }
    fprintf(out, "  %s: ", kind);
    if (write_source(c, out) != 0) return -1;
    fprintf(out, "  sources:\n");
    for (int i = 0; i < p->store->prompts.n; i++) {
        const struct prompt_source *s = &p->store->prompts.sources[i];
        fprintf(out, "    - {");
        write_text(out, "name", s->name);
        fprintf(out, ", tokens: %d}\n", s->n);
    }
    return 0;
}

/* The rows of a lane, in the order of the table: what was configured. */
static void write_lane(const struct plan *p, int i, FILE *out)
{
    const struct lane_spec *l = &p->store->lanes.lanes[i];
    const struct config_lane *from = p->store->lanes.from[i];
    fprintf(out, "  - {");
    write_text(out, "lane", l->name);
    write_text(out, ", name", l->family);
    if (!from) {
        fprintf(out, ", selector: dense}\n");
        return;
    }
    for (int k = LANE_KEY_SELECTOR; k <= LANE_KEY_PERTURB; k++) {
        const struct schema_field *f = &schema_lane.fields[k];
        char text[300];
        schema_format(f, from, text, sizeof text);
        fprintf(out, ", %s: %s", f->key, text);
    }
    fprintf(out, ", active_millionths: %d, reads_cache_of: %d}\n", l->active_millionths, l->cache_of);
}

static void write_run(const struct run_plan *r, FILE *out)
{
    char temperature[40], top_p[40];
    schema_format_real(r->temperature, temperature, sizeof temperature);
    schema_format_real(r->top_p, top_p, sizeof top_p);
    fprintf(out, "  - {");
    write_text(out, "id", r->id);
    write_text(out, ", source", r->source);
    fprintf(out, ", tokens: %d, start: %d, decode: %d, follow: %s, temperature: %s, top_p: %s, stop: %s, seed: %llu, ",
            r->prefill_tokens, r->start, r->n_steps, follow_names[r->follow], temperature, top_p,
            r->stop_eos ? "eos" : "never", (unsigned long long)r->seed);
    if (r->batch > 0) fprintf(out, "batch: %d, ", r->batch);
    fprintf(out, "prompt_sha256: \"%s\"}\n", r->prompt_digest);
}

int plan_write_yaml(const struct plan *p, FILE *out)
{
    const struct config *c = &p->config;
    char text[200];
    fprintf(out, "# The config as " PROGRAM " " VERSION
                 " understood it, every default written out, and the runs it means.\n");
    write_text(out, "name", c->name);
    fprintf(out, "\nexperiment: %s\n", experiment_names[c->experiment]);
    if (c->is_synthetic) write_synthetic(p, out);
    if (!c->is_synthetic) write_text(out, "model", c->model), fprintf(out, "\n");
    fprintf(out, "device: \"%s\"\nallow_equal: %s\n", c->device_text, c->allow_equal ? "true" : "false");
    if (c->replay) {
        fprintf(out, "replay: ");
        if (write_long(out, c->replay) != 0) return -1;
        fprintf(out, "\n");
    }
    if (write_prompt(p, out) != 0) return -1;
    fprintf(out, "trace:\n");
    for (int i = 0; i < schema_trace.n_fields; i++) {
        schema_format(&schema_trace.fields[i], c, text, sizeof text);
        fprintf(out, "  %s: %s\n", schema_trace.fields[i].key, text);
    }
    fprintf(out, "lanes:\n");
    for (int i = 0; i < p->store->lanes.n; i++) write_lane(p, i, out);
    fprintf(out, "runs:\n");
    for (int i = 0; i < p->n_runs; i++) write_run(&p->runs[i], out);
    return ferror(out) ? fail("plan.yaml cannot be written") : 0;
}

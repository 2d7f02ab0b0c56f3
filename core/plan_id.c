/* The id of a run: a digest of the resolved settings of the run and its lanes, of the model and the prompt, of the
 * trace's schema and the engine's numbers; never of paths, host, threads, time or commit. */
#include "core/plan_store.h"

#include "core/config_schema.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/version.h"

#include <stdlib.h>
#include <string.h>

static void write_lane(FILE *f, const struct lane_spec *l)
{
    char sparsity[40], perturb[40];
    schema_format_real(l->sparsity, sparsity, sizeof sparsity);
    schema_format_real(l->perturb, perturb, sizeof perturb);
    fprintf(f, "lane %s selector=%s sparsity=%s active=%d block_size=%d local_blocks=%d min_blocks=%d dense_layers=%d ",
            l->name, selector_names[l->selector], sparsity, l->active_millionths, l->block_size, l->local_blocks,
            l->min_blocks, l->dense_layers);
    fprintf(f, "interval=%d phase=%d dense_until=%d equal_bytes=%d perturb=%s cache_of=%d clean=%d\n", l->interval,
            l->phase, l->dense_until, l->equal_bytes, perturb, l->cache_of, l->clean);
}

static void write_run(FILE *f, const struct plan *p, const struct model *model, const struct run_plan *run)
{
    char temperature[40], top_p[40];
    schema_format_real(run->temperature, temperature, sizeof temperature);
    schema_format_real(run->top_p, top_p, sizeof top_p);
    fprintf(f, "trace %d\nengine %d\nexperiment %s\nmodel %s\nprompt %s\n", TRACE_SCHEMA, ENGINE_NUMERICS,
            experiment_names[p->config.experiment], model->digest, run->prompt_digest);
    fprintf(f, "prefill=%d start=%d steps=%d seed=%llu follow=%s temperature=%s top_p=%s stop=%d metrics=%u every=%d\n",
            run->prefill_tokens, run->start, run->n_steps, (unsigned long long)run->seed, follow_names[run->follow],
            temperature, top_p, run->stop_eos, run->metrics, run->every);
    if (run->replay) fprintf(f, "replay %s\n", run->replay_id);
    if (run->batch > 0) fprintf(f, "batch=%d\n", run->batch);
    for (int i = 0; i < run->n_lanes; i++) write_lane(f, &run->lanes[i]);
}

/* Of the prefix, and of the text that is followed. */
static void digest_prompt(struct run_plan *run)
{
    const int first = run->start - run->prefill_tokens;
    const int n = run->prefill_tokens + (run->follow == FOLLOW_TEXT ? run->n_steps + 1 : 0);
    digest_bytes(run->stream + first, (size_t)n * sizeof *run->stream, run->prompt_digest);
}

int plan_name_run(const struct plan *p, const struct model *model, struct run_plan *run, bool with_seed)
{
    char *text = NULL, seed[32] = "", batch[16] = "", digest[DIGEST_CHARS + 1];
    size_t n = 0;
    digest_prompt(run);
    FILE *f = open_memstream(&text, &n);
    if (!f) return fail("run id: out of memory");
    write_run(f, p, model, run);
    const bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad) {
        free(text);
        return fail("run id: out of memory");
    }
    digest_bytes(text, n, digest);
    free(text);
    memcpy(run->hash8, digest, 8);
    if (run->batch > 0) snprintf(batch, sizeof batch, "-b%d", run->batch);
    if (with_seed) snprintf(seed, sizeof seed, "-s%llu", (unsigned long long)run->seed);
    snprintf(run->id, sizeof run->id, "%s-p%d-o%d%s%s-%s", run->source, run->prefill_tokens, run->start, batch, seed,
             run->hash8);
    return 0;
}

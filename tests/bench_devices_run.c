/* tests/bench_devices_run.c: one run on the CPU, on the device and disturbed, compared at every step. */
#include "tests/bench_devices.h"

#include "core/err.h"
#include "core/trace.h"
#include "experiments/session.h"
#include "tests/temp_folder.h"

#include <stdio.h>
#include <string.h>

/* ---- lanes ---- */

/* The plan's lanes, then a noisy partner of each: partner[i] is lane i's.  A noisy control stands for lane 0. */
static int add_partners(const struct run_plan *plan, double noise, struct lane_spec *lanes, int *partner)
{
    int n = plan->n_lanes;
    memcpy(lanes, plan->lanes, (size_t)n * sizeof *lanes);
    const int control = n;
    lanes[n] = (struct lane_spec){ .family = "noise", .selector = SELECT_MINMAX, .active_millionths = 1000000, .block_size = 16,
                                   .local_blocks = 1, .min_blocks = 1, .perturb = noise, .cache_of = LANE_OWN, .clean = LANE_NONE };
    snprintf(lanes[n].name, sizeof lanes[n].name, "noise/control");
    partner[0] = n++;
    for (int pass = 0; pass < 2; pass++) /* owners come before their probes */
        for (int i = 1; i < plan->n_lanes; i++) {
            if (lane_is_probe(&plan->lanes[i]) != (pass == 1)) continue;
            lanes[n] = plan->lanes[i];
            snprintf(lanes[n].name, sizeof lanes[n].name, "noise/%d", i);
            if (pass == 1) lanes[n].cache_of = plan->lanes[i].cache_of == 0 ? control : partner[plan->lanes[i].cache_of];
            else lanes[n].perturb = noise;
            partner[i] = n++;
        }
    return n;
}

/* The CPU's lists, as a trace. */
static void record_lists(const struct run_plan *plan, const struct weights *w, const char *path)
{
    struct run run = { 0 };
    struct trace *t = NULL;
    struct provenance prov = { 0 };
    struct run_plan p = *plan;
    char *argv[] = { (char *)"bench_devices", NULL };
    int step;
    const void *record;
    p.metrics = METRIC_SELECTION;
    p.every = 1;
    must(provenance_open(&prov, 1, argv), "provenance");
    must(run_open(&run, &p, w), plan->id);
    must(trace_open(&t, path, &p, w->model, &run.layout, &prov, ""), path);
    must(run_prefill(&run), "prefill");
    while (!run_done(&run)) {
        must(run_step(&run), "step");
        while ((record = run_take(&run, &step)) != NULL) must(trace_write(t, step, record), path);
    }
    run_drain(&run);
    while ((record = run_take(&run, &step)) != NULL) must(trace_write(t, step, record), path);
    must(trace_finish(t, NULL, NULL, NULL, run.n_stepped), path);
    trace_close(t);
    run_close(&run);
    provenance_close(&prov);
}

void machine_open(struct machine *m, const struct model *model, bool with_device)
{
    m->cpu = backends[0];
    m->cuda = with_device ? backends[1] : NULL;
    must(m->cpu->open(&m->host, 0), "cpu");
    m->cpu_spy = engine_spied(m->cpu);
    m->disturbed_spy = engine_disturbed(m->cpu);
    must(weights_open(&m->cpu_w, &m->cpu_spy, m->host, model), "weights");
    m->cpu_plain = m->disturbed_w = m->cpu_w;
    m->cpu_plain.be = m->cpu;
    m->disturbed_w.be = &m->disturbed_spy;
    if (!with_device) return;
    must(m->cuda->open(&m->gpu, 0), "cuda");
    m->cuda_spy = engine_spied(m->cuda);
    must(weights_open(&m->cuda_w, &m->cuda_spy, m->gpu, model), "weights");
}

void measure_lane0(struct machine *m, const struct backend *be, const struct weights *w, const struct run_plan *plan, struct sum *sums)
{
    struct engine cpu, other;
    engine_open(&cpu, m->cpu, &m->cpu_w, plan, plan->lanes, 1);
    engine_open(&other, be, w, plan, plan->lanes, 1);
    while (!run_done(&cpu.run)) {
        engine_step(&cpu);
        engine_step(&other);
        engine_compare(sums, &other, 0, &cpu, 0, m->cpu_w.model->shape.n_layers);
    }
    engine_close(&cpu);
    engine_close(&other);
}

static void replay_plan(struct run_plan *p, struct lane_spec *lanes, const struct run_plan *plan, char *trace)
{
    *p = *plan;
    memcpy(lanes, plan->lanes, (size_t)plan->n_lanes * sizeof *lanes);
    for (int i = 1; i < plan->n_lanes; i++) lanes[i].selector = SELECT_REPLAY;
    p->lanes = lanes;
    p->replay = trace;
}

/* The engines beside the CPU's; those that are there. */
struct others {
    struct engine e[N_AGAINST];
    bool on[N_AGAINST];
};

static void compare_lane(const struct others *o, const struct engine *cpu, int lane, int partner, const struct model_shape *s, struct tally *t)
{
    for (int a = 0; a < N_AGAINST; a++)
        if (o->on[a]) engine_compare(t->sums[a][lane], &o->e[a], lane, cpu, lane, s->n_layers);
    engine_compare(t->sums[NOISE][lane], cpu, partner, cpu, lane, s->n_layers);
    if (o->on[FREE]) engine_count_same(&o->e[FREE], cpu, lane, s, &t->same[FREE][lane], &t->all[FREE][lane]);
    engine_count_same(&o->e[EVERYWHERE], cpu, lane, s, &t->same[EVERYWHERE][lane], &t->all[EVERYWHERE][lane]);
}

void measure_run(struct machine *m, const struct run_plan *plan, double noise, struct tally *t)
{
    static struct lane_spec lanes[MAX_LANES], again[MAX_LANES];
    static int partner[MAX_LANES];
    static struct others o;
    const int n = plan->n_lanes;
    char trace[PATH_MAX];
    struct engine cpu;
    struct run_plan replay;
    if (temp_folder_open(NULL) != 0) must(fail("%s cannot be made", temp_folder), "trace");
    snprintf(trace, sizeof trace, "%s", temp_path("lists.h5"));
    engine_open(&cpu, m->cpu, &m->cpu_w, plan, lanes, add_partners(plan, noise, lanes, partner));
    engine_open(&o.e[EVERYWHERE], m->cpu, &m->disturbed_w, plan, plan->lanes, n);
    o.on[EVERYWHERE] = true;
    o.on[FREE] = o.on[REPLAYED] = m->cuda != NULL;
    if (m->cuda) {
        record_lists(plan, &m->cpu_plain, trace);
        replay_plan(&replay, again, plan, trace);
        engine_open(&o.e[FREE], m->cuda, &m->cuda_w, plan, plan->lanes, n);
        engine_open(&o.e[REPLAYED], m->cuda, &m->cuda_w, &replay, again, n);
    }
    const struct model_shape *s = &m->cpu_w.model->shape;
    while (!run_done(&cpu.run)) {
        engine_step(&cpu);
        for (int a = 0; a < N_AGAINST; a++)
            if (o.on[a]) engine_step(&o.e[a]);
#pragma omp parallel for
        for (int i = 0; i < n; i++) compare_lane(&o, &cpu, i, partner[i], s, t);
    }
    engine_close(&cpu);
    for (int a = 0; a < N_AGAINST; a++)
        if (o.on[a]) engine_close(&o.e[a]);
    temp_folder_close(NULL);
}

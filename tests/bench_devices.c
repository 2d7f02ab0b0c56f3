/* tests/bench_devices.c: does the device compute what the CPU computes?  Whole runs of a config on both, step by step side by side.
 *
 *     bench_devices CONFIG OUT.csv [e=NUMBER] [key=value ..]     (experiment drift; the config's own `device` counts for nothing)
 *
 * e: the relative difference of lane 0's K (after RoPE) and V, as the caches hold them, between the device and the CPU, RMS over
 * steps, layers and runs.  Then for every lane the difference of K, V, attention output, residual stream, final hidden state and logits
 * (centred: a softmax ignores their mean) to the same lane of the CPU, relative, RMS over steps and layers:
 *   free       the device selects its blocks itself
 *   replayed   its lanes are of selector `replay`, and read the blocks that the CPU's run recorded
 *   noise      no device at all: a CPU lane of the same settings with `perturb: e`.  A probe takes no perturbation: it
 *              reads the cache of its owner's noisy lane, that of a noisy control lane where its owner is lane 0
 *   everywhere no device at all: `perturb` disturbs only what a step writes; here all that is ever written is disturbed, as rounding does:
 *              the prompt's K and V and a rectification's too, by as much as makes lane 0 differ by e
 * and the share of the block lists in which the CPU agrees with free and with everywhere.  Where free or replayed is above noise and above
 * everywhere, the device does more than a rounding of the size that its own dense lane shows.  With e=NUMBER no device is used: there is
 * neither free nor replayed.
 *
 * Each run has a process of its own, with its share of the cores; they wait for each other between e and the tables, which need it. */
#include "tests/bench_devices.h"

#include "analysis/output.h"
#include "core/err.h"
#include "core/mem.h"
#include "experiments/session.h"

#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const quantity_names[] = { "k", "v", "attention", "residual", "hidden", "logits" };
static const char *const against_names[N_AGAINST] = { "free", "replayed", "noise", "everywhere" };
static const double TRIAL = 5e-4; /* the disturbance from which e's is found: they are in proportion */

/* What the processes have in common. */
struct common {
    pthread_barrier_t lane0_known;
    struct tally runs[];
};

static double rms(const struct sum *s)
{
    return s->n > 0 ? sqrt(s->squares / (double)s->n) : NAN;
}

static void add_sum(struct sum *to, const struct sum *from)
{
    to->squares += from->squares;
    to->n += from->n;
}

static void add_sums(struct sum *to, const struct sum *from)
{
    for (int q = 0; q < N_QUANTITIES_HERE; q++) add_sum(&to[q], &from[q]);
}

/* The tallies of all runs. */
static void add_runs(struct tally *all, const struct common *c, int n_runs)
{
    for (int r = 0; r < n_runs; r++) {
        const struct tally *t = &c->runs[r];
        add_sums(all->lane0, t->lane0);
        add_sums(all->trial, t->trial);
        for (int a = 0; a < N_AGAINST; a++)
            for (int i = 0; i < MAX_LANES; i++) {
                add_sums(all->sums[a][i], t->sums[a][i]);
                all->same[a][i] += t->same[a][i];
                all->all[a][i] += t->all[a][i];
            }
    }
}

static double kv_rms(const struct sum *sums)
{
    struct sum both = sums[Q_K];
    add_sum(&both, &sums[Q_V]);
    return rms(&both);
}

static double lists_equal(const struct tally *t, enum against a, int lane)
{
    return t->all[a][lane] ? (double)t->same[a][lane] / (double)t->all[a][lane] : NAN;
}

/* What a table has: without a device neither free nor replayed. */
static int first_against(bool with_device)
{
    return with_device ? FREE : NOISE;
}

static void print_row(const struct tally *t, const char *lane, int i, int q, bool with_device, FILE *csv, int *above, int *beyond)
{
    double x[N_AGAINST];
    printf("%-44s %-10s", lane, quantity_names[q]);
    fprintf(csv, "%s,%s", lane, quantity_names[q]);
    for (int a = first_against(with_device); a < N_AGAINST; a++) {
        x[a] = rms(&t->sums[a][i][q]);
        printf(" %10.3e", x[a]);
        fprintf(csv, ",%.9g", x[a]);
    }
    for (int a = first_against(with_device); a < N_AGAINST; a++) {
        if (a != FREE && a != EVERYWHERE) continue;
        printf(" %16.4f", lists_equal(t, a, i));
        fprintf(csv, ",%.9g", lists_equal(t, a, i));
    }
    fprintf(csv, "\n");
    for (int a = first_against(with_device); a < NOISE; a++) {
        if (!(x[a] > x[NOISE])) continue;
        above[a]++;
        if (x[a] > x[EVERYWHERE]) beyond[a]++;
        printf("  %s %.2f of noise, %.2f of everywhere", against_names[a], x[a] / x[NOISE], x[a] / x[EVERYWHERE]);
    }
    printf("\n");
}

static void print_all(const struct tally *t, const struct run_plan *plan, bool with_device, FILE *csv)
{
    int above[N_AGAINST] = { 0 }, beyond[N_AGAINST] = { 0 };
    fprintf(csv, "lane,quantity%s,noise,everywhere%s,lists_equal_everywhere\n", with_device ? ",free,replayed" : "",
            with_device ? ",lists_equal_free" : "");
    printf("%-44s %-10s", "lane", "quantity");
    for (int a = first_against(with_device); a < N_AGAINST; a++) printf(" %10s", against_names[a]);
    printf("%s %16s\n", with_device ? "       lists free" : "", with_device ? "everywhere" : "lists everywhere");
    for (int i = 0; i < plan->n_lanes; i++)
        for (int q = 0; q < N_QUANTITIES_HERE; q++) print_row(t, plan->lanes[i].name, i, q, with_device, csv, above, beyond);
    for (int a = first_against(with_device); a < NOISE; a++)
        printf("%s: %d of %d above noise, %d of them above everywhere too\n", against_names[a], above[a], plan->n_lanes * N_QUANTITIES_HERE, beyond[a]);
}

/* A process: one run.  e: 0 where the device is to say. */
static void run_one(const struct session *s, int r, struct common *c, double e)
{
    static struct machine m;
    static struct tally all;
    const int share = omp_get_num_procs() / s->plan.n_runs;
    omp_set_num_threads(share > 1 ? share : 1);
    machine_open(&m, &s->model, !(e > 0));
    if (m.cuda) measure_lane0(&m, m.cuda, &m.cuda_w, &s->plan.runs[r], c->runs[r].lane0);
    engine_disturb(TRIAL);
    measure_lane0(&m, m.cpu, &m.disturbed_w, &s->plan.runs[r], c->runs[r].trial);
    pthread_barrier_wait(&c->lane0_known);
    add_runs(&all, c, s->plan.n_runs);
    if (m.cuda) e = kv_rms(all.lane0);
    engine_disturb(TRIAL * e / kv_rms(all.trial));
    measure_run(&m, &s->plan.runs[r], e, &c->runs[r]);
    if (m.cuda) m.cuda->close(m.gpu);
}

/* The child ends with its parent, which may have ended before this is said. */
static void end_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_FAILED);
}

static void end_runs(const struct session *s, const pid_t *pid, int n)
{
    for (int r = 0; r < n; r++)
        if (pid[r] > 0 && kill(pid[r], SIGTERM) != 0) fprintf(stderr, "bench_devices: %s: process %d stays\n", s->plan.runs[r].id, (int)pid[r]);
}

/* Ends all of them where one fails: the others would wait for it. */
static int run_all(const struct session *s, struct common *c, double e)
{
    const int n = s->plan.n_runs;
    const pid_t parent = getpid();
    pid_t *pid = NULL;
    int status, failed = 0, n_left = 0;
    must(MEM_NEW(&pid, n, "processes"), "memory");
    for (; n_left < n; n_left++) {
        pid[n_left] = fork();
        if (pid[n_left] == 0) {
            end_with(parent);
            run_one(s, n_left, c, e);
            exit(EXIT_OK);
        }
        if (pid[n_left] > 0) continue;
        fprintf(stderr, "bench_devices: %s: no more processes: %m\n", s->plan.runs[n_left].id);
        end_runs(s, pid, n_left);
        failed = 1;
        break;
    }
    for (; n_left > 0; n_left--) {
        const pid_t ended = wait(&status);
        for (int r = 0; r < n; r++)
            if (pid[r] == ended) pid[r] = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK) continue;
        if (!failed && WIFSIGNALED(status)) fprintf(stderr, "bench_devices: a run was ended by signal %d\n", WTERMSIG(status));
        if (!failed) end_runs(s, pid, n);
        failed = 1;
    }
    mem_free(pid);
    return failed;
}

static bool device_found(void)
{
    struct device *gpu = NULL;
    const pid_t pid = fork(); /* a process that has opened a device cannot hand it to its children */
    int status = 0;
    if (pid == 0) exit(backends[1] && backends[1]->open(&gpu, 0) == 0 ? EXIT_OK : EXIT_FAILED);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK;
}

static void print_lane0(const struct sum *sums, const char *what)
{
    printf("%s: K %.3e, V %.3e, attention %.3e, residual %.3e, hidden %.3e, logits %.3e; K and V %.4e\n", what, rms(&sums[Q_K]), rms(&sums[Q_V]),
           rms(&sums[Q_ATTENTION]), rms(&sums[Q_RESIDUAL]), rms(&sums[Q_HIDDEN]), rms(&sums[Q_LOGITS]), kv_rms(sums));
}

/* e=NUMBER, whole, between 0 and 1; 0 where the device is to say. */
static double read_e(const char *text)
{
    char *end = NULL;
    if (!text || strncmp(text, "e=", 2) != 0) return 0;
    const double e = strtod(text + 2, &end);
    if (end == text + 2 || *end || !(e > 0 && e < 1)) must(fail("%s: not a number between 0 and 1", text), "e");
    return e;
}

static void check_plan(const struct plan *p, const char *config)
{
    if (p->config.experiment != EXPERIMENT_DRIFT)
        must(fail("experiment: %s has no lanes side by side to compare; only drift has", experiment_names[p->config.experiment]), config);
    if (2 * p->runs[0].n_lanes + 1 > MAX_LANES) must(fail("%d lanes and their partners are more than %d", p->runs[0].n_lanes, MAX_LANES), config);
}

static struct common *share_open(int n_runs)
{
    pthread_barrierattr_t shared;
    const size_t n_bytes = sizeof(struct common) + (size_t)n_runs * sizeof(struct tally);
    struct common *c = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED) must(fail("%zu bytes to share", n_bytes), "memory");
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&c->lane0_known, &shared, (unsigned)n_runs);
    return c;
}

/* Who made the table.  The runs have ended, so the device may be opened here. */
static void print_provenance(int argc, char **argv, bool with_device)
{
    struct provenance p = { 0 };
    struct device *d = NULL;
    const struct backend *be = backends[with_device];
    must(provenance_open(&p, argc, argv), "provenance");
    must(be->open(&d, 0), be->name);
    be->identify(d, &p);
    be->close(d);
    if (with_device) printf("%s, %s; ", p.gpu, p.driver);
    printf("CPU %s, %d cores; commit %s%s, %s: %s\n", p.cpu, omp_get_num_procs(), p.commit, p.dirty ? " with changes" : "", p.start_time, p.command);
    provenance_close(&p);
}

/* The table's part, before hours of work: whether it can be written. */
static void csv_open(struct output *o, char *path)
{
    char *slash = strrchr(path, '/');
    if (slash) *slash = '\0';
    must(output_open(o, slash ? path : ".", slash ? slash + 1 : path), "table");
}

int main(int argc, char **argv)
{
    struct session s;
    static struct tally all;
    struct output table;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_devices CONFIG OUT.csv [e=NUMBER] [key=value ..]\n");
        return EXIT_USAGE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    const double e = read_e(argv[3]); /* argv ends with NULL */
    const bool with_device = !(e > 0);
    const int first = with_device ? 3 : 4, status = session_open(&s, argv[1], argc - first, argv + first);
    if (status != EXIT_OK) return status;
    check_plan(&s.plan, argv[1]);
    if (with_device && !device_found()) {
        printf("SKIP bench_devices: %s; e=NUMBER after OUT.csv needs none\n", backends[1] ? "no CUDA device" : "built without CUDA");
        return 0;
    }
    struct common *c = share_open(s.plan.n_runs);
    char path[4096];
    snprintf(path, sizeof path, "%s", argv[2]);
    csv_open(&table, path);
    if (run_all(&s, c, e) != 0) {
        output_close(&table);
        return EXIT_FAILED;
    }
    add_runs(&all, c, s.plan.n_runs);
    print_provenance(argc, argv, with_device);
    if (with_device) print_lane0(all.lane0, "lane 0, device against CPU");
    print_lane0(all.trial, "lane 0, all that is written disturbed by 0.0005");
    print_all(&all, &s.plan.runs[0], with_device, table.file);
    must(output_done(&table), "table");
    return 0;
}

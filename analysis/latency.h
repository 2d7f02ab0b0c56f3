/* analysis/latency.h: what a folder of experiment latency says: times of steps by policy, batch and context.
 *
 * A time is the median over the timed steps, with the first and ninth decile: steps of one run on one machine, so no interval of a
 * mean is given.  A rectified lane's time of a token is its step's and one part in `interval` of a rectification's.
 *
 * A lane is called faster or slower only where the 95 % intervals of the two medians do not overlap.  They are free of a distribution,
 * from one order statistic to another, by binomial ranks (David and Nagaraja, Order Statistics, section 7.1).  A strong dense step is
 * known by its median alone, which then counts as exact.  The intervals take steps for independent of one another; lanes are timed by
 * turns (experiments/latency.c), so that what slows the machine down for longer than a turn falls on all of them.     */
#ifndef ANALYSIS_LATENCY_H
#define ANALYSIS_LATENCY_H

#include "analysis/figure.h"
#include "analysis/labels.h"
#include "analysis/sheet.h"

#include "core/lane.h"
#include "core/notes.h"

enum latency_time {
    TIME_STEP, TIME_PRODUCT, TIME_SELECT, TIME_ATTEND, TIME_OTHER, TIME_RECTIFY, TIME_READ, N_LATENCY_TIMES
};

/* Of the model: layers, hidden, heads, KV heads, head_dim, ffn, vocab. */
enum { N_LATENCY_SHAPE = 7 };

/* Seconds; NaN: none. */
struct latency_spread {
    double median, low, high; /* low, high: first and ninth decile */
    double from, to;          /* the median's 95 % interval; NaN: fewer than LATENCY_MIN_STEPS steps */
};
enum { LATENCY_MIN_STEPS = 6 };

enum latency_verdict {
    VERDICT_NONE, /* nothing is beside it */
    VERDICT_FEW,  /* steps */
    VERDICT_OPEN, /* not distinguishable */
    VERDICT_SLOWER,
    VERDICT_FASTER,
};

/* One lane of one run. */
struct latency_point {
    char lane[LANE_NAME_MAX];
    int place;                /* of the lane in its run; 0: dense */
    int interval, batch, context;
    struct latency_spread times[N_LATENCY_TIMES];
    double bytes;             /* that a step must move */
    double clock_hz;          /* median; NaN: not known */
    double token;             /* seconds of a token of every sequence */
    double token_from, token_to; /* its interval; NaN: none */
    enum latency_verdict verdict, peer_verdict; /* against the dense lane; against the strong dense step */
    double gain;              /* the dense lane's over it; NaN where that is missing */
    double peer, peer_gain;   /* a strong dense step's (analysis/latency_peer.h), and that over this token; NaN: none */
    double attend_gain;       /* the dense lane's attention over this one's with selection, rectification left out */
};

struct latency_study {
    char folder[4096];
    char label[LABEL_MAX]; /* what it is called beside others; "" until then */
    char model[64], device[32], machine[160], commit[96]; /* of the first run */
    int64_t shape[N_LATENCY_SHAPE];
    char peer[192];           /* what made peer-step.csv's times; "": none fits */
    bool peer_is_elsewhere;   /* on another machine than the runs */
    struct latency_point *points; /* owned [n_points], by batch, then context, then place */
    int n_points, n_runs, n_peers; /* n_peers: points that have a strong dense step beside them */
    struct notes warnings;
};

/* *is: whether the folder's runs are of that experiment; only then is s filled.  latency_study_close() is due either way. */
int  latency_study_open(struct latency_study *s, const char *folder, bool *is);
void latency_study_close(struct latency_study *s);

/* Orders points by batch, context and place, for qsort(). */
int latency_point_compare(const void *a, const void *b);

/* The dense lane's time over this token's; of a folder with strong dense steps, theirs. */
double latency_gain(const struct latency_study *s, const struct latency_point *p);
/* The verdict on that gain. */
enum latency_verdict latency_verdict(const struct latency_study *s, const struct latency_point *p);

/* values: [n], NaN where there is none; reordered. */
void latency_spread_fill(struct latency_spread *spread, double *values, size_t n);
/* Sets the token's time and interval from the times. */
void latency_token_fill(struct latency_point *p);
/* A token's time against another, of which all three are the same where it is exact; median NaN: there is none. */
enum latency_verdict latency_judge(const struct latency_point *p, double median, double from, double to);

/* The verdicts on a batch's lane over its contexts, against the strong dense step (peer) or the dense lane. */
struct latency_course {
    int n, n_few, n_open, n_slower, n_faster; /* contexts with a verdict; n_open: the few are among them unless all are */
    int cross;                        /* the first context from which on it is faster at every one; 0: none */
    int below, slow, last;            /* the last one at which it is not faster; at which it is slower; of all; 0: none */
    const struct latency_point *best; /* where it gains most, of those where it is faster or slower; NULL: there is none */
};
struct latency_course latency_course(const struct latency_study *s, int batch, int place, bool peer);

/* What the numbers say about where a policy pays, a sentence for each batch and lane, against the strongest dense step that there is. */
int  latency_findings(const struct latency_study *s, struct notes *findings);

int  latency_sheet(struct sheet *t, const struct latency_study *s);
/* Figures: time of a token by context; what a step consists of. */
int  latency_plot_tokens(struct figure *f, const struct latency_study *s);
int  latency_plot_parts(struct figure *f, const struct latency_study *s);

/* The folder's tables, plots and report.html. */
int  latency_report(const struct latency_study *s);

#endif

/* analysis/study.h: runs that differ in their text, excerpt or seed alone, read from their traces and reduced.
 *
 * What makes two runs the same study: model, prompt tokens, planned steps, follow and sampling.  Lanes are the same where
 * their name and settings are.  A text is a source: excerpts and seeds of one source are averaged before anything is said
 * about texts.
 *
 * What is kept of a run: every quantity of every lane at every step, its mean over layers (4 bytes each), and for the variables
 * of enum study_map layered means over bins of stale tokens and over slots of a block (8 bytes for each lane, layer and bin).
 * Of all runs together: the layered means over bins of steps.  500 lanes, 4096 steps, 32 layers: 180 MB, 55 MB, 150 MB, of which the
 * first two, which each run has, can be moved out of memory (study_put_away).  */
#ifndef ANALYSIS_STUDY_H
#define ANALYSIS_STUDY_H

#include "analysis/estimate.h"
#include "analysis/quantity.h"

#include "core/notes.h"
#include "core/trace_read.h"

#include <stdint.h>

enum { STUDY_MAP_BINS = 128, STUDY_STALE_BINS = 32, STUDY_STALE_END = 65536, STUDY_SLOTS = 16, STUDY_ABSENT = -1 };

/* Variables kept by layer. */
enum study_map {
    MAP_K_DRIFT,
    MAP_V_DRIFT,
    MAP_K_ACCUM,
    MAP_V_ACCUM,
    MAP_ATTN_ACCUM,
    MAP_ATTN_ERR,
    MAP_KEPT_MASS,
    MAP_BEST_MASS,
    MAP_STALE_MASS,
    N_STUDY_MAPS
};
extern const enum quantity study_map_quantities[N_STUDY_MAPS];

/* What a layered variable is averaged over: bins of steps, of stale tokens, slots of a block. */
enum study_axis { AXIS_STEP, AXIS_STALE, AXIS_SLOT, N_STUDY_AXES };

/* Sums of what is not NaN, and how much that is. */
struct study_grid {
    float *sum;  /* owned [lane][bin][layer]; NULL: not there */
    uint32_t *n; /* owned, the same */
};

/* Who made a run, from the attributes of its trace. */
enum run_fact {
    FACT_MODEL,
    FACT_MODEL_DIGEST,
    FACT_COMMIT,
    FACT_COMMAND,
    FACT_CPU,
    FACT_GPU,
    FACT_DEVICE,
    FACT_ISA,
    FACT_START,
    FACT_END,
    FACT_LIBRARIES,
    FACT_PROGRAM,
    FACT_ORIGIN, /* of the prompt; "unknown": the trace does not say */
    N_RUN_FACTS
};
extern const char *const run_fact_attributes[N_RUN_FACTS];

struct study_touch;

struct study_run {
    char id[160], source[64];
    int text; /* index into study.texts */
    int start, n_steps, n_threads;
    int n_lanes;                      /* of the trace */
    int n_map;                        /* lanes that map has a place for */
    int *map;                         /* owned [n_map]: the study's lane -> the trace's, or STUDY_ABSENT */
    float *series[N_QUANTITIES];      /* owned [n_lanes][n_steps], NaN where there is none; NULL: not in the trace */
    /* owned, of the trace's lanes; AXIS_STEP: added to the study's and gone */
    struct study_grid grids[N_STUDY_AXES][N_STUDY_MAPS];
    double *k_drift_max, *k_rect_max; /* owned [n_lanes]: greatest value of any step and layer; NaN: none */
    double *repeats;                  /* owned [n_lanes]: share of the stream's 4-grams that were there before */
    bool *infinite;                   /* owned [n_lanes]: NLL or KL is infinite somewhere */
    char *facts[N_RUN_FACTS];         /* owned */
    void *map_base;                   /* owned; NULL: series and grids are in memory, else in here (analysis/study_store.h) */
    size_t map_bytes;
};

struct study {
    char title[192]; /* "256 tokens prefilled, 512 decoded, .." */
    char key[64];    /* "p256-t512", for names of files and rows; unique in its results */
    char model[64], follow[16], target_of[16];
    int prompt_tokens, n_steps, n_layers; /* n_steps: planned */
    char temperature[32], top_p[32];      /* as in the trace */
    struct lane_spec *lanes; /* owned [n_lanes]: cache_of and clean are the study's lanes; lane 0 is dense */
    int n_lanes;
    char (*texts)[64]; /* owned [n_texts] */
    int n_texts;
    struct study_run *runs; /* owned [n_runs] */
    int n_runs;
    struct study_grid steps[N_STUDY_MAPS]; /* over all runs, of n_grid_lanes lanes */
    int n_grid_lanes, n_bins;              /* n_bins: of steps */
    struct study_touch *touch;             /* owned; NULL: no run is put away */
};

/* Whether an open trace belongs to the study; a study without runs takes any (study_begin). */
int study_begin(struct study *s, const struct trace_file *f);
bool study_takes(const struct study *s, const struct trace_file *f);
/* Reads the trace.  What is odd but no reason to stop goes to notes. */
int study_add(struct study *s, const struct trace_file *f, struct notes *notes);
/* Moves series and grids of all runs so far out of memory, into files in the folder that nobody sees. */
int study_put_away(struct study *s, const char *folder);
void study_close(struct study *s);

/* Whether the predicted tokens are a text's: only then is NLL a language-modelling figure. */
bool study_is_of_text(const struct study *s);

/* A study's lane in a run: [n_steps], or NULL where the run lacks the lane or the quantity. */
const float *study_series(const struct study *s, int run, int lane, enum quantity q);

/* A weighted sum of lanes; one that is STUDY_ABSENT leaves no value. */
enum { CONTRAST_MAX = 4 };
struct contrast {
    int n, lanes[CONTRAST_MAX];
    double weights[CONTRAST_MAX];
};

/* One number for each text, values: [n_texts], NaN where there is none: the mean over the steps from first on of the sum at
 * each step that all of its lanes have (for a median or the last value: the sum of theirs). */
int study_contrast(const struct study *s, const struct contrast *c, enum measure m, int first, double *values);
int study_estimate_contrast(const struct study *s, const struct contrast *c, enum measure m, int first,
                            struct estimate *e);

/* One number for each text over the steps from first on, values: [n_texts], NaN where there is none. */
int study_measure(const struct study *s, int lane, enum measure m, int first, double *values);
/* lane a minus lane b, step by step over the steps that both have (for a median or the last value: their difference). */
int study_difference(const struct study *s, int a, int b, enum measure m, double *values);
/* The two, and what the texts say about their mean. */
int study_estimate(const struct study *s, int lane, enum measure m, int first, struct estimate *e);
int study_estimate_difference(const struct study *s, int a, int b, enum measure m, struct estimate *e);
/* Whether a lane is dense until some step: its errors are NaN before that step, its bytes are not. */
bool study_turns_late(const struct study *s);

/* The mean over the runs of one text at each step: out [s->n_steps], NaN where there is none.  False: nothing at all. */
bool study_text_series(const struct study *s, int text, int lane, enum quantity q, double *out);
/* The same over bins of stale tokens: mean [STUDY_STALE_BINS]; n, or NULL: steps in each.  slot: of a block, or STUDY_ABSENT. */
bool study_stale_curve(const struct study *s, int text, int lane, enum quantity q, int slot, double *mean, int *n);

/* Layered means, NaN where there is none.  False: nothing at all.
 * over bins of steps: the mean over the runs, out [n_layers][n_bins]
 * over bins of stale tokens: of a text, or STUDY_ABSENT: the mean over texts; out [n_layers][STUDY_STALE_BINS]
 * over slots: the same, out [n_layers][STUDY_SLOTS]; a block of more than STUDY_SLOTS tokens has slot * STUDY_SLOTS / tokens */
bool study_map(const struct study *s, enum study_map map, int lane, double *out);
bool study_stale_map(const struct study *s, enum study_map map, int text, int lane, double *out);
bool study_slot_map(const struct study *s, enum study_map map, int text, int lane, double *out);

/* Bins of stale tokens: 0, 1, 2, 3, 4, 6, 8, 11, 16 .. in half octaves; bin i is first(i) .. first(i + 1) - 1, the last is open. */
int study_stale_bin(int stale_tokens);
int study_stale_bin_first(int bin); /* 0 .. STUDY_STALE_BINS: the last is the end of the last bin */

/* The place of a step's token in its block. */
static inline int study_slot(const struct study *s, int lane, int step)
{
    return (s->prompt_tokens + step) % s->lanes[lane].block_size;
}
static inline int study_slot_bin(int slot, int block_size)
{
    return block_size > STUDY_SLOTS ? (int)((int64_t)slot * STUDY_SLOTS / block_size) : slot;
}

#endif

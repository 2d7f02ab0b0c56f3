/* analysis/study.h: runs that differ in their text, excerpt or seed alone, read from their traces and reduced.
 *
 * What makes two runs the same study: model, prompt tokens, planned steps, follow and sampling.  Lanes are the same where
 * their name and settings are.  A text is a source: excerpts and seeds of one source are averaged before anything is said
 * about texts.  Everything is in memory: 8 bytes for each quantity, lane and step of a run, and the heat maps.     */
#ifndef ANALYSIS_STUDY_H
#define ANALYSIS_STUDY_H

#include "analysis/estimate.h"
#include "analysis/quantity.h"

#include "core/notes.h"
#include "core/trace_read.h"

enum { STUDY_MAP_BINS = 128, STUDY_ABSENT = -1 };

/* Variables kept by layer, over bins of steps, as means over the runs. */
enum study_map { MAP_K_DRIFT, MAP_V_DRIFT, MAP_K_ACCUM, N_STUDY_MAPS };
extern const char *const study_map_vars[N_STUDY_MAPS];

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
    N_RUN_FACTS
};
extern const char *const run_fact_attributes[N_RUN_FACTS];

struct study_run {
    char id[160], source[64];
    int text; /* index into study.texts */
    int start, n_steps, n_threads;
    int n_lanes;                      /* of the trace */
    int n_map;                        /* lanes that map has a place for */
    int *map;                         /* owned [n_map]: the study's lane -> the trace's, or STUDY_ABSENT */
    double *series[N_QUANTITIES];     /* owned [n_lanes][n_steps], NaN where there is none; NULL: not in the trace */
    double *k_drift_max, *k_rect_max; /* owned [n_lanes]: greatest value of any step and layer; NaN: none */
    double *repeats;                  /* owned [n_lanes]: share of the stream's 4-grams that were there before */
    char *facts[N_RUN_FACTS];         /* owned */
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
    float *map_sum[N_STUDY_MAPS]; /* owned [n_map_lanes][n_layers][n_bins] */
    float *map_n[N_STUDY_MAPS];
    int n_map_lanes, n_bins;
};

/* Whether an open trace belongs to the study; a study without runs takes any (study_begin). */
int study_begin(struct study *s, const struct trace_file *f);
bool study_takes(const struct study *s, const struct trace_file *f);
/* Reads the trace.  What is odd but no reason to stop goes to notes. */
int study_add(struct study *s, const struct trace_file *f, struct notes *notes);
void study_close(struct study *s);

/* Whether the predicted tokens are a text's: only then is NLL a language-modelling figure. */
bool study_is_of_text(const struct study *s);

/* A study's lane in a run: [n_steps], or NULL where the run lacks the lane or the quantity. */
const double *study_series(const struct study *s, int run, int lane, enum quantity q);

/* One number for each text over the steps from first on, values: [n_texts], NaN where there is none. */
int study_measure(const struct study *s, int lane, enum measure m, int first, double *values);
/* lane a minus lane b, step by step over the steps that both have (for a median or the last value: their difference). */
int study_difference(const struct study *s, int a, int b, enum measure m, double *values);
/* The two, and what the texts say about their mean. */
int study_estimate(const struct study *s, int lane, enum measure m, int first, struct estimate *e);
int study_estimate_difference(const struct study *s, int a, int b, enum measure m, struct estimate *e);

/* The mean over the texts of a layered variable: out [n_layers][n_bins], NaN where there is none; false: nothing at all. */
bool study_map(const struct study *s, enum study_map map, int lane, double *out);

#endif

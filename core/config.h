/* core/config.h: one experiment's YAML file, checked, with its axes multiplied out.
 *
 * config_open() reads the file, applies overrides (`key=value`, dotted keys, a family of lanes by its name:
 * `lanes.resa.interval=[16,32]`), checks every key against the tables in config_schema.c and expands the axes of
 * runs and of families (lists multiply; then zip, include, exclude).  What needs the model or the texts is the plan's.
 *
 * Errors in the file are collected: config_open() returns -1, config_n_errors() is above 0 and
 * config_print_errors() prints them all with line and caret (exit status 2).  Where it returns -1 with no such
 * error, fail_text() says what failed (the file cannot be read, no memory).  config_close() is due either way. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "core/diag.h"
#include "core/lane.h"
#include "core/model.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct yaml_node;

enum { CONFIG_ALL = 0, CONFIG_DEFAULT_START = -1, MAX_RUNS = 10000 };

/* Names as in configs, NULL-terminated. */
extern const char *const experiment_names[];
extern const char *const selector_names[]; /* by enum selector_id; "dense" is lane 0's alone */
extern const char *const metric_names[];   /* bit 1 << index is enum metric */
extern const char *const follow_names[];   /* by enum follow */

/* Index into experiment_names. */
enum experiment_id { EXPERIMENT_DRIFT, EXPERIMENT_LATENCY };

enum config_device { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA, DEVICE_CUDA_BF16, DEVICE_CUDA_INT4 };

enum prompt_kind { PROMPT_FILE, PROMPT_TEXT, PROMPT_CHAT, PROMPT_IDS, PROMPT_RANDOM };

struct config_message {
    const char *role, *content;    /* borrowed from the tree */
};

/* Where the tokens come from.  Which member is used follows from kind; the others are NULL or 0. */
struct config_prompt {
    enum prompt_kind kind;
    const char **texts;            /* file: patterns as written; text: the texts; ids: the path of a file of ids */
    int n_texts;
    int32_t *ids;                  /* ids given in the config [n_ids] */
    int n_ids;
    uint64_t *random_seeds;        /* random: one source for each [n_random_seeds] */
    int n_random_seeds;
    const char *chat_format;       /* chat: the named format, "auto" where the model's is to be used */
    struct config_message *messages; /* chat: [n_messages] */
    int n_messages;
    int windows;                   /* 0: none; else the number of disjoint excerpts */
    struct diag_mark at, source_at; /* of the section, and of the source in it */
};

/* One combination of the run axes. */
struct config_point {
    int prompt_tokens;             /* CONFIG_ALL: everything before start */
    int start;                     /* CONFIG_DEFAULT_START: the largest of prompt.tokens */
    int decode_tokens;
    int follow;                    /* enum follow */
    double temperature, top_p;
    int stop_eos;
    uint64_t seed;
    int batch;                     /* 0: not given */
};

/* One combination of a family's axes: a lane before cache_of is resolved against the other lanes. */
struct config_lane {
    int family;                    /* index into config.family_names */
    int selector;                  /* enum selector_id - SELECT_MINMAX, that is the index into selector_names + 1 */
    double sparsity;
    int block_size, local_blocks, min_blocks, interval, dense_layers, phase, dense_until, equal_bytes;
    double perturb;
    const char *cache_of;          /* "own", "dense", a family, or a lane's full name; borrowed from the tree */
    const struct yaml_node *node;  /* the mapping it was written in */
};

struct config {
    char *path;                    /* as given */
    char *folder;                  /* of the config file; paths in a config are relative to it */
    const char *name;              /* results go to results/NAME; borrowed from the tree */
    int experiment;                /* index into experiment_names */
    struct diag_mark experiment_at, model_at, device_at, decode_at;

    bool is_synthetic;
    struct synthetic_spec synthetic;
    char *model;                   /* a known name, or a path resolved against folder; NULL if synthetic */

    enum config_device device;
    int device_index;              /* cuda:N; 0 where it was not given */
    const char *device_text;       /* as written; borrowed from the tree */

    struct config_prompt prompt;
    struct config_point *points;   /* owned [n_points] */
    int n_points;
    struct config_lane *lanes;     /* owned [n_lanes], lane 0 (dense) not among them */
    int n_lanes;
    const char **family_names;     /* owned array of borrowed names [n_families] */
    int n_families;

    unsigned metrics;              /* enum metric bits */
    int every;
    bool allow_equal;
    const char *replay_text;       /* as written, "" where not given; borrowed from the tree */
    char *replay;                  /* owned: the same, resolved against folder; NULL where not given */
    struct diag_mark replay_at;

    char **notes;                  /* owned [n_notes]: points left out and why, lists that match nothing */
    int n_notes;

    char *text;                    /* owned: the file as read, 0-terminated [n_text] */
    size_t n_text;
    int n_overrides;
    const char **overrides;        /* owned array of owned texts */

    struct diag diag;
    struct config_store *store;    /* owned: tree and sources */
};

int  config_open(struct config *c, const char *path, int n_overrides, char *const *overrides);
void config_close(struct config *c); /* safe on a zeroed, half-opened or closed config */

int  config_n_errors(const struct config *c);
void config_print_errors(const struct config *c, FILE *out);

/* model_open() or model_open_synthetic(), as the config says. */
int  config_open_model(const struct config *c, struct model *m);

/* The mark of a key's value in a lane's mapping, or of the mapping itself where the key is not written. */
struct diag_mark config_lane_at(const struct config_lane *l, const char *key);

/* The same, but a key of the mapping that the command line gives goes before: it is what made the lane what it is. */
struct diag_mark config_lane_changed_at(const struct config_lane *l, const char *key);
/* yaml_at() over the whole config: keys such as "prompt.start", NULL-terminated. */
struct diag_mark config_at(const struct config *c, const char *const *keys, struct diag_mark otherwise);

/* The reference of every key (Markdown): default, unit, range, meaning.  configs/README.md is this text. */
int  config_print_reference(FILE *out);

#endif

/* core/weights.h: a model's weights as a back end holds them.  One set serves every run of a program. */
#ifndef CORE_WEIGHTS_H
#define CORE_WEIGHTS_H

#include "core/model.h"
#include "core/ops.h"

struct layer_weights {
    struct matrix *qkv, *o, *gate_up, *down;                         /* owned */
    float *attn_norm, *ffn_norm, *qkv_bias, *q_norm, *k_norm;        /* owned device memory; NULL where the model has none */
};

struct weights {
    const struct backend *be;                                        /* borrowed */
    struct device *dev;                                              /* borrowed */
    const struct model *model;                                       /* borrowed; its shape is read, its tensors no more */
    struct matrix *embedding, *output;                               /* output == embedding when tied */
    float *output_norm;
    double *rope_frequency;                                          /* device [head_dim / 2] */
    struct layer_weights *layers;                                    /* owned [n_layers] */
};

int  weights_open(struct weights *w, const struct backend *be, struct device *dev, const struct model *model);
void weights_close(struct weights *w);
/* What weights_open will hold, in bytes. */
uint64_t weights_bytes(const struct backend *be, const struct model *model);

#endif

/* core/model_read.h: what the readers of checkpoints share (model_gguf.c, model_hf.c, model_synthetic.c).  Private to
 * core/model*.c. */
#ifndef CORE_MODEL_READ_H
#define CORE_MODEL_READ_H

#include "core/file_map.h"
#include "core/model.h"

#include <jansson.h>

/* The mappings and blocks that a model's tensors point into; model_close() releases them. */
struct model_store {
    struct file_map *maps; /* owned [n_maps] */
    size_t n_maps;
    void **blocks;         /* owned [n_blocks], each from mem_alloc */
    size_t n_blocks;
};

int model_store_map(struct model *m, const char *path, struct file_map *map); /* map: a copy to look at */
int model_store_block(struct model *m, void **p, size_t n, size_t size, const char *what);

/* Where a checkpoint keeps a tensor of the model, and its shape. */
enum slot_size { SIZE_ONE, SIZE_HIDDEN, SIZE_FFN, SIZE_QUERY, SIZE_KV, SIZE_HEAD, SIZE_VOCAB };
enum slot_need { NEED_ALWAYS, NEED_BIAS, NEED_QK_NORM, NEED_UNTIED };

struct model_slot {
    const char *gguf, *hf; /* the name; in a layer without its prefix (blk.N., model.layers.N.) */
    size_t at;             /* the tensor's offset in struct model, or in struct model_layer */
    enum slot_size rows, cols, fan_in; /* fan_in: inputs of one output, for synthetic weights */
    enum slot_need need;
};

enum { N_MODEL_SLOTS = 3, N_LAYER_SLOTS = 14 };
extern const struct model_slot model_slots[N_MODEL_SLOTS], layer_slots[N_LAYER_SLOTS];

int model_size(const struct model_shape *s, enum slot_size size);

/* Gives the tensor a home, called once for each that the shape needs, in a fixed order: t comes with n_rows and n_cols,
 * leaves with type and data.  layer is -1 outside of the layers; number is stable (model_fill()). */
typedef int model_place(void *source, const struct model_slot *slot, int layer, uint32_t number, struct tensor *t);

/* Refuses a shape that is out of bounds or contradicts itself; to be called before model_fill(). */
int model_check_shape(const struct model_shape *s);

/* Makes the layers and places every tensor.  Tensor numbers: slot for the model's own, 16 * (layer + 1)
 * + slot in a layer. */
int model_fill(struct model *m, model_place *place, void *source);

int model_open_gguf(struct model *m, const char *path);
int model_open_hf(struct model *m, const char *folder);

/* config.json as a shape; messages name the key, not the file. */
int model_hf_shape(const json_t *config, struct model_shape *s);

/* The tokenizer of a GGUF file's metadata; t stays zeroed where the file has none. */
struct gguf;
int model_gguf_tokenizer(struct tokenizer *t, const struct gguf *g, int vocab, const char *path);

#endif

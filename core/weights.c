#include "core/weights.h"

#include "core/err.h"
#include "core/mem.h"



static int vector_upload(struct weights *w, float **to, const struct tensor *const *parts, int n_parts, const char *what)
{
    size_t n = 0;
    for (int i = 0; i < n_parts; i++) n += (size_t)parts[i]->n_cols;
    *to = NULL;
    if (!parts[0]->data) return 0;
    float *host = NULL;
    TRY(MEM_NEW(&host, n, what), "weights");
    size_t at = 0;
    for (int i = 0; i < n_parts; i++) {
        tensor_row(parts[i], 0, host + at);
        at += (size_t)parts[i]->n_cols;
    }
    int rc = w->be->alloc(w->dev, (void **)to, n * sizeof(float), what);
    if (rc == 0) rc = w->be->upload(w->dev, *to, host, n * sizeof(float));
    mem_free(host);
    return rc;
}

static int pack(struct weights *w, struct matrix **m, const struct tensor *const *parts, int n_parts)
{
    TRY(w->be->matrix_pack(w->dev, m, parts, n_parts), "packing");
    model_drop_pages(w->model); /* packed: the file's pages would only count as memory in use */
    return 0;
}

static int layer_pack(struct weights *w, struct matrix **m, const struct tensor *const *parts, int n_parts)
{
    TRY(w->be->layer_matrix_pack(w->dev, m, parts, n_parts), "packing");
    model_drop_pages(w->model);
    return 0;
}

static int layer_open(struct weights *w, int layer)
{
    const struct model_layer *l = &w->model->layers[layer];
    struct layer_weights *out = &w->layers[layer];
    TRY(layer_pack(w, &out->qkv, (const struct tensor *[]){ &l->q, &l->k, &l->v }, 3), "q, k, v");
    TRY(layer_pack(w, &out->o, (const struct tensor *[]){ &l->o }, 1), "o");
    TRY(layer_pack(w, &out->gate_up, (const struct tensor *[]){ &l->gate, &l->up }, 2), "gate, up");
    TRY(layer_pack(w, &out->down, (const struct tensor *[]){ &l->down }, 1), "down");
    TRY(vector_upload(w, &out->attn_norm, (const struct tensor *[]){ &l->attn_norm }, 1, "attn_norm"), "attn_norm");
    TRY(vector_upload(w, &out->ffn_norm, (const struct tensor *[]){ &l->ffn_norm }, 1, "ffn_norm"), "ffn_norm");
    TRY(vector_upload(w, &out->qkv_bias, (const struct tensor *[]){ &l->q_bias, &l->k_bias, &l->v_bias }, 3, "bias"), "bias");
    TRY(vector_upload(w, &out->q_norm, (const struct tensor *[]){ &l->q_norm }, 1, "q_norm"), "q_norm");
    return vector_upload(w, &out->k_norm, (const struct tensor *[]){ &l->k_norm }, 1, "k_norm");
}

int weights_open(struct weights *w, const struct backend *be, struct device *dev, const struct model *model)
{
    *w = (struct weights){ .be = be, .dev = dev, .model = model };
    const struct model_shape *s = &model->shape;
    TRY(MEM_NEW(&w->layers, s->n_layers, "layers"), "weights");
    TRY(pack(w, &w->embedding, (const struct tensor *[]){ &model->embedding }, 1), "embedding");
    if (s->tied)
        w->output = w->embedding;
    else
        TRY(pack(w, &w->output, (const struct tensor *[]){ &model->output }, 1), "output");
    TRY(vector_upload(w, &w->output_norm, (const struct tensor *[]){ &model->output_norm }, 1, "output_norm"), "output_norm");
    for (int i = 0; i < s->n_layers; i++) TRY(layer_open(w, i), "layer %d", i);
    double *frequency = NULL;
    const size_t n = (size_t)s->head_dim / 2;
    TRY(MEM_NEW(&frequency, n, "rope"), "weights");
    rope_frequencies(&s->rope, s->head_dim, frequency);
    int rc = be->alloc(dev, (void **)&w->rope_frequency, n * sizeof(double), "rope");
    if (rc == 0) rc = be->upload(dev, w->rope_frequency, frequency, n * sizeof(double));
    mem_free(frequency);
    return rc;
}

void weights_close(struct weights *w)
{
    if (!w->be) return;
    for (int i = 0; w->layers && i < w->model->shape.n_layers; i++) {
        struct layer_weights *l = &w->layers[i];
        w->be->matrix_free(w->dev, l->qkv);
        w->be->matrix_free(w->dev, l->o);
        w->be->matrix_free(w->dev, l->gate_up);
        w->be->matrix_free(w->dev, l->down);
        w->be->release(w->dev, l->attn_norm);
        w->be->release(w->dev, l->ffn_norm);
        w->be->release(w->dev, l->qkv_bias);
        w->be->release(w->dev, l->q_norm);
        w->be->release(w->dev, l->k_norm);
    }
    if (w->output != w->embedding) w->be->matrix_free(w->dev, w->output);
    w->be->matrix_free(w->dev, w->embedding);
    w->be->release(w->dev, w->output_norm);
    w->be->release(w->dev, w->rope_frequency);
    mem_free(w->layers);
    *w = (struct weights){ 0 };
}

uint64_t weights_bytes(const struct backend *be, const struct model *model)
{
    size_t (*const bytes)(const struct tensor *const *, int) = be->layer_matrix_bytes;
    uint64_t n = be->matrix_bytes((const struct tensor *[]){ &model->embedding }, 1);
    if (!model->shape.tied) n += be->matrix_bytes((const struct tensor *[]){ &model->output }, 1);
    for (int i = 0; i < model->shape.n_layers; i++) {
        const struct model_layer *l = &model->layers[i];
        n += bytes((const struct tensor *[]){ &l->q, &l->k, &l->v }, 3);
        n += bytes((const struct tensor *[]){ &l->o }, 1);
        n += bytes((const struct tensor *[]){ &l->gate, &l->up }, 2);
        n += bytes((const struct tensor *[]){ &l->down }, 1);
        n += 4 * (uint64_t)(l->attn_norm.n_cols + l->ffn_norm.n_cols + l->q.n_rows + l->k.n_rows + l->v.n_rows);
    }
    return n;
}

#include "core/info.h"

#include "core/err.h"
#include "core/model.h"
#include "core/model_known.h"
#include "core/trace_read.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void info_text(FILE *out, const char *text, int indent)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '\n' && text[1]) fprintf(out, "\n%*s", indent, "");
        else if (c != '\n') fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
}

const char *info_bytes(uint64_t n, char *text, size_t n_bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    double x = (double)n;
    int unit = 0;
    for (; x >= 1000 && unit < 4; unit++) x /= 1000;
    snprintf(text, n_bytes, unit ? "%.1f %s" : "%.0f %s", x, units[unit]);
    return text;
}

/* ---- a model ---- */

struct type_count {
    int n_tensors;
    uint64_t n_weights, n_bytes;
};

static void tensor_count(struct type_count *counts, const struct tensor *t)
{
    if (!t->data) return;
    struct type_count *c = &counts[t->type];
    c->n_tensors++;
    c->n_weights += (uint64_t)t->n_rows * (uint64_t)t->n_cols;
    c->n_bytes += (uint64_t)t->n_rows * tensor_row_bytes(t);
}

static void tensors_count(const struct model *m, struct type_count *counts)
{
    tensor_count(counts, &m->embedding);
    tensor_count(counts, &m->output_norm);
    if (!m->shape.tied) tensor_count(counts, &m->output);
    for (int i = 0; i < m->shape.n_layers; i++) {
        const struct model_layer *l = &m->layers[i];
        const struct tensor *const all[] = { &l->attn_norm, &l->ffn_norm, &l->q, &l->k, &l->v, &l->o, &l->q_bias, &l->k_bias,
                                             &l->v_bias, &l->q_norm, &l->k_norm, &l->gate, &l->up, &l->down };
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) tensor_count(counts, all[k]);
    }
}

static void model_print(const struct model *m, FILE *out)
{
    struct type_count counts[N_TENSOR_TYPES] = { 0 }, all = { 0 };
    char text[512], bytes[32];
    model_describe(m, text, sizeof text);
    fprintf(out, "model       ");
    info_text(out, m->name, 12);
    fprintf(out, "\nshape       ");
    info_text(out, text, 12);
    fprintf(out, "\ndigest      %s\ntokenizer   ", m->digest);
    if (m->tokenizer.n_tokens > 0)
        fprintf(out, "%d tokens, begin %d%s, end %d\n", m->tokenizer.n_tokens, m->tokenizer.bos_id,
                m->tokenizer.add_bos ? " (put before prompts)" : "", m->tokenizer.eos_id);
    else fprintf(out, "none\n");
    tensors_count(m, counts);
    fprintf(out, "\n%-10s %8s %15s %10s\n", "tensors", "number", "weights", "bytes");
    for (int t = 0; t < N_TENSOR_TYPES; t++) {
        if (counts[t].n_tensors == 0) continue;
        fprintf(out, "%-10s %8d %15llu %10s\n", tensor_format((enum tensor_type)t)->name, counts[t].n_tensors,
                (unsigned long long)counts[t].n_weights, info_bytes(counts[t].n_bytes, bytes, sizeof bytes));
        all.n_tensors += counts[t].n_tensors;
        all.n_weights += counts[t].n_weights;
        all.n_bytes += counts[t].n_bytes;
    }
    fprintf(out, "%-10s %8d %15llu %10s\n", "all", all.n_tensors, (unsigned long long)all.n_weights,
            info_bytes(all.n_bytes, bytes, sizeof bytes));
}

int info_print_model(const char *source, FILE *out)
{
    struct model m = { 0 };
    const int rc = model_open(&m, source);
    if (rc == 0) model_print(&m, out);
    model_close(&m);
    return rc;
}

/* ---- which it is ---- */

static bool folder_has(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path && access(path, F_OK) == 0;
}

static bool file_is_gguf(const char *path)
{
    char head[4] = { 0 };
    FILE *f = fopen(path, "rbe");
    if (!f) return false;
    const bool yes = fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, "GGUF", sizeof head) == 0;
    fclose(f);
    return yes;
}

int info_print(const char *path, FILE *out)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        if (model_is_known(path)) return info_print_model(path, out);
        return fail("%s: cannot open: %s; nor is it a known model (%s)", path, strerror(errno), model_known_names());
    }
    if (S_ISDIR(st.st_mode)) {
        if (folder_has(path, "runs")) return info_print_results(path, out);
        if (folder_has(path, "config.json")) return info_print_model(path, out);
        return fail("%s: neither a results folder (no runs/) nor a checkpoint (no config.json)", path);
    }
    if (trace_file_is_hdf5(path)) return info_print_trace(path, out);
    if (file_is_gguf(path)) return info_print_model(path, out);
    return fail("%s: neither a trace (HDF5) nor a model (GGUF)", path);
}

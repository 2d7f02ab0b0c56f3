#include "core/config_schema.h"

#include "core/config.h"
#include "core/plan.h"

enum { MAX_STREAM = 1 << 24, MAX_TOKENS = 1 << 20, MAX_STEPS = 1 << 20 };

const char *const experiment_names[] = { "drift", NULL };
const char *const selector_names[] = { "dense", "minmax", "random", "window", "oracle", NULL };
const char *const metric_names[] = { "drift", "cache", "attention", "mass", "logits", "parts", "heads", "selection", NULL };
const char *const follow_names[] = { "text", "reference", "self", NULL };
static const char *const stop_names[] = { "never", "eos", NULL };
static const char *const family_names[] = { "llama", "qwen2", "qwen3", NULL };
static const char *const role_names[] = { "system", "user", "assistant", NULL };

#define SECTION(name, title, path, rows)                                                                               \
    const struct schema name = { title, path, rows, (int)(sizeof(rows) / sizeof *(rows)) }

#define AT(m) offsetof(struct config, m)
static const struct schema_field root_rows[] = {
    [ROOT_NAME] = { "name", SCHEMA_NAME, false, AT(name), 0, 0, NULL, NULL, 0, NULL, "",
                    "the results go to `results/NAME/`" },
    [ROOT_EXPERIMENT] = { "experiment", SCHEMA_CHOICE, false, AT(experiment), 0, 0, experiment_names, NULL, 0, "drift", "",
                          "the kind of study" },
    [ROOT_MODEL] = { "model", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "smollm2-135m", "",
                     "a known name, a `.gguf` file, a checkpoint folder, or `{synthetic: {..}}`" },
    [ROOT_DEVICE] = { "device", SCHEMA_TEXT, false, AT(device_text), 0, 31, NULL, NULL, 0, "auto", "",
                      "`auto`, `cpu`, `cuda` or `cuda:N`" },
    [ROOT_PROMPT] = { "prompt", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, NULL, "", "what is decoded, see `prompt`" },
    [ROOT_DECODE] = { "decode", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "", "how it is decoded, see `decode`" },
    [ROOT_LANES] = { "lanes", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                     "a list of families of sparse lanes, see `lanes[]`; the dense lane is always there" },
    [ROOT_TRACE] = { "trace", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "", "what is recorded, see `trace`" },
    [ROOT_SEEDS] = { "seeds", SCHEMA_SEED, true, offsetof(struct config_point, seed), 0, 0x1p53, NULL, NULL, 0, "1", "",
                     "of sampling, of the selector `random` and of `perturb`" },
    [ROOT_ALLOW_EQUAL] = { "allow_equal", SCHEMA_BOOL, false, AT(allow_equal), 0, 0, NULL, NULL, 0, "false", "",
                           "lanes that do the same warn instead of being refused" },
    [ROOT_ZIP] = { "zip", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                   "pairs lists of equal length: `[[prompt.tokens, decode.tokens]]`" },
    [ROOT_INCLUDE] = { "include", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "", "adds runs: `[{prompt.tokens: 64}]`" },
    [ROOT_EXCLUDE] = { "exclude", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                       "drops runs that match every key: `[{prompt.tokens: 64, seeds: [1, 2]}]`" },
};
SECTION(schema_root, "a config", "", root_rows);
#undef AT

#define AT(m) offsetof(struct config_point, m)
static const struct schema_field prompt_rows[] = {
    [PROMPT_KEY_FILE] = { "file", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                          "text files: a pattern such as `texts/*.txt`, or a list of them; relative to the config" },
    [PROMPT_KEY_TEXT] = { "text", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "", "the text itself, or a list of texts" },
    [PROMPT_KEY_CHAT] = { "chat", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                          "a conversation, ending with the opening of the reply, see `prompt.chat`" },
    [PROMPT_KEY_IDS] = { "ids", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                         "a list of token ids, or a file of them (decimal, between blanks)" },
    [PROMPT_KEY_RANDOM] = { "random", SCHEMA_SEED, true, 0, 0, 0x1p53, NULL, NULL, 0, "", "",
                            "token ids drawn uniformly from the vocabulary by this seed" },
    [PROMPT_KEY_TOKENS] = { "tokens", SCHEMA_INT, true, AT(prompt_tokens), 1, MAX_TOKENS, NULL, "all", CONFIG_ALL, "all",
                            "tokens", "how many are prefilled; `all`: all that stand before `start`" },
    [PROMPT_KEY_START] = { "start", SCHEMA_INT, true, AT(start), 1, MAX_STREAM, NULL, "default", CONFIG_DEFAULT_START,
                           "default", "tokens",
                           "index of the first decoded token in its source; `default`: the largest of `tokens` (of `all`: "
                           "as far back as the text allows)" },
    [PROMPT_KEY_WINDOWS] = { "windows", SCHEMA_INT, false, offsetof(struct config_prompt, windows), 1, 10000, NULL, "none", 0,
                             "none", "excerpts", "that many disjoint excerpts, evenly spread, instead of `start`" },
};
SECTION(schema_prompt, "a prompt", "prompt", prompt_rows);

static const struct schema_field decode_rows[] = {
    [DECODE_TOKENS] = { "tokens", SCHEMA_INT, true, AT(decode_tokens), 1, MAX_STEPS, NULL, NULL, 0, "64", "steps",
                        "how many tokens are decoded" },
    [DECODE_FOLLOW] = { "follow", SCHEMA_CHOICE, true, AT(follow), 0, 0, follow_names, NULL, 0, "text", "",
                        "whose next token is fed: the text's, the dense lane's, or each lane's own" },
    [DECODE_TEMPERATURE] = { "temperature", SCHEMA_REAL, true, AT(temperature), 0, 100, NULL, NULL, 0, "0", "",
                             "of sampling; 0: the likeliest token" },
    [DECODE_TOP_P] = { "top_p", SCHEMA_REAL, true, AT(top_p), 1e-6, 1, NULL, NULL, 0, "1", "",
                       "sampling is from the likeliest tokens that hold this probability" },
    [DECODE_STOP] = { "stop", SCHEMA_CHOICE, false, AT(stop_eos), 0, 0, stop_names, NULL, 0, "never", "",
                      "whether the end-of-text token ends decoding (not with `follow: text`)" },
};
SECTION(schema_decode, "decode", "decode", decode_rows);
#undef AT

#define AT(m) offsetof(struct config_lane, m)
static const struct schema_field lane_rows[] = {
    [LANE_KEY_NAME] = { "name", SCHEMA_NAME, false, 0, 0, 0, NULL, NULL, 0, NULL, "", "the family's name; not `dense` or `own`" },
    [LANE_KEY_SELECTOR] = { "selector", SCHEMA_CHOICE, true, AT(selector), 0, 0, selector_names + 1, NULL, 0, "minmax", "",
                            "how blocks are chosen" },
    [LANE_KEY_SPARSITY] = { "sparsity", SCHEMA_REAL, true, AT(sparsity), 0, 1, NULL, NULL, 0, "0.9", "share of blocks",
                            "blocks that are NOT read" },
    [LANE_KEY_BLOCK_SIZE] = { "block_size", SCHEMA_INT, true, AT(block_size), 1, 4096, NULL, NULL, 0, "16", "tokens",
                              "tokens of a block" },
    [LANE_KEY_LOCAL_BLOCKS] = { "local_blocks", SCHEMA_INT, true, AT(local_blocks), 0, 65536, NULL, NULL, 0, "1", "blocks",
                                "the last ones, always read" },
    [LANE_KEY_MIN_BLOCKS] = { "min_blocks", SCHEMA_INT, true, AT(min_blocks), 0, 65536, NULL, NULL, 0, "16", "blocks",
                              "read at least, where there are so many" },
    [LANE_KEY_INTERVAL] = { "interval", SCHEMA_INT, true, AT(interval), 1, MAX_STEPS, NULL, "never", 0, "never", "steps",
                            "between two dense rectifications" },
    [LANE_KEY_DENSE_LAYERS] = { "dense_layers", SCHEMA_INT, true, AT(dense_layers), 0, 4096, NULL, NULL, 0, "0", "layers",
                                "the first ones, that read everything" },
    [LANE_KEY_PHASE] = { "phase", SCHEMA_INT, true, AT(phase), 0, MAX_STEPS - 1, NULL, NULL, 0, "0", "steps",
                         "rectified after step s where (s + 1 + phase) mod interval = 0" },
    [LANE_KEY_DENSE_UNTIL] = { "dense_until", SCHEMA_INT, true, AT(dense_until), 0, MAX_STEPS, NULL, NULL, 0, "0", "steps",
                               "before this step the lane is the dense one" },
    [LANE_KEY_CACHE_OF] = { "cache_of", SCHEMA_TEXT, true, AT(cache_of), 0, 127, NULL, NULL, 0, "own", "",
                            "`own`, or whose cache a probe reads: `dense`, a family (one probe for each of its lanes) or "
                            "a lane's full name" },
    [LANE_KEY_EQUAL_BYTES] = { "equal_bytes", SCHEMA_INT, true, AT(equal_bytes), 0, MAX_STEPS, NULL, NULL, 0, "0", "steps",
                               "f: reads 1/f more, the bytes that rectifying every f steps would move; 0: not" },
    [LANE_KEY_PERTURB] = { "perturb", SCHEMA_REAL, true, AT(perturb), 0, 16, NULL, NULL, 0, "0", "relative",
                           "size of Gaussian noise put on each K and V that a step writes" },
    [LANE_KEY_ZIP] = { "zip", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                       "pairs lists of equal length: `[[sparsity, interval]]`" },
    [LANE_KEY_INCLUDE] = { "include", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                           "adds lanes: `[{sparsity: 0.5, interval: 8}]`" },
    [LANE_KEY_EXCLUDE] = { "exclude", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, "", "",
                           "drops lanes that match every key: `[{sparsity: 0.95, interval: [16, 32]}]`" },
};
SECTION(schema_lane, "a family of lanes", "lanes[]", lane_rows);
#undef AT

static const struct schema_field trace_rows[] = {
    { "metrics", SCHEMA_FLAGS, false, offsetof(struct config, metrics), 0, 0, metric_names, NULL, 0,
      "[drift, cache, attention, mass, logits]", "", "the groups of variables that are recorded" },
    { "every", SCHEMA_INT, false, offsetof(struct config, every), 1, MAX_STEPS, NULL, NULL, 0, "1", "steps",
      "variables by layer are recorded at steps with (s + 1) mod every = 0" },
};
SECTION(schema_trace, "trace", "trace", trace_rows);

#define AT(m) offsetof(struct synthetic_spec, m)
static const struct schema_field synthetic_rows[] = {
    { "family", SCHEMA_CHOICE, false, AT(family), 0, 0, family_names, NULL, 0, "llama", "", "the kind of transformer" },
    { "layers", SCHEMA_INT, false, AT(layers), 1, 1024, NULL, NULL, 0, "2", "layers", "" },
    { "hidden", SCHEMA_INT, false, AT(hidden), 2, 65536, NULL, NULL, 0, "64", "elements", "of the residual stream" },
    { "heads", SCHEMA_INT, false, AT(heads), 1, 1024, NULL, NULL, 0, "4", "heads", "query heads" },
    { "kv_heads", SCHEMA_INT, false, AT(kv_heads), 1, 1024, NULL, NULL, 0, "2", "heads", "KV heads; divide `heads`" },
    { "head_dim", SCHEMA_INT, false, AT(head_dim), 2, 1024, NULL, "auto", 0, "auto", "elements",
      "of a head, even; `auto`: hidden / heads" },
    { "ffn", SCHEMA_INT, false, AT(ffn), 1, 1 << 20, NULL, "auto", 0, "auto", "elements",
      "of the feed-forward layer; `auto`: 4 hidden / 3, rounded up to 64" },
    { "vocab", SCHEMA_INT, false, AT(vocab), 2, 1 << 20, NULL, NULL, 0, "512", "tokens", "" },
    { "context", SCHEMA_INT, false, AT(context), 1, MAX_TOKENS, NULL, NULL, 0, "8192", "tokens", "the longest sequence" },
    { "seed", SCHEMA_SEED, false, AT(seed), 0, 0x1p53, NULL, NULL, 0, "1", "", "of the weights" },
};
SECTION(schema_synthetic, "a synthetic model", "model.synthetic", synthetic_rows);
#undef AT

static const struct schema_field chat_rows[] = {
    { "format", SCHEMA_TEXT, false, offsetof(struct config_prompt, chat_format), 0, 63, NULL, NULL, 0, "auto", "",
      "a named chat format (`smollm2`, `qwen` ..); `auto`: the model's own" },
    { "messages", SCHEMA_NODE, false, 0, 0, 0, NULL, NULL, 0, NULL, "", "a list of `{role: .., content: ..}`" },
};
SECTION(schema_chat, "a conversation", "prompt.chat", chat_rows);

static const struct schema_field message_rows[] = {
    { "role", SCHEMA_CHOICE, false, 0, 0, 0, role_names, NULL, 0, NULL, "", "who speaks" },
    { "content", SCHEMA_TEXT, false, offsetof(struct config_message, content), 0, 0, NULL, NULL, 0, NULL, "", "what is said" },
};
SECTION(schema_message, "a message", "prompt.chat.messages[]", message_rows);

#include "core/config_schema.h"

#include "core/config.h"
#include "core/plan.h"

enum { MAX_STREAM = 1 << 24, MAX_TOKENS = 1 << 20, MAX_STEPS = 1 << 20, MAX_BATCH = 64 };

const char *const experiment_names[] = { [EXPERIMENT_DRIFT] = "drift", [EXPERIMENT_LATENCY] = "latency", NULL };
const char *const selector_names[] = { "dense", "minmax", "random", "window", "oracle", "replay", NULL };
const char *const metric_names[] = { "drift",  "cache", "attention", "mass",     "logits",
                                     "parts", "heads", "selection", "time",   NULL };
const char *const follow_names[] = { "text", "reference", "self", NULL };
static const char *const stop_names[] = { "never", "eos", NULL };
static const char *const family_names[] = { "llama", "qwen2", "qwen3", NULL };
static const char *const role_names[] = { "system", "user", "assistant", NULL };

/* clang-format off */
/* One row: the key, its place in RECORD, limits, the default, the unit, the help; what else it has comes last. */
#define ROW(k, kind_, d, u, h, ...) { .key = k, .kind = kind_, .def = d, .units = u, .help = h, __VA_ARGS__ }
#define AT(m) .at = offsetof(struct RECORD, m)
#define NODE(k, d, h)                    ROW(k, SCHEMA_NODE, d, "", h,)
#define NAME(k, m, d, h)                 ROW(k, SCHEMA_NAME, d, "", h, AT(m))
#define TEXT(k, m, longest, d, h, ...)   ROW(k, SCHEMA_TEXT, d, "", h, AT(m), .max = longest, __VA_ARGS__)
#define BOOL(k, m, d, h)                 ROW(k, SCHEMA_BOOL, d, "", h, AT(m))
#define CHOICE(k, m, list, d, h, ...)    ROW(k, SCHEMA_CHOICE, d, "", h, AT(m), .names = list, __VA_ARGS__)
#define FLAGS(k, m, list, d, h)          ROW(k, SCHEMA_FLAGS, d, "", h, AT(m), .names = list)
#define SEED(k, m, d, h, ...)            ROW(k, SCHEMA_SEED, d, "", h, AT(m), .max = 0x1p53, __VA_ARGS__)
#define INT(k, m, lo, hi, d, u, h, ...)  ROW(k, SCHEMA_INT, d, u, h, AT(m), .min = lo, .max = hi, __VA_ARGS__)
#define REAL(k, m, lo, hi, d, u, h, ...) ROW(k, SCHEMA_REAL, d, u, h, AT(m), .min = lo, .max = hi, __VA_ARGS__)
#define AXIS .axis = true
#define WORD(w, value) .word = w, .word_value = value
#define SECTION(name, title, path, rows) const struct schema name = { title, path, rows, (int)(sizeof(rows) / sizeof *(rows)) }

#define RECORD config
static const struct schema_field root_rows[] = {
    [ROOT_NAME] = NAME("name", name, NULL, "the results go to `results/NAME/`"),
    [ROOT_EXPERIMENT] = CHOICE("experiment", experiment, experiment_names, "drift", "the kind of study",),
    [ROOT_MODEL] = NODE("model", "smollm2-135m", "a known name, a `.gguf` file, a checkpoint folder, or `{synthetic: {..}}`"),
    [ROOT_DEVICE] = TEXT("device", device_text, 31, "auto", "`auto`, `cpu`, `cuda` (fp16), `cuda-bf16` (weights and activations in bf16), `cuda-int4` (fp16, but the weights of layers in 4 bits, see above); `cuda:N`: device number N",),
    [ROOT_PROMPT] = NODE("prompt", NULL, "what is decoded, see `prompt`"),
    [ROOT_DECODE] = NODE("decode", "", "how it is decoded, see `decode`"),
    [ROOT_LANES] = NODE("lanes", "", "a list of families of sparse lanes, see `lanes[]`; the dense lane is always there"),
    [ROOT_TRACE] = NODE("trace", "", "what is recorded, see `trace`"),
#undef RECORD
#define RECORD config_point
    [ROOT_SEEDS] = SEED("seeds", seed, "1", "of sampling, of the selector `random` and of `perturb`", AXIS),
    [ROOT_BATCH] = INT("batch", batch, 1, MAX_BATCH, "none", "sequences",
        "of `experiment: latency`: independent sequences that are decoded together", AXIS, WORD("none", 0)),
#undef RECORD
#define RECORD config
    [ROOT_ALLOW_EQUAL] = BOOL("allow_equal", allow_equal, "false", "lanes or texts that are the same warn instead of being refused"),
    [ROOT_REPLAY] = TEXT("replay", replay_text, 0, "",
        "a trace, or a folder of them, whose block lists the lanes of `selector: replay` read, each those of the lane of its name",),
    [ROOT_ZIP] = NODE("zip", "", "pairs lists of equal length: `[[prompt.tokens, decode.tokens]]`"),
    [ROOT_INCLUDE] = NODE("include", "", "adds runs: `[{prompt.tokens: 64}]`"),
    [ROOT_EXCLUDE] = NODE("exclude", "", "drops runs that match every key: `[{prompt.tokens: 64, seeds: [1, 2]}]`"),
};
SECTION(schema_root, "a config", "", root_rows);

static const struct schema_field trace_rows[] = {
    FLAGS("metrics", metrics, metric_names, "[drift, cache, attention, mass, logits]",
        "the groups of variables that are recorded; of `experiment: latency` always `[time]`"),
    INT("every", every, 1, MAX_STEPS, "1", "steps", "variables by layer are recorded at steps with (s + 1) mod every = 0",),
};
SECTION(schema_trace, "trace", "trace", trace_rows);
#undef RECORD

#define RECORD config_point
static const struct schema_field prompt_rows[] = {
    [PROMPT_KEY_FILE] = NODE("file", "", "text files: a pattern such as `texts/*.txt` (relative to the config), `debian:NAME` for a known text (`texts/README.md`), or a list of them"),
    [PROMPT_KEY_TEXT] = NODE("text", "", "the text itself, or a list of texts"),
    [PROMPT_KEY_CHAT] = NODE("chat", "", "a conversation, ending with the opening of the reply, see `prompt.chat`"),
    [PROMPT_KEY_IDS] = NODE("ids", "", "a list of token ids, or a file of them (decimal, between blanks)"),
    [PROMPT_KEY_RANDOM] = ROW("random", SCHEMA_SEED, "", "", "token ids drawn uniformly from the vocabulary by this seed", AXIS, .max = 0x1p53),
    [PROMPT_KEY_TOKENS] = INT("tokens", prompt_tokens, 1, MAX_TOKENS, "all", "tokens",
        "how many are prefilled; `all`: all that stand before `start`", AXIS, WORD("all", CONFIG_ALL)),
    [PROMPT_KEY_START] = INT("start", start, 1, MAX_STREAM, "default", "tokens",
        "index of the first decoded token in its source; `default`: the largest of `tokens` (of `all`: as far back as the text allows)",
        AXIS, WORD("default", CONFIG_DEFAULT_START)),
#undef RECORD
#define RECORD config_prompt
    [PROMPT_KEY_WINDOWS] = INT("windows", windows, 1, 10000, "none", "excerpts",
        "that many disjoint excerpts, evenly spread, instead of `start`", WORD("none", 0)),
};
SECTION(schema_prompt, "a prompt", "prompt", prompt_rows);

static const struct schema_field chat_rows[] = {
    TEXT("format", chat_format, 63, "auto", "a named chat format (`smollm2`, `qwen` ..); `auto`: the model's own",),
    NODE("messages", NULL, "a list of `{role: .., content: ..}`"),
};
SECTION(schema_chat, "a conversation", "prompt.chat", chat_rows);
#undef RECORD

#define RECORD config_message
static const struct schema_field message_rows[] = {
    ROW("role", SCHEMA_CHOICE, NULL, "", "who speaks", .names = role_names),
    TEXT("content", content, 0, NULL, "what is said",),
};
SECTION(schema_message, "a message", "prompt.chat.messages[]", message_rows);
#undef RECORD

#define RECORD config_point
static const struct schema_field decode_rows[] = {
    [DECODE_TOKENS] = INT("tokens", decode_tokens, 1, MAX_STEPS, "64", "steps", "how many tokens are decoded", AXIS),
    [DECODE_FOLLOW] = CHOICE("follow", follow, follow_names, "text",
        "whose next token is fed: the text's, the dense lane's, or each lane's own", AXIS),
    [DECODE_TEMPERATURE] = REAL("temperature", temperature, 0, 100, "0", "", "of sampling; 0: the likeliest token", AXIS),
    [DECODE_TOP_P] = REAL("top_p", top_p, 1e-6, 1, "1", "", "sampling is from the likeliest tokens that hold this probability", AXIS),
    [DECODE_STOP] = CHOICE("stop", stop_eos, stop_names, "never",
        "whether the end-of-text token ends decoding (not with `follow: text`)",),
};
SECTION(schema_decode, "decode", "decode", decode_rows);
#undef RECORD

#define RECORD config_lane
static const struct schema_field lane_rows[] = {
    [LANE_KEY_NAME] = ROW("name", SCHEMA_NAME, NULL, "", "the family's name; not `dense` or `own`",),
    [LANE_KEY_SELECTOR] = CHOICE("selector", selector, selector_names + 1, "minmax", "how blocks are chosen; `replay`: as the lane of the same name chose them in the run of `replay`", AXIS),
    [LANE_KEY_SPARSITY] = REAL("sparsity", sparsity, 0, 1, "0.9", "share of blocks", "blocks that are NOT read", AXIS),
    [LANE_KEY_BLOCK_SIZE] = INT("block_size", block_size, 1, 4096, "16", "tokens", "tokens of a block", AXIS),
    [LANE_KEY_LOCAL_BLOCKS] = INT("local_blocks", local_blocks, 0, 65536, "1", "blocks", "the last ones, always read", AXIS),
    [LANE_KEY_MIN_BLOCKS] = INT("min_blocks", min_blocks, 0, 65536, "16", "blocks", "read at least, where there are so many", AXIS),
    [LANE_KEY_INTERVAL] = INT("interval", interval, 1, MAX_STEPS, "never", "steps", "between two dense rectifications",
        AXIS, WORD("never", 0)),
    [LANE_KEY_DENSE_LAYERS] = INT("dense_layers", dense_layers, 0, 4096, "0", "layers", "the first ones, that read everything", AXIS),
    [LANE_KEY_PHASE] = INT("phase", phase, 0, MAX_STEPS - 1, "0", "steps",
        "rectified after step s where (s + 1 + phase) mod interval = 0", AXIS),
    [LANE_KEY_DENSE_UNTIL] = INT("dense_until", dense_until, 0, MAX_STEPS, "0", "steps", "before this step the lane is the dense one", AXIS),
    [LANE_KEY_CACHE_OF] = TEXT("cache_of", cache_of, 127, "own",
        "`own`, or whose cache a probe reads: `dense`, a family (one probe for each of its lanes) or a lane's full name", AXIS),
    [LANE_KEY_EQUAL_BYTES] = INT("equal_bytes", equal_bytes, 0, MAX_STEPS, "0", "steps",
        "f: reads 1/f more, the bytes that rectifying every f steps would move; 0: not", AXIS),
    [LANE_KEY_PERTURB] = REAL("perturb", perturb, 0, 16, "0", "relative", "size of Gaussian noise put on each K and V that a step writes", AXIS),
    [LANE_KEY_ZIP] = NODE("zip", "", "pairs lists of equal length: `[[sparsity, interval]]`"),
    [LANE_KEY_INCLUDE] = NODE("include", "", "adds lanes: `[{sparsity: 0.5, interval: 8}]`"),
    [LANE_KEY_EXCLUDE] = NODE("exclude", "", "drops lanes that match every key: `[{sparsity: 0.95, interval: [16, 32]}]`"),
};
SECTION(schema_lane, "a family of lanes", "lanes[]", lane_rows);
#undef RECORD

#define RECORD synthetic_spec
static const struct schema_field synthetic_rows[] = {
    CHOICE("family", family, family_names, "llama", "the kind of transformer",),
    INT("layers", layers, 1, 1024, "2", "layers", "",),
    INT("hidden", hidden, 2, 65536, "64", "elements", "of the residual stream",),
    INT("heads", heads, 1, 1024, "4", "heads", "query heads",),
    INT("kv_heads", kv_heads, 1, 1024, "2", "heads", "KV heads; divide `heads`",),
    INT("head_dim", head_dim, 2, 1024, "auto", "elements", "of a head, even; `auto`: hidden / heads", WORD("auto", 0)),
    INT("ffn", ffn, 1, 1 << 20, "auto", "elements", "of the feed-forward layer; `auto`: 4 hidden / 3, rounded up to 64", WORD("auto", 0)),
    INT("vocab", vocab, 2, 1 << 20, "512", "tokens", "",),
    INT("context", context, 1, MAX_TOKENS, "8192", "tokens", "the longest sequence",),
    SEED("seed", seed, "1", "of the weights",),
};
SECTION(schema_synthetic, "a synthetic model", "model.synthetic", synthetic_rows);

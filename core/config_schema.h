/* core/config_schema.h: the tables of every section of a config.  To add a key, add its row. */
#ifndef CORE_CONFIG_SCHEMA_H
#define CORE_CONFIG_SCHEMA_H

#include "core/schema.h"

enum root_key {
    ROOT_NAME, ROOT_EXPERIMENT, ROOT_MODEL, ROOT_DEVICE, ROOT_PROMPT, ROOT_DECODE, ROOT_LANES, ROOT_TRACE, ROOT_SEEDS, ROOT_BATCH,
    ROOT_ALLOW_EQUAL, ROOT_REPLAY, ROOT_ZIP, ROOT_INCLUDE, ROOT_EXCLUDE, N_ROOT
};
enum prompt_key {
    PROMPT_KEY_FILE, PROMPT_KEY_TEXT, PROMPT_KEY_CHAT, PROMPT_KEY_IDS, PROMPT_KEY_RANDOM, PROMPT_KEY_TOKENS,
    PROMPT_KEY_START, PROMPT_KEY_WINDOWS, N_PROMPT
};
enum decode_key { DECODE_TOKENS, DECODE_FOLLOW, DECODE_TEMPERATURE, DECODE_TOP_P, DECODE_STOP, N_DECODE };
enum lane_key {
    LANE_KEY_NAME, LANE_KEY_SELECTOR, LANE_KEY_SPARSITY, LANE_KEY_BLOCK_SIZE, LANE_KEY_LOCAL_BLOCKS,
    LANE_KEY_MIN_BLOCKS, LANE_KEY_INTERVAL, LANE_KEY_DENSE_LAYERS, LANE_KEY_PHASE, LANE_KEY_DENSE_UNTIL,
    LANE_KEY_CACHE_OF, LANE_KEY_EQUAL_BYTES, LANE_KEY_PERTURB, LANE_KEY_ZIP, LANE_KEY_INCLUDE, LANE_KEY_EXCLUDE, N_LANE_KEYS
};
enum trace_key { TRACE_KEY_METRICS, TRACE_KEY_EVERY, N_TRACE };
enum { N_SYNTHETIC = 10, N_CHAT = 2, N_MESSAGE = 2 };

/* Record of each: root struct config; prompt struct config_prompt for windows, else struct config_point; decode and
 * seeds struct config_point; lane struct config_lane; trace struct config; synthetic struct synthetic_spec; chat
 * struct config_prompt; message struct config_message. */
extern const struct schema schema_root, schema_prompt, schema_decode, schema_lane, schema_trace, schema_synthetic,
    schema_chat, schema_message;

#endif

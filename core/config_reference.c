#include "core/config.h"
#include "core/config_schema.h"
#include "core/err.h"

static const char intro[] =
    "# Configs\n"
    "\n"
    "A file here is an experiment: `build/resa plan FILE` says what it would do, `./run.sh FILE` does it. This page "
    "is\n"
    "printed by `build/resa help config` from the tables that the program checks configs with.\n"
    "\n"
    "A key is changed on the command line by its dotted name, a family of lanes by its own:\n"
    "`./run.sh configs/quickstart.yaml decode.tokens=128 'lanes.resa.interval=[8,64]'`. Paths are relative to the "
    "config file.\n"
    "\n"
    "A *list* under a key marked `axis` is an axis: lists multiply. In a family of lanes, and at the top level for "
    "runs\n"
    "(with dotted keys), `zip` then pairs lists of equal length, `include` adds points and `exclude` drops points, in "
    "this\n"
    "order. A point of `include` takes what it does not name from the family, where that has a single value for it.\n"
    "Runs = prompt source x window or start x tokens x the axes of `decode` x seed. Lanes = each family's product.\n"
    "\n"
    "A lane is named `family/s0.9-b16-f32`: sparsity, block size, interval (`fnever`, `f1` ..), then what is not at "
    "its default:\n"
    "`l` local_blocks, `m` min_blocks, `d` dense_layers, `p` phase, `u` dense_until, `e` equal_bytes, `n` perturb, the "
    "selector (but\n"
    "`replay`: such a lane has the name of the one that it replays). A probe's name ends in `@` and its owner's. A run is named `SOURCE-pTOKENS-oSTART[-sSEED]-HASH`.\n"
    "\n"
    "Lanes that would do the same at every step of a run are refused (`allow_equal: true`: a warning), and so are a "
    "lane of\n"
    "sparsity above 0 that would read everything, and two texts of the same tokens. Numbers are YAML 1.2's: `1e-3` is a number, `012`, `yes` and `no` "
    "are refused.\n"
    "\n"
    "`device: cuda-int4` quantises the checkpoint while it is loaded: the weights of an output, 128 after 128 (the last group may be shorter), become\n"
    "whole numbers from -7 to 7, rounded to nearest, times one fp16 scale, a seventh of the greatest of them; nothing is calibrated. So it is in\n"
    "the products of layers; embedding, output matrix, activations, K and V are fp16. This is another model than the checkpoint's: a lane is compared\n"
    "with the dense lane of the same numbers. `resa plan`, the trace's attribute `numbers` and `resa info` of a trace say what was computed in.\n";

static const char *const about[] = { "Top level",    "Prompt: one of `file`, `text`, `chat`, `ids`, `random`",
                                     "Conversation", "Message",
                                     "Decoding",     "A family of lanes",
                                     "Trace",        "Synthetic model: random weights of any shape" };

int config_print_reference(FILE *out)
{
    const struct schema *const sections[] = { &schema_root,   &schema_prompt, &schema_chat,  &schema_message,
                                              &schema_decode, &schema_lane,   &schema_trace, &schema_synthetic };
    fputs(intro, out);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        fprintf(out, "\n## %s\n", about[i]);
        if (sections[i]->path[0]) fprintf(out, "`%s`\n", sections[i]->path);
        fprintf(out, "\n");
        schema_document(sections[i], out);
    }
    return ferror(out) ? fail("the reference of the config cannot be written") : 0;
}

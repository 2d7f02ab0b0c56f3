/* `key=value` of the command line: what it changes, what is refused, and that errors are shown at it. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/config_base.h"

#define FAMILIES BASE "lanes:\n  - {name: a, sparsity: 0.5}\n  - {name: a.b, sparsity: 0.6}\n"

static void test_overrides(void **unused)
{
    (void)unused;
    open_good(FAMILIES, "lanes.a.interval=[16,32]");
    assert_int_equal(config.n_lanes, 3);
    assert_true(config.lanes[1].interval == 32 && config.lanes[2].interval == 0);
    open_good(FAMILIES, "lanes.a.b.interval=4"); /* the longest name that fits */
    assert_true(config.lanes[0].interval == 0 && config.lanes[1].interval == 4);
    open_good(FAMILIES, "decode.tokens=9"); /* a section that was not there */
    assert_int_equal(config.points[0].decode_tokens, 9);
    open_good(FAMILIES, "model={synthetic: {layers: 5}}");
    assert_int_equal(config.synthetic.layers, 5);
    open_good(FAMILIES, "model.synthetic.layers=6");
    assert_int_equal(config.synthetic.layers, 6);
    open_good(FAMILIES, "lanes=[]");
    assert_int_equal(config.n_lanes, 0);
    open_good(FAMILIES, "prompt={text: 'a=b', tokens: 1}"); /* the first '=' ends the key */
    assert_string_equal(config.prompt.texts[0], "a=b");
}

static void test_bad_overrides(void **unused)
{
    (void)unused;
    check_refused(FAMILIES, "decode.tokens=abc",
                  "command line: decode.tokens: error: decode.tokens: 'abc' is no whole number (1 .. 1048576 steps)\n"
                  "  decode.tokens=abc\n"
                  "                ^\n");
    check_refused(FAMILIES, "lanes.resa.interval=4", "no family of lanes is called 'resa' (families: a, a.b)");
    check_refused(FAMILIES, "lanes.A.interval=4", "did you mean 'a'?");
    check_refused(FAMILIES, "lanes.a=4", "'a' is a family of lanes: lanes.a.KEY=VALUE sets one of its keys");
    check_refused(FAMILIES, "lanes.a.intervl=4",
                  "command line: lanes.a.intervl: error: unknown key 'lanes.a.intervl' in a family of lanes; did you "
                  "mean 'interval'? (");
    check_refused(FAMILIES, "lanes.a.intervl=4",
                  "\n  lanes.a.intervl=4\n"
                  "          ^\n");
    check_refused(FAMILIES, "tokens=4", "unknown key 'tokens'");
    check_refused(FAMILIES, "decode..tokens=4", "an empty word in the key");
    check_refused(FAMILIES, ".x=4", "an empty word in the key");
    check_refused(FAMILIES, "decode.tokens=", "no value after '='");
    check_refused(FAMILIES, "decode.tokens", "has the form key=value");
    check_refused(FAMILIES, "=4", "has the form key=value");
    check_refused(FAMILIES, "name.x=4", "'name' is a value in the config: it has no keys to set");
    check_refused(FAMILIES, "lanes.a.interval=[1,2", "command line: lanes.a.interval: error: did not find expected");
    check_refused(FAMILIES, "lanes.a.interval=[*x]", "no anchor &x");
    check_refused(FAMILIES, "seeds=[1, 1]", "  seeds=[1, 1]\n            ^\n");
    check_refused("[a]\n", "a=1", "is no map");
}

static void test_overrides_together(void **unused)
{
    (void)unused;
    char *both[] = { (char[]){ "decode.tokens=3" }, (char[]){ "decode.tokens=4" } };
    temp_write("x.yaml", BASE, strlen(BASE));
    config_close(&config);
    assert_int_equal(config_open(&config, temp_path("x.yaml"), 2, both), 0);
    assert_int_equal(config.points[0].decode_tokens, 4); /* the last one holds */
    char *bad[] = { (char[]){ "decode.tokns=3" }, (char[]){ "nme=4" } };
    config_close(&config);
    assert_int_equal(config_open(&config, temp_path("x.yaml"), 2, bad), -1);
    assert_int_equal(config_n_errors(&config), 2);
}

/* Keys that do not go together are shown where the command line gives one of them, whichever the file has. */
static void test_places(void **unused)
{
    (void)unused;
    static const struct {
        const char *rest, *override, *part;
    } cases[] = {
        { "", "decode.stop=eos", "command line: decode.stop: error: decode.stop: eos has no meaning" },
        { "decode: {follow: self, stop: eos}\n", "decode.follow=text",
          "command line: decode.follow: error: decode.stop" },
        { "decode: {stop: eos}\n", NULL, "x.yaml:4:16: error: decode.stop: eos has no meaning" },
        { "", "prompt.text=a", "command line: prompt.text: error: prompt: only one of" },
        { "", "model.synthetic.heads=3", "command line: model.synthetic.heads: error: model.synthetic: heads: 3" },
        { "", "model.synthetic.hidden=12",
          "command line: model.synthetic.hidden: error: model.synthetic: head_dim: 3" },
        { "lanes: [{name: a, interval: 8}]\n", "lanes.a.cache_of=dense",
          "command line: lanes.a.cache_of: error: lanes.a.interval: a probe" },
        { "lanes: [{name: a, cache_of: dense}]\n", "lanes.a.interval=8",
          "command line: lanes.a.interval: error: lanes.a.interval: a probe" },
        { "lanes: [{name: a, equal_bytes: 8}]\n", "lanes.a.interval=8",
          "command line: lanes.a.interval: error: lanes.a.equal_bytes: stands" },
        { "lanes: [{name: a, phase: 3, interval: 4}]\n", "lanes.a.interval=2",
          "command line: lanes.a.interval: error: lanes.a.phase: must be less" },
        { "", "seeds=[1,2]", "command line: seeds: error: seeds: with follow: text" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        snprintf(text, sizeof text, BASE "%s", cases[i].rest);
        check_refused(text, cases[i].override, cases[i].part);
    }
    check_refused("name: t\nmodel: {synthetic: {}}\nprompt: {random: 1, tokens: 8, start: 9}\n", "prompt.windows=2",
                  "command line: prompt.windows: error: prompt: start and windows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_bad_overrides),
        cmocka_unit_test(test_overrides_together),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, close_config);
}

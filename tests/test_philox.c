/* Philox against the known answers that its authors publish (Random123, tests/kat_vectors), and the conversions to
 * uniform numbers at their ends. */
#include "core/philox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_known_answers(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t got[4];
        philox4x32(cases[i].counter, cases[i].key, got);
        assert_memory_equal(got, cases[i].want, sizeof got);
    }
}

static void test_uniform(void **unused)
{
    (void)unused;
    assert_true(philox_uniform(0, 0) == 0);
    assert_true(philox_uniform(0xffffffff, 0xffffffff) == 1 - 0x1p-53);
    assert_true(philox_uniform(0x20, 0) == 0x1p-27 && philox_uniform(0, 0x40) == 0x1p-53);
    assert_true(philox_uniform_f32(0xff) == 0 && philox_uniform_f32(0xffffffff) == 1 - 0x1p-24f);
    assert_true(philox_signed_f32(0) == -1 && philox_signed_f32(0x80000000) == 0);
    assert_true(philox_signed_f32(0xffffffff) == 1 - 0x1p-23f && philox_signed_f32(0x100) == -1 + 0x1p-23f);
}

static void test_key(void **unused)
{
    (void)unused;
    uint32_t key[2];
    philox_key(0x0123456789abcdefu, key);
    assert_int_equal(key[0], 0x89abcdef);
    assert_int_equal(key[1], 0x01234567);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

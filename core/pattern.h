/* core/pattern.h: regular expressions of a tokenizer.json, written for Oniguruma, in the syntax of PCRE2.
 *
 * Both agree on what tokenizers use, but for a few things.  \s is spelled out, since PCRE2 counts U+180E as a space.
 * What means something else to the two (sets within sets, \h, \w, (?i) without a colon, {n}+ ..) is refused, so that no
 * pattern quietly cuts differently.
 *
 * Left as a difference: characters that Unicode has assigned since the tables of this PCRE2 (10.42: Unicode 14) are to it
 * neither letter nor number.                                                                                          */
#ifndef CORE_PATTERN_H
#define CORE_PATTERN_H

#include <stdbool.h>

/* *pcre2: the translation, owned by the caller (mem_free()); NULL after a failure. */
int pattern_translate(const char *pattern, char **pcre2);

/* *code: a compiled pcre2_code, owned by the caller (pattern_close()).  literal: the pattern is a plain string. */
int pattern_open(void **code, const char *pattern, bool literal);
void pattern_close(void *code); /* accepts NULL */

#endif

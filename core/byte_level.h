/* core/byte_level.h: the byte alphabet of byte-level vocabularies, and the UTF-8 stretches of a text.
 *
 * Vocabulary files write each byte as one printable character: bytes 21-7E, A1-AC and AE-FF as the code point of
 * the same number, the other 68 in increasing order as U+0100 onwards (space is U+0120, newline U+010A).
 * After GPT-2's bytes_to_unicode (openai/gpt-2, src/encoder.py).                                                      */
#ifndef CORE_BYTE_LEVEL_H
#define CORE_BYTE_LEVEL_H

#include "core/str_view.h"

#include <stdbool.h>
#include <stddef.h>

/* Writes the bytes that token stands for to out (room for token.n) and their number to *n; false if the token has a
 * character that is not of the alphabet. */
bool byte_level_decode(struct str_view token, char *out, size_t *n);

/* The end of the stretch that begins at text.at[from], from < text.n: the longest one that is UTF-8 (RFC 3629: shortest
 * forms, no surrogates, at most U+10FFFF; *valid is true), or the run of bytes that belong to no character. */
size_t byte_level_stretch(struct str_view text, size_t from, bool *valid);

#endif

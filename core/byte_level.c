#include "core/byte_level.h"

#include <stdint.h>

/* The length of the UTF-8 character at s, n > 0 bytes at hand; 0 if there is none. */
static size_t char_length(const unsigned char *s, size_t n)
{
    const unsigned c = s[0];
    if (c < 0x80) return 1;
    const size_t length = c >= 0xC2 && c <= 0xDF ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c <= 0xF4 ? 4 : 0;
    if (length == 0 || length > n) return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xF0 && s[1] < 0x90)) return 0; /* longer than needed */
    if ((c == 0xED && s[1] > 0x9F) || (c == 0xF4 && s[1] > 0x8F)) return 0; /* a surrogate, or too large */
    return length;
}

static bool is_itself(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* The byte whose character is code; -1 if none is. */
static int byte_of(unsigned code)
{
    if (code < 0x100) return is_itself(code) ? (int)code : -1;
    unsigned rest = code - 0x100; /* the rest-th byte that is not itself: 00-20, 7F-A0, AD */
    if (rest <= 0x20) return (int)rest;
    rest -= 0x21;
    if (rest <= 0xA0 - 0x7F) return (int)(0x7F + rest);
    return rest == 0xA0 - 0x7F + 1 ? 0xAD : -1;
}

bool byte_level_decode(struct str_view token, char *out, size_t *n)
{
    const unsigned char *s = (const unsigned char *)token.at;
    *n = 0;
    for (size_t i = 0; i < token.n;) {
        const size_t length = char_length(s + i, token.n - i);
        if (length != 1 && length != 2) return false; /* the alphabet ends at U+0143 */
        const unsigned code = length == 1 ? s[i] : (s[i] & 0x1Fu) << 6 | (s[i + 1] & 0x3Fu);
        const int byte = byte_of(code);
        if (byte < 0) return false;
        out[(*n)++] = (char)byte;
        i += length;
    }
    return true;
}

size_t byte_level_stretch(struct str_view text, size_t from, bool *valid)
{
    const unsigned char *s = (const unsigned char *)text.at;
    size_t at = from;
    *valid = char_length(s + at, text.n - at) != 0;
    while (at < text.n) {
        const size_t length = char_length(s + at, text.n - at);
        if ((length != 0) != *valid) break;
        at += length ? length : 1;
    }
    return at;
}

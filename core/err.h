/* core/err.h: the one way to fail.
 *
 * A function that can fail returns 0, or -1 after fail("...").  Each level adds where it was with
 * fail_in() or TRY(); only main prints the text and picks the exit status.  A message names the
 * file, the key, the value and the limit.  The text is kept per thread.                        */
#ifndef CORE_ERR_H
#define CORE_ERR_H

enum exit_status { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));    /* sets the text, returns -1 */
int fail_in(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "fmt: " + text, returns -1 */
const char *fail_text(void);                                             /* never NULL; "" before any failure */

#define TRY(call, ...)                                                                             \
    do {                                                                                           \
        if ((call) != 0) return fail_in(__VA_ARGS__);                                              \
    } while (0)

#endif

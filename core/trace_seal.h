/* core/trace_seal.h: the last 48 bytes of a trace, by which damage is noticed before the file is trusted.
 *
 *     16 bytes  "resa-seal-sha256"
 *     32 bytes  SHA-256 of all bytes before the seal
 *
 * HDF5 readers do not look behind the end of their data, so the seal is in nobody's way; but HDF5 itself follows some
 * damaged references without looking, so that a flipped bit can end the program that opens the file.  A program that
 * changes the file drops the seal: a trace without one is taken as it is.                                       */
#ifndef CORE_TRACE_SEAL_H
#define CORE_TRACE_SEAL_H

enum { TRACE_SEAL_BYTES = 48 };

int trace_seal_write(const char *path); /* appends it to a file that has none */
int trace_seal_check(const char *path); /* fails where the file differs from what was sealed, or cannot be read */

#endif

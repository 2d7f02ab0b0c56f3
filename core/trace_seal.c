#include "core/trace_seal.h"

#include "core/err.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char mark[TRACE_SEAL_BYTES - SHA256_DIGEST_SIZE] = "resa-seal-sha256"; /* 16 letters, no terminator */

/* The seal that the first n bytes of an open file should have; leaves the file behind them. */
static int seal_compute(FILE *f, const char *path, long long n, uint8_t *seal)
{
    static _Thread_local uint8_t buffer[1 << 16];
    struct sha256_ctx sha;
    sha256_init(&sha);
    while (n > 0) {
        const size_t want = n < (long long)sizeof buffer ? (size_t)n : sizeof buffer;
        const size_t got = fread(buffer, 1, want, f);
        if (got == 0) return fail("%s: cannot be read: %s", path, ferror(f) ? strerror(errno) : "it ends early");
        sha256_update(&sha, got, buffer);
        n -= (long long)got;
    }
    memcpy(seal, mark, sizeof mark);
    sha256_digest(&sha, SHA256_DIGEST_SIZE, seal + sizeof mark);
    return 0;
}

static int file_size(FILE *f, const char *path, long long *n)
{
    struct stat st;
    if (fstat(fileno(f), &st) != 0) return fail("%s: %s", path, strerror(errno));
    *n = st.st_size;
    return 0;
}

static int seal_append(FILE *f, const char *path)
{
    uint8_t seal[TRACE_SEAL_BYTES];
    long long n = 0;
    if (file_size(f, path, &n) != 0 || seal_compute(f, path, n, seal) != 0) return -1;
    /* Between reading and writing a stream wants a seek. */
    if (fseek(f, 0, SEEK_END) != 0 || fwrite(seal, 1, sizeof seal, f) != sizeof seal || fflush(f) != 0)
        return fail("%s: cannot write: %s", path, strerror(errno));
    return 0;
}

int trace_seal_write(const char *path)
{
    FILE *f = fopen(path, "r+be");
    if (!f) return fail("%s: cannot open: %s", path, strerror(errno));
    int rc = seal_append(f, path);
    if (fclose(f) != 0 && rc == 0) rc = fail("%s: cannot write: %s", path, strerror(errno));
    return rc;
}

static int seal_compare(FILE *f, const char *path)
{
    uint8_t there[TRACE_SEAL_BYTES], wanted[TRACE_SEAL_BYTES];
    long long n = 0;
    if (file_size(f, path, &n) != 0) return -1;
    if (n < TRACE_SEAL_BYTES) return 0;
    if (fseek(f, -(long)TRACE_SEAL_BYTES, SEEK_END) != 0 || fread(there, 1, sizeof there, f) != sizeof there)
        return fail("%s: cannot be read: %s", path, strerror(errno));
    if (memcmp(there, mark, sizeof mark) != 0) return 0;
    rewind(f);
    if (seal_compute(f, path, n - TRACE_SEAL_BYTES, wanted) != 0) return -1;
    return memcmp(there, wanted, sizeof wanted) == 0 ? 0 : fail("%s: damaged: it is not what was written (SHA-256)", path);
}

int trace_seal_check(const char *path)
{
    FILE *f = fopen(path, "rbe");
    if (!f) return fail("%s: cannot open: %s", path, strerror(errno));
    const int rc = seal_compare(f, path);
    fclose(f);
    return rc;
}

/* tests/fake_tool.h: a program of our own in the temporary folder, found before the machine's, that does as the file `mode` says and notes
 * its arguments in `asked`; and an empty cache for each test. */
#ifndef TESTS_FAKE_TOOL_H
#define TESTS_FAKE_TOOL_H

#include "tests/temp_folder.h"

#include <string.h>

/* script: of n_bytes.  0, or -1. */
static inline int fake_tool(const char *name, const char *script, size_t n_bytes)
{
    char path[PATH_MAX * 2];
    temp_write(name, script, n_bytes);
    if (chmod(temp_path(name), 0755) != 0) return -1;
    snprintf(path, sizeof path, "%s:%s", temp_folder, getenv("PATH"));
    return setenv("PATH", path, 1);
}

static inline void fake_mode(const char *mode)
{
    temp_write("mode", mode, strlen(mode));
}

/* Before each test: an empty cache, a sound tool, nothing asked of it. */
static inline void fake_begin(void)
{
    static int number;
    char name[32];
    snprintf(name, sizeof name, "cache%d", number++);
    setenv("XDG_CACHE_HOME", temp_path(name), 1);
    fake_mode("sound");
    temp_write("asked", "", 0);
}

#endif

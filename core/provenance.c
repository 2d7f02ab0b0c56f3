#include "core/provenance.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/version.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <gsl/gsl_version.h>
#include <hdf5.h>
#include <jansson.h>
#include <nettle/version.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>
#include <yaml.h>
#include <zip.h>

/* Set by the Makefile for this file alone, so that a new commit rebuilds one object. */
#ifndef RESA_COMMIT
#define RESA_COMMIT "unknown"
#endif
#ifndef RESA_FLAGS
#define RESA_FLAGS ""
#endif

#if defined(__clang__)
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

static const char dirty_mark[] = "-dirty";

void provenance_now(char *text, size_t n_bytes)
{
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    if (strftime(text, n_bytes, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0 && n_bytes > 0) text[0] = '\0';
}

/* The value after "key ... :" in a file of such lines; out stays as it is where there is none. */
static void proc_value(const char *path, const char *key, char *out, size_t n_bytes)
{
    char line[512];
    FILE *f = fopen(path, "re");
    if (!f) return;
    while (fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, key, strlen(key)) != 0) continue;
        const char *value = colon + 1 + strspn(colon + 1, " \t");
        snprintf(out, n_bytes, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    fclose(f);
}

static void libraries_list(char *text, size_t n_bytes)
{
    unsigned major = 0, minor = 0, release = 0;
    char pcre2[32] = "";
    H5get_libversion(&major, &minor, &release);
    pcre2_config(PCRE2_CONFIG_VERSION, pcre2); /* "10.42 2022-12-11": at most 24 bytes */
    pcre2[strcspn(pcre2, " ")] = '\0';
    snprintf(text, n_bytes, "HDF5 %u.%u.%u, libyaml %s, GSL %s, PCRE2 %s, jansson %s, utf8proc %s, nettle %d.%d, libzip %s",
             major, minor, release, yaml_get_version_string(), gsl_version, pcre2, jansson_version_str(), utf8proc_version(),
             nettle_version_major(), nettle_version_minor(), zip_libzip_version());
}

/* Words joined by spaces; one with any byte that a shell might read otherwise stands in single quotes. */
static int command_quote(char **command, int argc, char *const *argv)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
    size_t n = 1;
    for (int i = 0; i < argc; i++) n += 4 * strlen(argv[i]) + 3;
    TRY(MEM_NEW(command, n, "command line"), "provenance");
    char *at = *command;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        const bool quoted = word[0] == '\0' || word[strspn(word, plain)] != '\0';
        if (i) *at++ = ' ';
        if (quoted) *at++ = '\'';
        for (; *word; word++) {
            if (*word == '\'') at = stpcpy(at, "'\\''");
            else *at++ = *word;
        }
        if (quoted) *at++ = '\'';
    }
    return 0;
}

int provenance_open(struct provenance *p, int argc, char *const *argv)
{
    static char commit[sizeof RESA_COMMIT];
    *p = (struct provenance){ .version = VERSION, .commit = commit, .compiler = COMPILER, .flags = RESA_FLAGS };
    memcpy(commit, RESA_COMMIT, sizeof commit);
    const size_t n = strlen(commit), n_mark = strlen(dirty_mark);
    p->dirty = n > n_mark && strcmp(commit + n - n_mark, dirty_mark) == 0;
    if (p->dirty) commit[n - n_mark] = '\0';
    libraries_list(p->libraries, sizeof p->libraries);
    snprintf(p->cpu, sizeof p->cpu, "unknown");
    proc_value("/proc/cpuinfo", "model name", p->cpu, sizeof p->cpu);
    if (gethostname(p->host, sizeof p->host - 1) != 0) snprintf(p->host, sizeof p->host, "unknown");
    provenance_start(p);
    return command_quote(&p->command, argc, argv);
}

void provenance_close(struct provenance *p)
{
    mem_free(p->command);
    *p = (struct provenance){ 0 };
}

void provenance_start(struct provenance *p)
{
    provenance_now(p->start_time, sizeof p->start_time);
    p->end_time[0] = '\0';
}

void provenance_stop(struct provenance *p)
{
    char text[64] = "0"; /* "123456 kB" */
    unsigned long long kib = 0;
    provenance_now(p->end_time, sizeof p->end_time);
    /* Not getrusage: its figure is inherited through exec, and would be the parent's. */
    proc_value("/proc/self/status", "VmHWM", text, sizeof text);
    if (sscanf(text, "%llu", &kib) == 1) p->peak_bytes = (uint64_t)kib * 1024;
}

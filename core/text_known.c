#include "core/text_known.h"

#include "core/digest.h"
#include "core/user_cache.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* Chosen for their difference: a novel, a dictionary, rules, a licence, an essay, a chronicle, code, a course.  Each has more
 * than 3,000 tokens (long-*: 12,000) and does not repeat itself: at most 6 % of an excerpt's 4-grams of words stood in it before. */
const struct text_package text_packages[] = {
    { "anarchism", "anarchism", "15.3-3", "/usr/share/doc/anarchism/markdown/secB1.md.gz", 3701, 23956,
      "602d8df85255b4f1c8acb80f2d0e21fad0061bd0dd16cb453043c6df85604638",
      "a political essay: An Anarchist FAQ, section B.1, in Markdown", "GPL-2+ or GFDL" },
    { "cplusplus", "c++-annotations-txt", "12.2.0-2", "/usr/share/doc/c++-annotations/cplusplus.txt.gz", 400014, 23984,
      "15c276e66919674dc6cc39c05660f161660e3464566e8b097c8112bae5737ca7",
      "a course: the C++ Annotations of F. B. Brokken, prose and code in turn", "GPL-2+" },
    { "gpl-3", "base-files", "12.4+deb12u15", "/usr/share/common-licenses/GPL-3", 3627, 23984,
      "45073ac20d515d7f8dd9d6a48903868ff450d7eaca061cb1088ed2a5938f40c0",
      "a licence: the terms and conditions of the GNU General Public License, version 3", "verbatim copies only" },
    { "history", "debian-history", "2.28", "/usr/share/doc/debian-history/docs/project-history.en.txt.gz", 8127, 23947,
      "71af8f33a8f1c721c43e61873976705d3b4492216dce6ba7388ac76c92135695", "a chronicle: A Brief History of Debian",
      "GPL-2+" },
    { "jargon", "jargon-text", "4.4.7-4.1", "/usr/share/doc/jargon-text/jargon.txt.gz", 420824, 23929,
      "7cec16977f04ac353f17f255b904b8d5124de625499149976da6ed1ca6dbe11c", "a dictionary: the Jargon File, from `chomper` on",
      "public domain" },
    { "jquery", "libjs-jquery", "3.6.1+dfsg+~3.5.14-1", "/usr/share/javascript/jquery/jquery.js", 90100, 23938,
      "cedd960a06715493d03614171a7b1881dabf68c47f433eb2f7c1d8dbf5e02826", "code: JavaScript with its comments", "MIT (Expat)" },
    { "long-jargon", "jargon-text", "4.4.7-4.1", "/usr/share/doc/jargon-text/jargon.txt.gz", 450070, 63965,
      "7b478d3b53a525370bbec4adaad6528317d06d53e58aaf5f7a447c0caa21cf43", "a dictionary: a longer part of the Jargon File",
      "public domain" },
    { "long-policy", "debian-policy", "4.6.2.0", "/usr/share/doc/debian-policy/policy.txt.gz", 90067, 63957,
      "baa0f027294937006d2bda9abe8fc381526d049015b80573ecd4c087fea0afd8", "rules: a longer part of the Debian Policy Manual", "GPL-2+" },
    { "policy", "debian-policy", "4.6.2.0", "/usr/share/doc/debian-policy/policy.txt.gz", 60078, 23949,
      "040ea524df8a2ccf6c5f6eac018ecf87b79946352e58f26f7867e8df182f8df4", "rules: the Debian Policy Manual", "GPL-2+" },
    { "sawyer", "golang-github-golang-snappy-dev", "0.0.2-3",
      "/usr/share/gocode/src/github.com/golang/snappy/testdata/Mark.Twain-Tom.Sawyer.txt", 298, 13870,
      "4c8ad6bb683f6305e297715d3588555abc39026d8ea14270549b72db5ad0424d",
      "a novel: The Adventures of Tom Sawyer by Mark Twain, from the preface on", "public domain" },
    { 0 },
};

const char *text_known_pattern(const char *given)
{
    const size_t n = strlen(TEXT_PREFIX);
    return strncmp(given, TEXT_PREFIX, n) == 0 ? given + n : NULL;
}

const char *text_known_names(void)
{
    static _Thread_local char names[512];
    int n = 0;
    for (const struct text_package *t = text_packages; t->name; t++)
        n += snprintf(names + n, sizeof names - (size_t)n, "%s%s", n ? ", " : "", t->name);
    return names;
}

static bool is_long(const char *name)
{
    return strncmp(name, "long-", 5) == 0;
}

const struct text_package *text_known_next(const char *pattern, const struct text_package *after)
{
    const bool wants_long = is_long(pattern);
    for (const struct text_package *t = after ? after + 1 : text_packages; t->name; t++)
        if (fnmatch(pattern, t->name, 0) == 0 && is_long(t->name) == wants_long) return t;
    return NULL;
}

int text_known_path(const struct text_package *t, char *path, size_t n_bytes)
{
    char file[128];
    snprintf(file, sizeof file, "texts/%s.txt", t->name);
    return user_cache_path(file, path, n_bytes);
}

bool text_known_is(const struct text_package *t, const void *bytes, size_t n_bytes)
{
    char hex[DIGEST_CHARS + 1];
    if (n_bytes != (size_t)t->n_bytes) return false;
    digest_bytes(bytes, n_bytes, hex);
    return strcmp(hex, t->digest) == 0;
}

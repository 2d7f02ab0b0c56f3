#include "analysis/legend.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NUMBERS = 256, MAX_LISTED = 4 };

/* The different intervals of a role's lanes, rising. */
static int numbers_of(const struct study *s, const struct corner *const *list, int n, enum corner_role role,
                      int numbers[MAX_NUMBERS])
{
    int n_numbers = 0;
    for (int i = 0; i < n; i++) {
        if (list[i]->role != role || n_numbers == MAX_NUMBERS) continue;
        const struct lane_spec *l = &s->lanes[list[i]->lane];
        const int x = role == CORNER_EQUAL ? l->equal_bytes : l->interval;
        int at = n_numbers;
        while (at > 0 && numbers[at - 1] >= x) at--;
        if (at < n_numbers && numbers[at] == x) continue;
        memmove(numbers + at + 1, numbers + at, (size_t)(n_numbers - at) * sizeof *numbers);
        numbers[at] = x;
        n_numbers++;
    }
    return n_numbers;
}

/* "f16, f32 or f128" with before "f"; of more than MAX_LISTED the first and the last: "f4 to f256". */
static const char *numbers_print(char *text, size_t n_bytes, const char *before, const int *numbers, int n,
                                 const char *last)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < n && used<n_bytes; i += n> MAX_LISTED ? n - 1 : 1)
        used += (size_t)snprintf(text + used, n_bytes - used, "%s%s%d",
                                 i == 0           ? ""
                                 : n > MAX_LISTED ? " to "
                                 : i == n - 1     ? last
                                                  : ", ",
                                 before, numbers[i]);
    return text;
}

static bool role_is_there(const struct corner *const *list, int n, enum corner_role role)
{
    for (int i = 0; i < n; i++)
        if (list[i]->role == role) return true;
    return false;
}

static bool phase_is_there(const struct study *s, const struct corner *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (s->lanes[list[i]->lane].interval > 0 && s->lanes[list[i]->lane].phase > 0) return true;
    return false;
}

/* What a role's labels mean; "" where it is not there. */
static void role_explain(const struct study *s, const struct corner *const *list, int n, enum corner_role role,
                         char *text, size_t n_bytes)
{
    static const char *const words[] = {
        [CORNER_CLEAN] = "clean: the undisturbed cache, read sparsely (selection alone)",
        [CORNER_RECTIFIED] = NULL,
        [CORNER_NEVER] = "never: not rectified",
        [CORNER_EQUAL] = NULL,
        [CORNER_STALE] = "stale: the cache of never, read densely (the cache alone)",
        [CORNER_CLEAN_OF] = "clean of ..: the undisturbed cache, read as the lane named reads",
        [CORNER_STALE_OF] = "stale of ..: the cache of the lane named, read densely",
    };
    int numbers[MAX_NUMBERS];
    char names[96], steps[96];
    text[0] = '\0';
    if (!role_is_there(list, n, role)) return;
    if (words[role]) {
        snprintf(text, n_bytes, "%s", words[role]);
        return;
    }
    const int n_numbers = numbers_of(s, list, n, role, numbers);
    const bool every = n_numbers == 1 && numbers[0] == 1;
    numbers_print(names, sizeof names, role == CORNER_EQUAL ? "equal " : "f", numbers, n_numbers, ", ");
    numbers_print(steps, sizeof steps, "", numbers, n_numbers, " or ");
    if (role == CORNER_RECTIFIED)
        snprintf(text, n_bytes, "%s: rectified every %s%s%s", names, every ? "step" : steps, every ? "" : " steps",
                 phase_is_there(s, list, n) ? ", phase: so many steps earlier" : "");
    else
        snprintf(text, n_bytes, "%s: not rectified, reading as many bytes more as rectifying every %s%s costs", names,
                 every ? "step" : steps, every ? "" : " steps");
}

const char *legend_print(const struct study *s, const struct corner *const *list, int n, char *text, size_t n_bytes)
{
    char one[320];
    size_t used = 0;
    text[0] = '\0';
    for (int role = CORNER_CLEAN; role <= CORNER_STALE_OF; role++) {
        role_explain(s, list, n, (enum corner_role)role, one, sizeof one);
        if (one[0] && used < n_bytes)
            used += (size_t)snprintf(text + used, n_bytes - used, "%s%s", used ? "; " : "", one);
    }
    return text;
}

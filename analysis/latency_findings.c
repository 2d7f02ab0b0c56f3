/* The sentences at the head of a latency report. */
#include "analysis/latency.h"
#include "analysis/latency_peer.h"

#include "core/err.h"

#include <stdio.h>

/* The first of a batch's lane. */
static bool is_first(const struct latency_study *s, int at)
{
    const struct latency_point *p = &s->points[at];
    for (int k = 0; k < at; k++)
        if (s->points[k].batch == p->batch && s->points[k].place == p->place) return false;
    return p->place > 0;
}

/* "1024, 4096": the contexts of a batch's lane at which the verdict is, or is not, that it is faster. */
static const char *contexts_say(const struct latency_study *s, const struct latency_point *p, bool peer, bool faster,
                                char *text, size_t n_bytes)
{
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < s->n_points && at < n_bytes; i++) {
        const struct latency_point *x = &s->points[i];
        const enum latency_verdict verdict = peer ? x->peer_verdict : x->verdict;
        const bool wanted = faster ? verdict == VERDICT_FASTER : verdict == VERDICT_OPEN || verdict == VERDICT_FEW;
        if (x->batch != p->batch || x->place != p->place || !wanted) continue;
        at += (size_t)snprintf(text + at, n_bytes - at, "%s%d", at ? ", " : "", x->context);
    }
    return text;
}

/* Where the strong dense step is the measure: from where on our own dense step is beaten too. */
static void say_own(const struct latency_study *s, const struct latency_point *p, char *text, size_t n_bytes)
{
    char contexts[128];
    const struct latency_course c = latency_course(s, p->batch, p->place, false);
    text[0] = '\0';
    if (s->n_peers == 0 || c.n == 0) return;
    if (c.n_few == c.n)
        snprintf(text, n_bytes, " Against our own dense step there are too few steps for a verdict.");
    else if (c.n_faster + c.n_slower == 0)
        snprintf(text, n_bytes, " It is not distinguishable from our own dense step.");
    else if (c.n_faster == 0)
        snprintf(text, n_bytes, " It is never %sfaster than our own dense step.", c.n_open ? "distinguishably " : "");
    else if (c.cross == 0)
        snprintf(text, n_bytes, " Than our own dense step it is faster at %s, not %sat %d.",
                 contexts_say(s, p, false, true, contexts, sizeof contexts),
                 c.slow == c.below ? "" : "distinguishably ", c.below);
    else if (c.below == 0)
        snprintf(text, n_bytes, " It is faster than our own dense step at each of them too.");
    else
        snprintf(text, n_bytes, " Than our own dense step it is faster from %d tokens on, not %sat %d.", c.cross,
                 c.slow == c.below ? "" : "distinguishably ", c.below);
}

/* No context at which it is faster. */
static int never_add(struct notes *findings, const struct latency_study *s, const struct latency_point *p,
                     const struct latency_course *c, const char *dense)
{
    const bool peer = s->n_peers > 0;
    char contexts[128];
    if (!c->best)
        return notes_add(findings,
                         "Batch %d: %s is not distinguishable from %s at any context up to %d tokens: the 95 %% "
                         "intervals of the medians overlap.",
                         p->batch, p->lane, dense, c->last);
    if (c->n_open == 0)
        return notes_add(
            findings,
            "Batch %d: %s is never faster than %s up to a context of %d tokens (%.2fx at best, at %d): stay dense.",
            p->batch, p->lane, dense, c->last, latency_gain(s, c->best), c->best->context);
    return notes_add(findings,
                     "Batch %d: %s is never distinguishably faster than %s up to a context of %d tokens (not "
                     "distinguishable at %s; else %.2fx at best, at %d): stay dense.",
                     p->batch, p->lane, dense, c->last, contexts_say(s, p, peer, false, contexts, sizeof contexts),
                     latency_gain(s, c->best), c->best->context);
}

/* Some context at which it is faster. */
static int faster_add(struct notes *findings, const struct latency_study *s, const struct latency_point *p,
                      const struct latency_course *c, const char *dense)
{
    char own[224], contexts[128], slow[96] = "";
    const double gain = latency_gain(s, c->best);
    const int at = c->best->context;
    say_own(s, p, own, sizeof own);
    if (c->cross == 0)
        return notes_add(
            findings,
            "Batch %d: %s is faster than %s at %s, but at %d, the largest context timed, %s. At best %.2fx, at %d.%s",
            p->batch, p->lane, dense, contexts_say(s, p, s->n_peers > 0, true, contexts, sizeof contexts), c->below,
            c->slow == c->below ? "it is slower" : "the two are not distinguishable", gain, at, own);
    if (c->below == 0)
        return notes_add(
            findings,
            "Batch %d: %s is faster than %s from the smallest context timed on (%d tokens); at best %.2fx, at %d.%s",
            p->batch, p->lane, dense, c->cross, gain, at, own);
    if (c->slow == c->below)
        return notes_add(
            findings,
            "Batch %d: %s is faster than %s from a context of %d tokens on, and not at %d: the crossover lies between. "
            "At best %.2fx, at %d.%s",
            p->batch, p->lane, dense, c->cross, c->below, gain, at, own);
    if (c->slow > 0)
        snprintf(slow, sizeof slow, ", at %d it is slower: the crossover lies between %d and %d", c->slow, c->slow,
                 c->cross);
    return notes_add(findings,
                     "Batch %d: %s is faster than %s from a context of %d tokens on; at %d the two are not "
                     "distinguishable%s. At best %.2fx, at %d.%s",
                     p->batch, p->lane, dense, c->cross, c->below, slow, gain, at, own);
}

int latency_findings(const struct latency_study *s, struct notes *findings)
{
    const char *dense = s->n_peers > 0 ? "the strong dense step" : "dense";
    char peer[512];
    latency_peer_say(s, peer, sizeof peer);
    TRY(notes_add(findings, "%s", peer), "findings");
    for (int i = 0; i < s->n_points; i++) {
        const struct latency_point *p = &s->points[i];
        const struct latency_course c = latency_course(s, p->batch, p->place, s->n_peers > 0);
        int rc;
        if (!is_first(s, i)) continue;
        if (c.n == 0)
            rc = notes_add(findings, "Batch %d: %s: %s was timed at none of its contexts.", p->batch, p->lane, dense);
        else if (c.n_few == c.n)
            rc = notes_add(
                findings,
                "Batch %d: %s: too few timed steps for a verdict against %s: the 95 %% interval of a median needs %d.",
                p->batch, p->lane, dense, LATENCY_MIN_STEPS);
        else
            rc = c.n_faster > 0 ? faster_add(findings, s, p, &c, dense) : never_add(findings, s, p, &c, dense);
        TRY(rc, "findings");
    }
    return 0;
}

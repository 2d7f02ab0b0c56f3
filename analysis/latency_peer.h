/* analysis/latency_peer.h: the strong dense baseline beside a folder of experiment latency: FOLDER/peer-step.csv, which
 * tests/peer_step.py writes: a dense decode step of the same shapes in compiled PyTorch, timed on the same machine.
 *
 * The file is untrusted input: a line is taken where its numbers are in range and all of layers, hidden, heads, kv_heads, dim, ffn, vocab,
 * batch and context are a point's; a line without a time is passed over.                                    */
#ifndef ANALYSIS_LATENCY_PEER_H
#define ANALYSIS_LATENCY_PEER_H

#include "analysis/latency.h"

/* Sets peer, peer_gain of the points and s->peer, s->n_peers.  A folder without the file is none of failure: n_peers 0. */
int latency_peer_read(struct latency_study *s);

/* One sentence: what the baseline was, or that there is none and how it is made. */
void latency_peer_say(const struct latency_study *s, char *text, size_t n_bytes);

#endif

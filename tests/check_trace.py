#!/usr/bin/python3
"""Checks what must hold in every trace, whatever the model and the lanes: tests/check_trace.py TRACE..

Prints TAP, one line for each check of each trace.  Everything is recomputed from the settings that the trace carries and
from the definitions of its variables; nothing of the program is used.  Exactness (zero floors, equal bits) is asked
of the CPU back end only.  Needs h5py and numpy."""
import sys

import numpy as np

GROUPS = {
    "drift": ["k_drift", "v_drift", "k_accum", "v_accum", "attn_accum", "k_norm", "v_norm", "k_shift", "v_shift"],
    "cache": ["k_stale_drift", "v_stale_drift", "k_rect_drift", "v_rect_drift", "k_cache_drift", "v_cache_drift"],
    "attention": ["attn_err", "resid_err", "blocks_read"],
    "mass": ["kept_mass", "kept_mass_min", "best_mass", "stale_mass"],
    "parts": ["attn_err_select", "attn_err_cache", "kept_mass_dense", "select_overlap"],
    "logits": ["hidden_err", "hidden_accum", "logit_kl", "kl_clean", "nll", "entropy", "top1_match", "top3_hit"],
    "heads": ["k_head_drift", "v_head_drift", "attn_head_err", "kept_head_mass", "best_head_mass", "stale_head_mass"],
    "selection": ["selected_blocks"],
}
# Against lane 0, against the twin, and what goes on along a lane's own stream.
COMPARED = ["k_drift", "v_drift", "k_shift", "v_shift", "attn_err", "resid_err", "attn_err_select", "attn_err_cache",
            "kept_mass_dense", "hidden_err", "logit_kl", "k_head_drift", "v_head_drift", "attn_head_err"]
TWINNED = ["k_accum", "v_accum", "attn_accum", "select_overlap", "hidden_accum", "kl_clean"]
OWN = ["kept_mass", "kept_mass_min", "best_mass", "stale_mass", "kept_head_mass", "best_head_mass", "stale_head_mass", "entropy"]
# Zero where a lane does what lane 0 does, and zero where it does what its twin does.
ERRORS = ["k_drift", "v_drift", "k_shift", "v_shift", "attn_err", "resid_err", "attn_err_select", "attn_err_cache", "hidden_err",
          "logit_kl", "k_head_drift", "v_head_drift", "attn_head_err", "k_stale_drift", "v_stale_drift", "k_rect_drift",
          "v_rect_drift", "k_cache_drift", "v_cache_drift"]
DISTANCES = ["k_accum", "v_accum", "attn_accum", "hidden_accum", "kl_clean"]
ULP = np.float32(2.0 ** -23)

checks = []


class Skip(Exception):
    pass


def check(function):
    checks.append(function)
    return function


class Trace:
    """The variables, the settings, and what follows from the settings for every step and lane."""

    def __init__(self, path):
        import h5py
        with h5py.File(path, "r") as f:
            self.attrs = {k: (v.decode() if isinstance(v, bytes) else v) for k, v in f.attrs.items()}
            self.vars = {k: f[k][()] for k in f if isinstance(f[k], h5py.Dataset)}
        lanes = {k[5:]: v for k, v in self.vars.items() if k.startswith("lane_")}
        self.lane = {k: [x.decode() if isinstance(x, bytes) else x for x in v] for k, v in lanes.items()}
        self.names, self.n_lanes = self.lane["name"], len(self.lane["name"])
        self.follow, self.every = self.attrs["follow"], int(self.attrs["every"])
        self.n_prompt, self.n_steps = int(self.attrs["prompt_tokens"]), len(self.vars["step"])
        self.on_cpu = self.attrs["device"].startswith("cpu")
        shape = ("layers", "hidden", "ffn", "heads", "kv_heads", "head_dim", "vocab")
        self.n_layers, self.hidden, self.ffn, self.n_heads, self.n_kv_heads, self.head_dim, self.vocab = (
            int(self.attrs["model_" + k]) for k in shape)
        self.full = (np.arange(self.n_steps) + 1) % self.every == 0
        self.n_tokens = self.n_prompt + 1 + np.arange(self.n_steps)
        self._follow_lanes()

    def _follow_lanes(self):
        """Booleans [step, lane]: row, compared (with lane 0), twinned (compared with the twin), own (a cache of its own)."""
        steps = np.arange(self.n_steps)[:, None]
        lanes = range(self.n_lanes)
        self.owner = [c if c >= 0 else l for l, c in enumerate(self.lane["cache_of"])]
        self.probe = np.array([c >= 0 for c in self.lane["cache_of"]])
        self.until = np.array([self.lane["dense_until"][self.owner[l]] for l in lanes])
        diverged = self.vars.get("first_divergence", np.full(self.n_lanes, -1))
        self.diverged = np.where(diverged < 0, self.n_steps, diverged)
        self.early = np.broadcast_to(steps < self.until, (self.n_steps, self.n_lanes))  # before the lane's own start
        self.row = (steps >= self.until) & ~((self.vars["token"] < 0) & (steps >= self.until))
        self.compared = self.row & self.row[:, :1] & (steps < self.diverged)
        self.twin = np.array(self.lane["clean"])
        met = self.compared[:, self.twin] & (self.twin >= 0)
        self.twinned = self.compared & met
        self.blocks = np.array([[-(-n // max(1, self.lane["block_size"][l])) for l in lanes] for n in self.n_tokens])
        self.n_sel = np.array([[self._selected(l, self.blocks[s, l]) for l in lanes] for s in range(self.n_steps)])
        windows = [self._windows(self.owner[l]) for l in lanes]
        self.window = np.array([w for w, _ in windows]).T
        self.rectified = np.array([r for _, r in windows]).T & ~self.probe & self.row
        dense = np.array([self.lane["selector"][self.owner[l]] == "dense" for l in lanes])
        self.stale = np.where(dense | (steps < self.until), 0, steps - self.window)

    def _selected(self, l, n_blocks):
        if self.lane["selector"][l] == "dense":
            return n_blocks
        millionths = 1000000 - round(1e6 * self.lane["sparsity"][l])
        if self.lane["equal_bytes"][l] > 0:
            millionths = min(1000000, millionths + round(1e6 / self.lane["equal_bytes"][l]))
        share = -(-int(n_blocks) * millionths // 1000000)
        return min(n_blocks, max(share, self.lane["min_blocks"][l], self.lane["local_blocks"][l], 1))

    def _windows(self, l):
        """For each step of a lane with its own cache: the first step that the next rectification covers; whether one follows."""
        f, phase, start = self.lane["interval"][l], self.lane["phase"][l], self.lane["dense_until"][l]
        windows, rectified = [], []
        for s in range(self.n_steps):
            windows.append(start)
            rectified.append(f > 0 and s >= self.lane["dense_until"][l] and (s + 1 + phase) % f == 0)
            if rectified[-1]:
                start = s + 1
        return windows, rectified

    def var(self, name):
        if name not in self.vars:
            raise Skip(name + " is not recorded")
        return self.vars[name]

    def have(self, names):
        return [n for n in names if n in self.vars]

    def mask(self, name, there):
        """there [step, lane] with the trailing dimensions of a variable, without the steps that are not recorded."""
        v = self.vars[name]
        if v.ndim > 2:
            there = there & self.full[:, None]
        return np.broadcast_to(there.reshape(there.shape + (1,) * (v.ndim - 2)), v.shape)

    def exact(self):
        if not self.on_cpu:
            raise Skip("only the CPU is exact")

    def where(self, bad, what):
        """Fails with the first place where bad [step, lane, ..] is true."""
        if not np.any(bad):
            return
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        lane = f", lane {self.names[at[1]]}" if len(at) > 1 else ""
        raise AssertionError(f"{what}: {int(np.sum(bad))} times, first at step {at[0]}{lane}, index {at}")


@check
def steps_and_context(t):
    assert np.array_equal(t.vars["step"], np.arange(t.n_steps)), "step is not 0 .. n - 1"
    assert np.array_equal(t.vars["context_tokens"], t.n_tokens), "context_tokens is not prompt + step + 1"
    for name in sum((GROUPS[g] for g in t.attrs["metrics"].split()), []):
        assert name in t.vars, name + " is missing"
        assert len(t.vars[name]) == t.n_steps, name + " has another number of steps"


@check
def lane_0_is_the_reference(t):
    assert t.names[0] == "dense" and t.lane["selector"][0] == "dense" and t.lane["interval"][0] == 0 and t.lane["cache_of"][0] == -1
    row = t.row[:, :1]
    for name, want in [(n, 0) for n in ERRORS + ["stale_mass", "stale_head_mass"]] + [
            (n, 1) for n in ("kept_mass", "kept_mass_min", "best_mass", "kept_mass_dense", "kept_head_mass", "best_head_mass")] + [
            ("top1_match", 1)]:
        if name not in t.vars or "rect_drift" in name or (name.endswith("_shift") and t.n_prompt < 2):
            continue
        there = t.mask(name, np.repeat(row, t.n_lanes, 1))[:, 0]
        assert np.all(t.vars[name][:, 0][there] == want), f"{name} of lane 0 is not {want}"
    if "blocks_read" in t.vars:
        assert np.all(np.isnan(t.vars["blocks_read"][:, 0])), "blocks_read of lane 0 is there"
    assert np.all(t.vars["stale_tokens"][row[:, 0], 0] == 0) and np.all(t.vars["active_share"][row[:, 0], 0] == 1)


@check
def schedule(t):
    t.where(t.row & (t.vars["rectified"] != t.rectified), "rectified is not the schedule's")
    t.where(t.early & (t.vars["rectified"] != 0), "rectified before the lane's start")
    t.where(~t.row & ~t.early & (t.vars["rectified"] != 255), "rectified after the lane's end")
    t.where(t.row & (t.vars["stale_tokens"] != t.stale), "stale_tokens is not the schedule's")


def tokens_read(t):
    """Tokens that a lane reads in a step, over layers and KV heads; -1 where the settings alone do not say."""
    out = np.full((t.n_steps, t.n_lanes), -1, np.int64)
    for l in range(t.n_lanes):
        size, dense = max(1, t.lane["block_size"][l]), min(t.lane["dense_layers"][l], t.n_layers)
        if t.lane["selector"][l] == "dense":
            dense = t.n_layers
        elif t.lane["local_blocks"][l] < 1 and np.any(t.n_sel[:, l] < t.blocks[:, l]):
            continue
        # The last block is among the selected ones, and is filled up to the current token.
        sparse = t.n_sel[:, l] * size - (t.blocks[:, l] * size - t.n_tokens)
        out[:, l] = t.n_kv_heads * (dense * t.n_tokens + (t.n_layers - dense) * sparse)
    return np.where(t.row, out, (t.n_layers * t.n_kv_heads * t.n_tokens)[:, None])


@check
def bytes_follow_from_the_settings(t):
    read, heads = tokens_read(t), t.n_layers * t.n_kv_heads
    got = t.vars["kv_read_bytes"]
    element = [e for e in (2, 4) if got[0, 0] == heads * (t.n_tokens[0] + 1) * 2 * t.head_dim * e]
    assert element, "kv_read_bytes of lane 0 in step 0 fits no element size"
    e = element[0]
    alive = t.row | t.early
    for name in ("kv_read_bytes", "key_read_bytes", "rectify_bytes", "rectify_flop"):
        t.where(~alive & (t.vars[name] != -1), name + " after the lane's end")
    t.where(alive & (read >= 0) & (got != (read + heads) * 2 * t.head_dim * e), "kv_read_bytes")
    key = 2 * t.head_dim * 4 * t.n_kv_heads
    minmax = np.array([s == "minmax" for s in t.lane["selector"]])
    scored = t.n_layers - np.minimum(t.lane["dense_layers"], t.n_layers)
    t.where(alive & (t.vars["key_read_bytes"] != np.where(t.row & minmax, (t.blocks * scored + t.n_layers) * key, 0)), "key_read_bytes")
    rows = np.where(t.rectified, np.arange(t.n_steps)[:, None] + 1 - t.window, 0)
    n = t.n_tokens[:, None]
    kv, q, h = 2 * t.n_kv_heads * t.head_dim, t.n_heads * t.head_dim, t.hidden
    want = np.where(t.rectified, kv * e * ((t.n_layers - 1) * n + t.n_layers * rows), 0)
    t.where(alive & (t.vars["rectify_bytes"] != want), "rectify_bytes")
    attended = rows * n - rows * (rows - 1) // 2
    linear = 2 * h * (2 * q + kv) + 6 * h * t.ffn
    want = (t.n_layers - 1) * (linear * rows + 4 * q * attended) + 2 * h * kv * rows
    t.where(alive & (t.vars["rectify_flop"] != np.where(t.rectified, want, 0)), "rectify_flop")
    share = (read / (heads * t.n_tokens)[:, None]).astype(np.float32)
    t.where(t.row & (read >= 0) & (t.vars["active_share"] != share), "active_share")
    t.where(~t.row & ~np.isnan(t.vars["active_share"]), "active_share without a row")


@check
def blocks_are_the_budget(t):
    got = t.var("blocks_read")
    for l in range(1, t.n_lanes):
        there = (t.row[:, l] & t.full)[:, None] & np.ones(t.n_layers, bool)
        layer = np.arange(t.n_layers)[None, :]
        want = np.where(layer < t.lane["dense_layers"][l], t.blocks[:, l:l + 1], t.n_sel[:, l:l + 1])
        assert np.all(got[:, l][there] == want[there]), f"blocks_read of {t.names[l]} is not n_sel"


@check
def selected_blocks_are_lists(t):
    slots = t.var("selected_blocks")
    for l in range(1, t.n_lanes):
        for s in np.flatnonzero(t.row[:, l] & t.full):
            for layer in range(t.lane["dense_layers"][l], t.n_layers):
                n, m, local = t.n_sel[s, l], t.blocks[s, l], t.lane["local_blocks"][l]
                lists = slots[s, l, layer]
                where = f"{t.names[l]}, step {s}, layer {layer}"
                assert np.all(lists[:, n:] == -1), "more blocks than n_sel: " + where
                assert np.all(np.diff(lists[:, :n], axis=1) > 0), "blocks are not ascending: " + where
                assert np.all((lists[:, 0] >= 0) & (lists[:, n - 1] < m)), "blocks outside the context: " + where
                assert np.all(lists[:, max(0, n - local):n] == np.arange(m - min(local, n), m)), "a local block is missing: " + where
    assert np.all(slots[:, 0] == -1), "lane 0 has blocks"


def expected(t, name):
    """Where a float variable is there [step, lane]."""
    own = t.compared & ~t.probe
    if name in COMPARED:
        return t.compared
    if name in TWINNED:
        return t.twinned
    if name in OWN:
        return t.row
    if name == "nll":
        return t.row & (t.vars["target"] >= 0)
    if name == "blocks_read":
        return t.row & (np.arange(t.n_lanes) > 0)
    if "rect_drift" in name:
        return own & t.rectified
    return own


@check
def nan_exactly_where_defined(t):
    for group, names in GROUPS.items():
        for name in t.have(names):
            v = t.vars[name]
            if v.dtype.kind != "f":
                continue
            if name in ("k_norm", "v_norm"):
                there = np.broadcast_to(t.row[:, 0][:, None, None], v.shape)
                assert np.array_equal(~np.isnan(v), there), name + " is not there exactly where lane 0 has a row"
                continue
            if name in ("k_shift", "v_shift") and t.n_prompt < 2:
                continue
            there = t.mask(name, expected(t, name))
            t.where(there & np.isnan(v), name + " is NaN where it is defined")
            t.where(~there & ~np.isnan(v), name + " is there where it is not defined")


@check
def flags_are_flags(t):
    for name, there in (("top1_match", t.compared), ("top3_hit", t.row & (t.vars["target"] >= 0))):
        v = t.var(name)
        t.where(there & (v > 1), name + " is neither 0 nor 1")
        t.where(~there & (v != 255), name + " is there where it is not defined")
    t.where((t.row | t.early) & (t.vars["rectified"] > 1), "rectified is neither 0 nor 1")


@check
def errors_are_finite(t):
    for name in t.have(sum(GROUPS.values(), [])):
        if t.vars[name].dtype.kind == "f" and not name.endswith("_shift"):
            t.where(np.isinf(t.vars[name]), name + " is infinite")
            t.where(t.vars[name] < 0, name + " is negative")


def controls(t):
    """Lanes that read every block in every step of an undisturbed cache."""
    all_read = (np.all(t.n_sel == t.blocks, axis=0) | (np.array(t.lane["dense_layers"]) >= t.n_layers)) & (np.array(t.lane["perturb"]) == 0)
    own = [l for l in range(1, t.n_lanes) if all_read[l] and not t.probe[l]]
    return own + [l for l in range(1, t.n_lanes) if all_read[l] and t.probe[l] and t.owner[l] in own + [0]]


@check
def control_lanes_are_dense(t):
    t.exact()
    lanes = controls(t)
    if not lanes:
        raise Skip("no control lane")
    for l in lanes:
        for name in t.have(ERRORS):
            v = t.vars[name][:, l]
            assert np.all((v == 0) | np.isnan(v)), f"{name} of {t.names[l]} is not 0"
        assert np.all(t.diverged[l] >= t.n_steps), t.names[l] + " diverged"
        for name in t.have(["nll", "entropy", "argmax", "token", "target"]):
            there = t.row[:, l]
            assert np.array_equal(t.vars[name][there, l], t.vars[name][there, 0]), f"{name} of {t.names[l]} is not lane 0's"
        if "top1_match" in t.vars:
            assert np.all(t.vars["top1_match"][t.compared[:, l], l] == 1), "top1_match of " + t.names[l]


@check
def masses(t):
    """At most 1 but for rounding (2^-20); the best choice keeps no less than another (an ulp of the stored number)."""
    t.var("kept_mass")
    limit = np.float32(1 + 2.0 ** -20)
    for name in t.have(["kept_mass", "kept_mass_min", "best_mass", "stale_mass", "kept_mass_dense", "select_overlap",
                        "kept_head_mass", "best_head_mass", "stale_head_mass"]):
        t.where((t.vars[name] < 0) | (t.vars[name] > limit), name + " is outside [0, 1]")
    t.where(t.vars["kept_mass"] > t.vars["best_mass"] * (1 + ULP), "kept_mass is above best_mass")
    t.where(t.vars["kept_mass_min"] > t.vars["kept_mass"] * (1 + ULP), "kept_mass_min is above kept_mass")
    whole = t.mask("kept_mass", t.row & (t.n_sel == t.blocks))
    t.where(whole & (abs(t.vars["kept_mass"] - 1) > 2.0 ** -20), "a lane that reads all does not keep all")
    t.where(t.mask("kept_mass", t.row & (t.stale == 0)) & (t.vars["stale_mass"] != 0), "stale_mass without stale tokens")
    if "kept_head_mass" in t.vars:
        for a, b in (("kept_mass", "kept_head_mass"), ("best_mass", "best_head_mass"), ("stale_mass", "stale_head_mass")):
            t.where(abs(t.vars[a] - t.vars[b].mean(axis=3)) > 2.0 ** -21, a + " is not the mean over KV heads")


@check
def layer_0_has_no_drift(t):
    t.exact()
    t.var("k_drift")
    quiet = np.array(t.lane["perturb"]) == 0
    for name in t.have(["k_drift", "v_drift", "k_shift", "v_shift", "k_accum", "v_accum", "k_head_drift", "v_head_drift"]):
        v = t.vars[name][:, quiet, 0]
        t.where((v != 0) & ~np.isnan(v), name + " in layer 0")


@check
def perturbation_is_as_asked(t):
    """At sparsity 0 the drift of layer 0 is the perturbation's size alone."""
    v = t.var("k_drift"), t.var("v_drift")
    lanes = [l for l in range(t.n_lanes) if t.lane["perturb"][l] > 0 and np.all(t.n_sel[:, l] == t.blocks[:, l])]
    if not lanes:
        raise Skip("no perturbed lane at sparsity 0")
    for l in lanes:
        for x in v:
            x = x[:, l, 0]
            assert np.all((abs(x - t.lane["perturb"][l]) <= 2.0 ** -22) | np.isnan(x)), "drift of " + t.names[l]


@check
def rectification_is_exact(t):
    """All of the suffix has been rectified after it, so that the window and the whole cache are lane 0's."""
    t.exact()
    t.var("k_rect_drift")
    if not np.any(t.rectified):
        raise Skip("nothing was rectified")
    after = t.mask("k_rect_drift", t.rectified & t.compared)
    for name in ("k_rect_drift", "v_rect_drift", "k_cache_drift", "v_cache_drift"):
        t.where(after & (t.vars[name] != 0), name + " is not 0 after a rectification")


@check
def drift_is_real(t):
    """Where less than all is read, new tokens drift in every layer past the first one that reads sparsely."""
    t.var("k_stale_drift")
    sparse = (t.n_sel < t.blocks) & t.compared & ~t.probe
    if not np.any(sparse):
        raise Skip("every lane reads all")
    layer = np.arange(t.n_layers)[None, None, :] > np.array(t.lane["dense_layers"])[None, :, None]
    there = t.mask("k_stale_drift", sparse) & layer
    for name in ("k_stale_drift", "v_stale_drift"):
        t.where(there & ~(t.vars[name] > 0), name + " is 0 although the lane reads sparsely")
    # With tokens that no rectification has reached, the cache as a whole drifts too.
    left = t.mask("k_cache_drift", sparse & ~t.rectified) & layer
    for name in ("k_cache_drift", "v_cache_drift"):
        t.where(left & ~(t.vars[name] > 0), name + " is 0 between rectifications")


@check
def fresh_cache_equals_the_clean_probe(t):
    """In a step whose lane has no stale token the cache is lane 0's: the lane is its clean twin, bit for bit.  A lane with
    interval 1 is so in every step."""
    t.exact()
    quiet = np.array(t.lane["perturb"]) == 0
    fresh = t.twinned & ~t.probe & quiet & (t.stale == 0) & (np.arange(t.n_lanes) > 0)
    if not np.any(fresh):
        raise Skip("no lane with a clean twin")
    for name in t.have(DISTANCES):
        t.where(t.mask(name, fresh) & (t.vars[name] != 0), name + " is not 0")
    same = t.have(COMPARED + OWN + ["nll", "select_overlap", "top1_match", "top3_hit", "argmax", "blocks_read", "selected_blocks"])
    for l in np.flatnonzero(np.any(fresh, axis=0)):
        if t.twin[l] == 0:
            continue  # a control: compared with lane 0 above, which has no blocks
        for s in np.flatnonzero(fresh[:, l]):
            one_target = t.vars["target"][s, l] == t.vars["target"][s, t.twin[l]]  # follow: self: each has its own
            for name in same:
                if name in ("nll", "top3_hit") and not one_target:
                    continue
                a, b = t.vars[name][s, l], t.vars[name][s, t.twin[l]]
                assert a.tobytes() == b.tobytes() or np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), \
                    f"{name} of {t.names[l]} is not {t.names[t.twin[l]]}'s at step {s}"


@check
def clean_lanes_are_their_own_twins(t):
    t.exact()
    lanes = [l for l in range(1, t.n_lanes) if t.twin[l] == l]
    if not lanes:
        raise Skip("no clean lane")
    for l in lanes:
        assert t.probe[l] and t.owner[l] == 0, t.names[l] + " is no probe of lane 0"
        for name in t.have(DISTANCES):
            v = t.vars[name][:, l]
            assert np.all((v == 0) | np.isnan(v)), f"{name} of {t.names[l]} is not 0"


@check
def logits_agree(t):
    """nll and entropy are at least 0, the entropy at most log of the vocabulary; matches are the argmax's."""
    argmax, target = t.vars["argmax"], t.vars["target"]
    t.where(t.row & ((argmax < 0) | (argmax >= t.vocab)), "argmax is outside the vocabulary")
    if "nll" not in t.vars:
        raise Skip("nll is not recorded")
    t.where(t.vars["entropy"] > np.log(t.vocab) * (1 + 2.0 ** -22), "entropy is above log vocabulary")
    same = (argmax == argmax[:, :1]).astype(np.uint8)
    t.where(t.compared & (t.vars["top1_match"] != same), "top1_match is not the argmax's")
    t.where(t.row & (target == argmax) & (t.vars["top3_hit"] != 1), "the argmax is not among the best three")
    likely = t.row & (target >= 0) & (t.vars["nll"] < np.float32(0.69))
    t.where(likely & (target != argmax), "a target of probability above 1/2 is not the argmax")


@check
def streams(t):
    """The target is the next step's token; all lanes feed one stream, but each its own from its divergence on."""
    token, target = t.vars["token"], t.vars["target"]
    both = t.row[:-1] & t.row[1:]
    t.where(both & (target[:-1] != token[1:]), "target is not the next token")
    alive = token >= 0
    if t.follow != "self":
        t.where(alive & (token != token[:, :1]), "a lane feeds another token than lane 0")
        return
    apart = token != token[:, :1]  # also where one of them has ended
    first = np.where(np.any(apart, axis=0), np.argmax(apart, axis=0), t.n_steps)
    assert np.array_equal(first, np.minimum(t.diverged, t.n_steps)), "first_divergence is not where the tokens part"


@check
def heads_add_up(t):
    """Drift of all KV heads from that of each and lane 0's norms.  Six float32 roundings enter: 2^-20 is enough for them."""
    for whole, head, norm in (("k_drift", "k_head_drift", "k_norm"), ("v_drift", "v_head_drift", "v_norm")):
        n = t.var(norm).astype(float)[:, None] ** 2
        squares = (t.var(head).astype(float) ** 2 * n).sum(axis=3)
        want = np.sqrt(squares / n.sum(axis=3))
        t.where(abs(t.var(whole) - want) > 2.0 ** -20 * want, whole + " is not its heads'")


def run(path, first):
    """Prints a line for each check; the number of failures."""
    n_failed = 0
    try:
        trace = Trace(path)
    except (OSError, KeyError, ValueError) as why:
        print("\n".join(f"not ok {first + i} - {f.__name__.replace('_', ' ')} [{path}]" for i, f in enumerate(checks)))
        print(f"# {path} cannot be read as a trace: {why!r}")
        return len(checks)
    for i, function in enumerate(checks):
        name = function.__name__.replace("_", " ") + f" [{path}]"
        with np.errstate(invalid="ignore", divide="ignore"):
            try:
                function(trace)
                print(f"ok {first + i} - {name}")
            except Skip as reason:
                print(f"ok {first + i} - {name} # SKIP {reason}")
            except AssertionError as why:
                n_failed += 1
                print(f"not ok {first + i} - {name}\n# {why}")
    return n_failed


def main(paths):
    n_failed = 0
    for i, path in enumerate(paths):
        n_failed += run(path, 1 + i * len(checks))
    print(f"1..{len(paths) * len(checks)}")
    return 1 if n_failed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: tests/check_trace.py TRACE..")
    sys.exit(main(sys.argv[1:]))

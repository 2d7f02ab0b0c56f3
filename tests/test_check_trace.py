#!/usr/bin/python3
"""tests/check_trace.py on traces made by hand: it passes what is right, and each check fails on what it is there for."""
import os
import subprocess
import sys
import tempfile

import tap

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import h5py
    import numpy as np
    import check_trace
except ImportError as missing:
    print(f"1..0 # SKIP python: {missing}")
    sys.exit(0)

N_LAYERS, HIDDEN, FFN, N_HEADS, N_KV, DIM, VOCAB, PROMPT, STEPS, BLOCK = 3, 32, 64, 4, 2, 8, 50, 20, 24, 4
HALF = dict(sparsity=0.5)
LANES = [  # name, settings that are not the default, clean twin
    ("dense", dict(selector="dense"), 0),
    ("control", {}, 0),
    ("clean", dict(HALF, cache_of=0), 2),
    ("sparse", HALF, 2),
    ("resa", dict(HALF, interval=4, phase=1), 2),
    ("every", dict(HALF, interval=1), 2),
    ("stale", dict(cache_of=3), 0),
    ("late", dict(HALF, dense_until=6, interval=4), 2),
    ("noisy", dict(perturb=0.01), 0),
    ("wide", dict(HALF, selector="window", dense_layers=1), -1),
]
DEFAULTS = dict(selector="minmax", sparsity=0.0, block_size=BLOCK, interval=0, local_blocks=1, min_blocks=1, dense_layers=0, phase=0,
                dense_until=0, equal_bytes=0, perturb=0.0, cache_of=-1)
N = len(LANES)
DENSE, CONTROL, CLEAN, SPARSE, RESA, EVERY, STALE, LATE, NOISY, WIDE = range(N)


def setting(lane, key):
    return LANES[lane][1].get(key, DEFAULTS[key])


def reads_all(lane):
    return setting(lane, "sparsity") == 0


def counts(lane, n_tokens):
    """Blocks of the context, selected ones, and the tokens in them: the last block is one of them."""
    m = (n_tokens + BLOCK - 1) // BLOCK
    n = m if reads_all(lane) else (m + 1) // 2
    return m, n, n_tokens - (m - n) * BLOCK


def fill_host(v, lane, step, stale, rectified, window):
    """What the host knows of a lane that has a row, or that waits for its first (stale is None)."""
    n_tokens, heads, head_bytes = PROMPT + step + 1, N_LAYERS * N_KV, 2 * DIM * 4
    m, n, tokens = counts(lane, n_tokens)
    if lane == DENSE or stale is None:
        read = heads * n_tokens
    else:
        dense = setting(lane, "dense_layers")
        read = N_KV * (dense * n_tokens + (N_LAYERS - dense) * tokens)
    v["kv_read_bytes"][step, lane] = (read + heads) * head_bytes
    v["rectified"][step, lane] = rectified
    v["stale_tokens"][step, lane] = 0
    if stale is None:
        return
    v["stale_tokens"][step, lane] = stale
    v["active_share"][step, lane] = read / (heads * n_tokens)
    if setting(lane, "selector") == "minmax":
        v["key_read_bytes"][step, lane] = (m * N_LAYERS + N_LAYERS) * 2 * DIM * 4 * N_KV
    if rectified:
        kv, q = 2 * N_KV * DIM, N_HEADS * DIM
        v["rectify_bytes"][step, lane] = kv * 4 * ((N_LAYERS - 1) * n_tokens + N_LAYERS * window)
        attended = sum(n_tokens - i for i in range(window))
        linear = 2 * HIDDEN * (2 * q + kv) + 6 * HIDDEN * FFN
        v["rectify_flop"][step, lane] = (N_LAYERS - 1) * (linear * window + 4 * q * attended) + 2 * HIDDEN * kv * window


def fill_drift(v, lane, step, noise, errors):
    """Drift of K and V by head and together; errors [layer] is 0 where a layer is exact."""
    for k in "kv":
        norm = v[k + "_norm"][step].astype(float)
        head = errors[:, None] * (1 + noise.random((N_LAYERS, N_KV)))
        if lane == NOISY:
            head[0] = setting(NOISY, "perturb")
        v[k + "_head_drift"][step, lane] = head
        v[k + "_drift"][step, lane] = np.sqrt((head ** 2 * norm ** 2).sum(1) / (norm ** 2).sum(1))
        v[k + "_shift"][step, lane] = head.mean(1)


def fill_measures(v, lane, step, noise, fresh, stale):
    """A lane that has a row: noise of its own, and nothing where it reads all of an undisturbed cache."""
    exact = lane in (DENSE, CONTROL)
    sparse_layer = np.arange(N_LAYERS) > setting(lane, "dense_layers")
    errors = np.where(sparse_layer, 0.0 if exact else 0.1, 0.0)
    fill_drift(v, lane, step, noise, errors)
    size = 0.0 if exact else 0.2
    for name in ("attn_err", "resid_err", "attn_err_select", "attn_err_cache"):
        v[name][step, lane] = size * (1 + noise.random(N_LAYERS))
    v["attn_head_err"][step, lane] = size * (1 + noise.random((N_LAYERS, N_KV)))
    for name in ("hidden_err", "logit_kl"):
        v[name][step, lane] = size * (1 + noise.random())
    m, n, _ = counts(lane, PROMPT + step + 1)
    best = 0.9 + 0.05 * noise.random((N_LAYERS, N_KV)) if n < m and lane != DENSE else np.ones((N_LAYERS, N_KV))
    kept = best * (0.97 if n < m and lane != DENSE else 1)
    kept[:setting(lane, "dense_layers")] = best[:setting(lane, "dense_layers")] = 1
    v["kept_head_mass"][step, lane], v["best_head_mass"][step, lane] = kept, best
    v["stale_head_mass"][step, lane] = 0.1 * noise.random((N_LAYERS, N_KV)) if stale else 0
    for name in ("kept", "best", "stale"):
        v[name + "_mass"][step, lane] = v[name + "_head_mass"][step, lane].mean(1)
    v["kept_mass_min"][step, lane] = v["kept_mass"][step, lane] * (0.9 if n < m and lane != DENSE else 1)
    v["kept_mass_dense"][step, lane] = v["kept_mass"][step, lane]
    v["entropy"][step, lane] = 1 + noise.random() if not exact else v["entropy"][step, 0] if lane else 1.5
    v["nll"][step, lane] = 1 + noise.random() if not exact else v["nll"][step, 0] if lane else 1.5
    v["argmax"][step, lane] = 7 if exact else 7 + step % 2
    v["top1_match"][step, lane] = v["argmax"][step, lane] == 7
    v["top3_hit"][step, lane] = v["target"][step, lane] == v["argmax"][step, lane]
    if lane:
        v["blocks_read"][step, lane] = n
        v["blocks_read"][step, lane, :setting(lane, "dense_layers")] = m
        v["selected_blocks"][step, lane, :, :, :n] = np.arange(m - n, m)
    twin = LANES[lane][2]
    if fresh:  # the cache is lane 0's: the lane is its twin
        for name in v:
            if name in check_trace.COMPARED + check_trace.OWN + ["nll", "top1_match", "top3_hit", "argmax"]:
                v[name][step, lane] = v[name][step, twin]
    for name in ("k_accum", "v_accum", "attn_accum", "hidden_accum", "kl_clean"):
        if twin >= 0:
            layers = sparse_layer if v[name].ndim == 3 else True
            v[name][step, lane] = np.where(layers, 0.0 if fresh or exact or lane == CLEAN else 0.05, 0.0)
    if twin >= 0:
        v["select_overlap"][step, lane] = 1 if lane != STALE else 1


def fill_cache(v, lane, step, rectified):
    if setting(lane, "cache_of") >= 0:
        return
    layers = np.arange(N_LAYERS) > setting(lane, "dense_layers")
    size = np.where(layers, 0.0 if lane in (DENSE, CONTROL) else 0.1, 0.0)
    if lane == NOISY:
        size = np.full(N_LAYERS, 0.01)
    for k in "kv":
        v[k + "_stale_drift"][step, lane] = size
        v[k + "_cache_drift"][step, lane] = 0 if rectified else size
        if rectified:
            v[k + "_rect_drift"][step, lane] = 0


def empty():
    v = {"context_tokens": PROMPT + 1 + np.arange(STEPS, dtype=np.int32), "step": np.arange(STEPS, dtype=np.int32)}
    for name in ("token", "target", "argmax", "stale_tokens"):
        v[name] = np.full((STEPS, N), -1, np.int32)
    for name in ("rectified", "top1_match", "top3_hit"):
        v[name] = np.full((STEPS, N), 255, np.uint8)
    for name in ("kv_read_bytes", "key_read_bytes", "rectify_bytes", "rectify_flop"):
        v[name] = np.zeros((STEPS, N), np.int64)
    v["active_share"] = np.full((STEPS, N), np.nan, np.float32)
    for group, names in check_trace.GROUPS.items():
        for name in names:
            shape = (STEPS, N, N_LAYERS, N_KV) if group == "heads" else (STEPS, N) if group == "logits" else (STEPS, N, N_LAYERS)
            if name in ("k_norm", "v_norm"):
                shape = (STEPS, N_LAYERS, N_KV)
            if name not in v:
                v[name] = np.full(shape, np.nan, np.float32)
    v["selected_blocks"] = np.full((STEPS, N, N_LAYERS, N_KV, 12), -1, np.int32)
    return v


def make_trace(every=1, follow="text", device="cpu"):
    """The variables and attributes of a trace in which everything is as it must be."""
    noise = np.random.default_rng(1)
    v = empty()
    for k in ("k_norm", "v_norm"):
        v[k][:] = 1 + noise.random(v[k].shape)
    stale = [0] * N
    for step in range(STEPS):
        v["token"][step] = 7 + (step + 2) % 3
        v["target"][step] = 7 + step % 3
        for lane in range(N):
            owner = setting(lane, "cache_of") if setting(lane, "cache_of") > 0 else lane
            until, f = setting(owner, "dense_until"), setting(lane, "interval")
            if step < until:
                fill_host(v, lane, step, None, False, 0)
                continue
            own = setting(lane, "cache_of") < 0 and lane != DENSE
            rectified = own and f > 0 and (step + 1 + setting(lane, "phase")) % f == 0
            before = stale[owner] if lane == owner else stale[owner] - 1  # the owner has counted its own token already
            before = 0 if lane in (DENSE, CLEAN) else before
            fill_host(v, lane, step, before, rectified, before + 1)
            fresh = own and before == 0 and lane not in (NOISY, CONTROL, WIDE)
            fill_measures(v, lane, step, noise, fresh, before)
            fill_cache(v, lane, step, rectified)
            if own:
                stale[lane] = 0 if rectified else stale[lane] + 1
    for name, x in v.items():
        if x.ndim > 2 and not name.endswith("_norm"):
            x[(np.arange(STEPS) + 1) % every != 0] = -1 if name == "selected_blocks" else np.nan
    shape = dict(layers=N_LAYERS, hidden=HIDDEN, ffn=FFN, heads=N_HEADS, kv_heads=N_KV, head_dim=DIM, vocab=VOCAB)
    attrs = dict(follow=follow, every=every, prompt_tokens=PROMPT, device=device, metrics=" ".join(check_trace.GROUPS))
    attrs.update({"model_" + k: n for k, n in shape.items()})
    for key in DEFAULTS:
        v["lane_" + key] = [setting(lane, key) for lane in range(N)]
    v["lane_name"] = [lane[0] for lane in LANES]
    v["lane_clean"] = [lane[2] for lane in LANES]
    return v, attrs


def diverge(v, lane, step):
    """follow: self: from step on the lane feeds tokens of its own."""
    v["first_divergence"] = np.full(N, -1, np.int32)
    v["first_divergence"][lane] = step
    v["token"][step:, lane] += 20
    v["target"][step - 1:, lane] += 20
    v["top1_match"][step:, lane] = 255
    v["top3_hit"][step - 1:, lane] = 0
    for name in check_trace.COMPARED + check_trace.TWINNED + check_trace.GROUPS["cache"]:
        v[name][step:, lane] = np.nan


def write(path, v, attrs):
    with h5py.File(path, "w") as f:
        for name, x in v.items():
            f.create_dataset(name, data=x, dtype=h5py.string_dtype() if isinstance(x, list) and isinstance(x[0], str) else None)
        f.attrs.update(attrs)


def results(v, attrs):
    """{check: None passed, a reason skipped, an AssertionError failed} of a file with these variables."""
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.h5")
        write(path, v, attrs)
        trace = check_trace.Trace(path)
    for function in check_trace.checks:
        try:
            with np.errstate(invalid="ignore", divide="ignore"):
                function(trace)
            out[function.__name__] = None
        except (check_trace.Skip, AssertionError) as why:
            out[function.__name__] = why
    return out


def put(name, at, value):
    def change(v, _):
        assert not np.array_equal(v[name][at], value, equal_nan=v[name].dtype.kind == "f"), "changes nothing"
        v[name][at] = value
    return change


def add(name, at, value):
    def change(v, _):
        assert np.all(~np.isnan(v[name][at].astype(float))), "there is nothing to add to"
        v[name][at] += v[name].dtype.type(value)
    return change


NAN = np.float32("nan")
ALL = slice(None)
# What is changed in a right trace, and the checks that must see it.
VIOLATIONS = [
    ("another context", add("context_tokens", 3, 1), ["steps_and_context"]),
    ("a variable is missing", lambda v, _: v.pop("v_shift"), ["steps_and_context"]),
    ("lane 0 has an error", put("attn_err", (3, DENSE, 1), 1e-9), ["lane_0_is_the_reference"]),
    ("lane 0 loses mass", put("kept_mass", (3, DENSE, 1), 1 - 2.0 ** -23), ["lane_0_is_the_reference"]),
    ("lane 0 counts blocks", put("blocks_read", (3, DENSE, 1), 6), ["lane_0_is_the_reference", "nan_exactly_where_defined"]),
    ("lane 0 has another match", put("top1_match", (3, DENSE), 0), ["lane_0_is_the_reference", "logits_agree"]),
    ("a rectification too many", put("rectified", (4, SPARSE), 1), ["schedule"]),
    ("a rectification missing", put("rectified", (6, RESA), 0), ["schedule"]),
    ("a probe is rectified", put("rectified", (6, STALE), 1), ["schedule"]),
    ("rectified before dense_until", put("rectified", (3, LATE), 1), ["schedule"]),
    ("stale tokens miscounted", add("stale_tokens", (7, RESA), 1), ["schedule"]),
    ("a probe's stale tokens are its own", put("stale_tokens", (7, STALE), 0), ["schedule"]),
    ("bytes of a KV read", add("kv_read_bytes", (5, SPARSE), 64), ["bytes_follow_from_the_settings"]),
    ("bytes before dense_until", add("kv_read_bytes", (2, LATE), -64), ["bytes_follow_from_the_settings"]),
    ("bytes of keys", add("key_read_bytes", (5, SPARSE), 1), ["bytes_follow_from_the_settings"]),
    ("keys of a window selector", put("key_read_bytes", (5, WIDE), 64), ["bytes_follow_from_the_settings"]),
    ("bytes of a rectification", add("rectify_bytes", (6, RESA), -4), ["bytes_follow_from_the_settings"]),
    ("operations of a rectification", add("rectify_flop", (6, RESA), 2), ["bytes_follow_from_the_settings"]),
    ("bytes of no rectification", put("rectify_bytes", (5, SPARSE), 4), ["bytes_follow_from_the_settings"]),
    ("active share", add("active_share", (5, SPARSE), 0.01), ["bytes_follow_from_the_settings"]),
    ("another budget", add("blocks_read", (5, SPARSE, 1), 0.5), ["blocks_are_the_budget"]),
    ("a dense layer reads less", add("blocks_read", (5, WIDE, 0), -1), ["blocks_are_the_budget"]),
    ("blocks out of order", lambda v, _: v["selected_blocks"][5, SPARSE, 1, 0, :2].sort() or
     put("selected_blocks", (5, SPARSE, 1, 0, slice(0, 2)), v["selected_blocks"][5, SPARSE, 1, 0, 1::-1].copy())(v, _),
     ["selected_blocks_are_lists"]),
    ("the local block is missing", lambda v, _: v["selected_blocks"][5, SPARSE, 1, 0, :4].__isub__(1), ["selected_blocks_are_lists"]),
    ("lane 0 has blocks", put("selected_blocks", (5, 0, 1, 0, 0), 0), ["selected_blocks_are_lists"]),
    ("a hole", put("attn_err", (5, SPARSE, 1), NAN), ["nan_exactly_where_defined"]),
    ("a value before dense_until", put("kept_mass", (5, LATE, 1), 0.5), ["nan_exactly_where_defined"]),
    ("a probe with a cache drift", put("k_cache_drift", (5, CLEAN, 1), 0), ["nan_exactly_where_defined"]),
    ("a rectified drift without one", put("v_rect_drift", (5, SPARSE, 1), 0), ["nan_exactly_where_defined"]),
    ("a distance without a twin", put("kl_clean", (5, WIDE), 0.1), ["nan_exactly_where_defined"]),
    ("nll without a hole", put("nll", (2, LATE), 1.0), ["nan_exactly_where_defined"]),
    ("a norm is missing", put("k_norm", (2, 1, 1), NAN), ["nan_exactly_where_defined"]),
    ("a flag of 2", put("top3_hit", (5, SPARSE), 2), ["flags_are_flags"]),
    ("a flag is missing", put("top1_match", (5, SPARSE), 255), ["flags_are_flags"]),
    ("a flag without a row", put("top3_hit", (5, LATE), 0), ["flags_are_flags"]),
    ("an infinite error", put("resid_err", (5, SPARSE, 1), np.inf), ["errors_are_finite"]),
    ("a negative divergence", put("logit_kl", (5, SPARSE), -1e-9), ["errors_are_finite"]),
    ("a negative nll", put("nll", (5, SPARSE), -1e-9), ["errors_are_finite"]),
    ("the control has an error", put("resid_err", (5, CONTROL, 2), 1e-30), ["control_lanes_are_dense"]),
    ("the control drifts", put("k_cache_drift", (5, CONTROL, 2), 1e-30), ["control_lanes_are_dense"]),
    ("the control has another nll", add("nll", (5, CONTROL), 2.0 ** -20), ["control_lanes_are_dense"]),
    ("a mass above 1", put("best_mass", (5, SPARSE, 1), 1 + 2.0 ** -19), ["masses"]),
    ("more kept than the best", lambda v, _: put("kept_mass", (5, SPARSE, 1), v["best_mass"][5, SPARSE, 1] * 1.001)(v, _), ["masses"]),
    ("a least mass above the mean", lambda v, _: put("kept_mass_min", (5, SPARSE, 1), v["kept_mass"][5, SPARSE, 1] * 1.001)(v, _),
     ["masses"]),
    ("a full read that loses mass", put("kept_mass", (5, CONTROL, 1), 0.999), ["masses"]),
    ("mass on stale tokens without any", put("stale_mass", (5, EVERY, 1), 1e-9), ["masses"]),
    ("heads of another mean", put("kept_head_mass", (5, SPARSE, 1, 0), 0.1), ["masses"]),
    ("drift in layer 0", put("v_drift", (5, SPARSE, 0), 1e-30), ["layer_0_has_no_drift"]),
    ("a distance in layer 0", put("k_accum", (5, SPARSE, 0), 1e-30), ["layer_0_has_no_drift"]),
    ("another perturbation", put("k_drift", (5, NOISY, 0), 0.01 + 2.0 ** -21), ["perturbation_is_as_asked"]),
    ("a rectified window that drifts", put("k_rect_drift", (6, RESA, 1), 1e-30), ["rectification_is_exact"]),
    ("a cache that does not come back", put("v_cache_drift", (6, RESA, 1), 1e-30), ["rectification_is_exact"]),
    ("a rectification that copies", put("k_stale_drift", (6, RESA, 1), 0), ["drift_is_real"]),
    ("a cache without drift", put("v_cache_drift", (7, RESA, 2), 0), ["drift_is_real"]),
    ("interval 1 is not the probe", add("resid_err", (9, EVERY, 2), 2.0 ** -24), ["fresh_cache_equals_the_clean_probe"]),
    ("interval 1 has another argmax", add("argmax", (9, EVERY), 1), ["fresh_cache_equals_the_clean_probe"]),
    ("a fresh lane is not the probe", put("kl_clean", (7, RESA), 1e-30), ["fresh_cache_equals_the_clean_probe"]),
    ("the first step after dense_until", add("entropy", (6, LATE), 2.0 ** -20), ["fresh_cache_equals_the_clean_probe"]),
    ("a clean lane far from itself", put("hidden_accum", (5, CLEAN), 1e-30), ["clean_lanes_are_their_own_twins"]),
    ("an argmax outside", put("argmax", (5, SPARSE), VOCAB), ["logits_agree"]),
    ("too much entropy", put("entropy", (5, SPARSE), np.log(VOCAB) + 0.001), ["logits_agree"]),
    ("a match that is none", lambda v, _: v["top1_match"][5:7, SPARSE].__ixor__(1), ["logits_agree"]),
    ("the argmax is not a hit", lambda v, _: (put("target", (6, SPARSE), v["argmax"][6, SPARSE]) if
     v["target"][6, SPARSE] != v["argmax"][6, SPARSE] else put("top3_hit", (6, SPARSE), 0))(v, _), ["logits_agree"]),
    ("likely, but not the argmax", lambda v, _: (put("argmax", (5, SPARSE), 40)(v, _), put("nll", (5, SPARSE), 0.1)(v, _)),
     ["logits_agree"]),
    ("a target that does not come", add("target", (5, SPARSE), 1), ["streams"]),
    ("another token", add("token", (5, SPARSE), 1), ["streams"]),
    ("heads that do not add up", put("k_drift", (5, SPARSE, 1), 0.5), ["heads_add_up"]),
]


def test_right_traces():
    exact = {f.__name__ for f in check_trace.checks if "t.exact()" in __import__("inspect").getsource(f)}
    for what, options in (("all steps", {}), ("every fourth step", dict(every=4)), ("another device", dict(device="cuda:0"))):
        got = results(*make_trace(**options))
        skipped = exact if "device" in options else set()
        wrong = {k: str(x) for k, x in got.items() if (x is not None) != (k in skipped) or isinstance(x, AssertionError)}
        tap.report(not wrong, "a right trace passes, " + what, wrong)
    v, attrs = make_trace(follow="self")
    diverge(v, SPARSE, 9)
    diverge_probe = v["first_divergence"].copy()
    diverge(v, STALE, 9)  # the probe goes with its owner
    v["first_divergence"] = np.maximum(v["first_divergence"], diverge_probe)
    wrong = {k: str(x) for k, x in results(v, attrs).items() if isinstance(x, AssertionError)}
    tap.report(not wrong, "a right trace passes, streams that part", wrong)
    v["first_divergence"][SPARSE] = 10
    got = results(v, attrs)
    tap.report(isinstance(got["streams"], AssertionError) and isinstance(got["nan_exactly_where_defined"], AssertionError),
           "a divergence a step late is seen", got)


def test_violations():
    for what, change, seen_by in VIOLATIONS:
        v, attrs = make_trace()
        change(v, attrs)
        got = results(v, attrs)
        blind = [k for k in seen_by if not isinstance(got[k], AssertionError)]
        tap.report(not blind, what + " is seen", f"not by {blind}: " + str({k: str(x) for k, x in got.items() if x}))
    seen = {k for _, _, by in VIOLATIONS for k in by}
    unproved = {f.__name__ for f in check_trace.checks} - seen
    tap.report(not unproved, "every check has failed once", unproved)


def test_program():
    """As a program it counts what failed, and says what is not there."""
    for good in (True, False):
        v, attrs = make_trace()
        if not good:
            v["nll"][3, 0] = -1
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.h5")
            write(path, v, attrs)
            done = subprocess.run([sys.executable, check_trace.__file__, path], stdout=subprocess.PIPE, text=True)
        lines = done.stdout.splitlines()
        n_bad = sum(line.startswith("not ok") for line in lines)
        tap.report(done.returncode == (0 if good else 1) and (n_bad == 0) == good and lines[-1] == f"1..{len(check_trace.checks)}",
               "the program's exit status, " + ("right" if good else "wrong"), done.stdout)


def test_no_trace():
    done = subprocess.run([sys.executable, check_trace.__file__, __file__], stdout=subprocess.PIPE, text=True)
    tap.report(done.returncode == 1 and done.stdout.count("\nnot ok") == len(check_trace.checks) - 1, "a file that is no trace fails every check",
           done.stdout)


test_right_traces()
test_violations()
test_program()
test_no_trace()
tap.done()

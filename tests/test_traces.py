#!/usr/bin/python3
"""Whole runs of the program: what it writes holds by tests/check_trace.py, and does not depend on what must not matter.

RESA names the program (default: build/resa).  Small synthetic models, random prompts; prints TAP."""
import contextlib
import glob
import io
import os
import subprocess
import sys
import tempfile

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESA = os.environ.get("RESA", os.path.join(ROOT, "build", "resa"))
sys.path.insert(0, os.path.join(ROOT, "tests"))
try:
    import h5py
    import numpy as np
    import check_trace
except ImportError as missing:
    print(f"1..0 # SKIP python: {missing}")
    sys.exit(0)

ALL = "[drift, cache, attention, mass, logits, parts, heads, selection]"
HEAD = """name: test
experiment: drift
device: cpu
model: {{synthetic: {{family: {family}, layers: 4, hidden: 64, heads: 4, kv_heads: 2, vocab: {vocab}, context: 512, seed: 3}}}}
prompt: {{random: [1], tokens: {prompt}}}
decode: {{tokens: {steps}, follow: {follow}}}
seeds: {seeds}
trace: {{metrics: {metrics}, every: {every}}}
lanes:
"""
DEFAULTS = dict(family="llama", vocab=256, prompt=53, steps=28, follow="text", seeds="[1]", metrics=ALL, every=1)
POLICY = "sparsity: 0.75, block_size: 8, min_blocks: 1"
LANES = [
    "{name: control, sparsity: 0, block_size: 8}",
    "{name: clean, " + POLICY + ", cache_of: dense}",
    "{name: sparse, " + POLICY + "}",
    "{name: resa, " + POLICY + ", interval: [1, 8]}",
    "{name: stale, sparsity: 0, block_size: 8, cache_of: sparse}",
    "{name: late, " + POLICY + ", interval: 5, phase: 2, dense_until: 11}",
    "{name: after, sparsity: 0.5, block_size: 5, min_blocks: 1, cache_of: late}",
    "{name: layers, sparsity: 0.75, block_size: 4, min_blocks: 1, dense_layers: 2, interval: 4}",
    "{name: layers_clean, sparsity: 0.75, block_size: 4, min_blocks: 1, dense_layers: 2, cache_of: dense}",
    "{name: equal, " + POLICY + ", equal_bytes: 8}",
    "{name: others, " + POLICY + ", selector: [random, window, oracle], interval: 8}",
    "{name: others_clean, " + POLICY + ", selector: [random, window, oracle], cache_of: dense}",
    "{name: noise, sparsity: 0, block_size: 8, perturb: 0.08}",
]
SELF_LANES = [lane for lane in LANES if "late" not in lane and "noise" not in lane]  # dense_until is refused with self
FEW_LANES = [LANES[i] for i in (1, 2, 3, 7)]


def run(folder, lanes=LANES, env=None, **options):
    """Paths of the traces of a run of these lanes, in a new folder below `folder`."""
    where = tempfile.mkdtemp(dir=folder)
    with open(os.path.join(where, "test.yaml"), "w") as f:
        f.write(HEAD.format(**dict(DEFAULTS, **options)) + "".join(f"  - {lane}\n" for lane in lanes))
    done = subprocess.run([RESA, "run", "test.yaml"], cwd=where, env=dict(os.environ, **(env or {})), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError(f"{RESA} run: status {done.returncode}\n{done.stdout}")
    return sorted(glob.glob(os.path.join(where, "results", "test", "runs", "*.h5")))


def read(path):
    with h5py.File(path, "r") as f:
        return {name: np.asarray(f[name][()]) for name in f}


def different(a, b):
    """Names of the variables whose bits differ."""
    return [n for n in sorted(set(a) | set(b)) if n not in a or n not in b or a[n].tobytes() != b[n].tobytes()
            and not (a[n].dtype == object and np.array_equal(a[n], b[n]))]


def lane_values(v, name):
    """The measured variables of one lane, by its name; without the distances to other lanes but lane 0."""
    lane = [x.decode() for x in v["lane_name"]].index(name)
    others = check_trace.TWINNED
    return {n: x[:, lane] for n, x in v.items() if x.ndim > 1 and x.shape[1] == len(v["lane_name"]) and n not in others}


def test_invariants(folder):
    cases = [("text", {}), ("text, every fourth step", dict(every=4)), ("QKV biases", dict(family="qwen2", vocab=331)),
             ("QK norms", dict(family="qwen3", prompt=64)), ("two groups", dict(metrics="[drift, attention]", every=3)),
             ("reference, sampled", dict(follow="reference, temperature: 0.8, top_p: 0.9")),
             ("self, sampled", dict(follow="self, temperature: 0.8, top_p: 0.9", seeds="[1, 2]", lanes=SELF_LANES)),
             ("self, greedy", dict(follow="self", lanes=SELF_LANES, every=2)), ("a prompt of one token", dict(prompt=1))]
    for what, options in cases:
        paths = run(folder, **options)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            failed = sum(check_trace.run(path, 1) for path in paths)
        lines = said.getvalue().splitlines()
        bad = [lines[i] + " " + lines[i + 1] for i in range(len(lines)) if lines[i].startswith("not ok")]
        tap.report(paths and not failed, "the trace holds: " + what, "\n".join(bad))


def test_bits_of_threads_and_instructions(folder):
    want = read(run(folder, steps=20, env=dict(OMP_NUM_THREADS="1"))[0])
    got = read(run(folder, steps=20, env=dict(OMP_NUM_THREADS="3"))[0])
    tap.report(not different(got, want), "3 threads write the same bits as 1", different(got, want))
    for isa in ("portable", "avx2", "avx512"):
        try:
            got = read(run(folder, steps=20, env=dict(RESA_ISA=isa))[0])
        except RuntimeError as why:
            good = "does not have it" in str(why)
            tap.report(good, f"the same bits with {isa}" + (" # SKIP this processor does not have it" if good else ""), why)
            continue
        tap.report(not different(got, want), f"the same bits with {isa}", different(got, want))


def test_lanes_do_not_touch_each_other(folder):
    """A lane's values in a batch of few are its values in a batch of many; so are lane 0's."""
    for follow in ("text", "self, temperature: 0.8"):
        many = read(run(folder, steps=20, follow=follow, lanes=LANES if follow == "text" else SELF_LANES)[0])
        few = read(run(folder, steps=20, follow=follow, lanes=FEW_LANES)[0])
        names = [x.decode() for x in few["lane_name"]]
        for name in names:
            a, b = lane_values(many, name), lane_values(few, name)
            if "selected_blocks" in a:  # as many slots as the largest list of the run
                n = min(x["selected_blocks"].shape[-1] for x in (a, b))
                a["selected_blocks"], b["selected_blocks"] = a["selected_blocks"][..., :n], b["selected_blocks"][..., :n]
            bad = [n for n in b if a[n].tobytes() != b[n].tobytes()]
            tap.report(not bad, f"{name} is the same in a smaller batch, {follow.split(',')[0]}", bad)


def test_longer_runs_begin_alike(folder):
    short, long = read(run(folder, steps=20)[0]), read(run(folder, steps=28)[0])
    bad = []
    for name in short:
        if name in long and short[name].ndim > 1 and len(short[name]) == 20 and len(long[name]) == 28 and name != "selected_blocks":
            bad += [name] * (short[name].tobytes() != long[name][:20].tobytes())
    tap.report("k_drift" in short and not bad, "the first 20 of 28 steps are those of a run of 20", bad)


def test_a_user_sees_what_was_multiplied(folder):
    path = run(folder, steps=2, lanes=FEW_LANES)[0]
    with h5py.File(path, "r") as f:
        numbers = f.attrs["numbers"]
    numbers = numbers.decode() if isinstance(numbers, bytes) else numbers
    tap.report("float32" in numbers, "the trace says which numbers were multiplied", numbers)
    info = subprocess.run([RESA, "info", path], text=True, stdout=subprocess.PIPE).stdout
    tap.report(numbers in " ".join(info.split()), "so does `resa info`", info)
    plan = subprocess.run([RESA, "plan", "test.yaml", "device=cpu"], cwd=os.path.join(os.path.dirname(path), "..", "..", ".."), text=True,
                          stdout=subprocess.PIPE).stdout
    tap.report("numbers cpu: " + numbers in plan, "so does `resa plan`", plan)


def test_seeds(folder):
    """The seed reaches the perturbation and the random selector; nothing else."""
    a, b = (read(path) for path in run(folder, steps=12, seeds="[1, 2]"))
    for lane in [x.decode() for x in a["lane_name"]]:
        x, y = lane_values(a, lane), lane_values(b, lane)
        chance = "noise" in lane or "random" in lane
        same = x["resid_err"].tobytes() == y["resid_err"].tobytes()
        tap.report(same != chance, f"{lane} " + ("follows" if chance else "does not follow") + " the seed")


if not os.access(RESA, os.X_OK):
    print(f"1..0 # SKIP {RESA} is not built")
    sys.exit(0)
with tempfile.TemporaryDirectory() as scratch:
    for test in (test_invariants, test_bits_of_threads_and_instructions, test_lanes_do_not_touch_each_other,
                 test_longer_runs_begin_alike, test_a_user_sees_what_was_multiplied, test_seeds):
        try:
            test(scratch)
        except RuntimeError as error:
            tap.report(False, test.__name__.replace("_", " "), error)
tap.done()

#!/usr/bin/python3
"""Lanes of `selector: replay`: they read the blocks that an earlier run recorded, and refuse what is not such a run.

RESA names the program (default: build/resa).  A small synthetic model, a random prompt; prints TAP."""
import glob
import os
import subprocess
import sys
import tempfile

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESA = os.environ.get("RESA", os.path.join(ROOT, "build", "resa"))
try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"1..0 # SKIP python: {missing}")
    sys.exit(0)

HEAD = """name: {name}
device: cpu
model: {{synthetic: {{layers: 3, hidden: 64, heads: 4, kv_heads: 2, vocab: 256, context: 512, seed: {weights}}}}}
prompt: {{random: [{prompt}], tokens: 53}}
decode: {{tokens: {steps}}}
trace: {{metrics: {metrics}}}
"""
DEFAULTS = dict(name="first", weights=3, prompt="1, 2", steps=40, metrics="[drift, cache, attention, mass, logits, parts, heads, selection]")
POLICY = "sparsity: 0.75, block_size: 8, min_blocks: 1"
LANES = [
    "{name: control, sparsity: 0, block_size: 8%s}",
    "{name: clean, " + POLICY + ", cache_of: dense%s}",
    "{name: sparse, " + POLICY + "%s}",
    "{name: resa, " + POLICY + ", interval: 8, dense_until: 5%s}",
    "{name: layers, " + POLICY + ", dense_layers: 1%s}",
]
# What a lane that computes no scores does not have: the bytes of its block keys, and the selector's name.
LEFT_OUT = {"key_read_bytes", "lane_selector", "run_id"}


def resa(folder, lanes, extra="", verb="run", **options):
    options = dict(DEFAULTS, **options)
    with open(os.path.join(folder, options["name"] + ".yaml"), "w") as f:
        f.write(HEAD.format(**options) + extra + "lanes:\n" + "".join(f"  - {lane}\n" for lane in lanes))
    return subprocess.run([RESA, verb, options["name"] + ".yaml"], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def traces(folder, name):
    return sorted(glob.glob(os.path.join(folder, "results", name, "runs", "*.h5")))


def read(path):
    with h5py.File(path, "r") as f:
        return {name: np.asarray(f[name][()]) for name in f if name not in LEFT_OUT}


def differences(a, b):
    out = [n for n in a if n not in b]
    for n in a:
        if n in out:
            continue
        if a[n].dtype == object:
            if a[n].tolist() != b[n].tolist():
                out.append(n)
        elif a[n].tobytes() != b[n].tobytes():
            out.append(n)
    return out


def check_same(folder, given, name="again"):
    done = resa(folder, [lane % ", selector: replay" for lane in LANES], f"replay: {given}\n", name=name)
    tap.report(done.returncode == 0, f"a run replays {given}", done.stdout)
    for first, again in zip(traces(folder, "first"), traces(folder, name)):
        odd = differences(read(first), read(again))
        tap.report(not odd, f"{os.path.basename(first)[:12]}: the same blocks give the same bits", odd)
    tap.report(len(traces(folder, name)) == 2, "every run was replayed", traces(folder, name))


def check_other(folder):
    """Lists are read, not chosen: with other weights a lane still reads the blocks of the trace, which it would not by itself."""
    lane = "{name: sparse, " + POLICY + "%s}"
    for name, extra, given in (("free", "", ""), ("forced", "replay: results/first\n", ", selector: replay")):
        done = resa(folder, [lane % given], extra, name=name, weights=4, prompt="1")
        tap.report(done.returncode == 0, f"other weights, {name}", done.stdout)
    with h5py.File(traces(folder, "first")[0], "r") as f:
        at = list(f["lane_name"].asstr()).index("sparse/s0.75-b8-fnever-m1")
        want = np.asarray(f["selected_blocks"][:, at])
    got = {}
    for name in ("free", "forced"):
        with h5py.File(traces(folder, name)[0], "r") as f:
            got[name] = np.asarray(f["selected_blocks"][:, 1])
    n = got["forced"].shape[-1]
    tap.report((got["forced"] == want[..., :n]).all() and (want[..., n:] == -1).all(), "the blocks of the trace are read")
    tap.report((got["free"] != want[..., :n]).any(), "which are not those that the lane would choose")
    resa(folder, ["{name: sparse, " + POLICY + ", selector: window}"], name="window")
    done = resa(folder, [lane % ", selector: replay"], "replay: results/window\n", name="other")
    tap.report(done.returncode == 2 and "no lane sparse/s0.75-b8-fnever-m1 to replay" in done.stdout, "a lane that the trace lacks is refused by its name",
           done.stdout)


def check_refusals(folder):
    lanes = ["{name: sparse, " + POLICY + ", selector: replay}"]
    first = traces(folder, "first")[0]
    resa(folder, ["{name: sparse, " + POLICY + "}"], name="bare", metrics="[drift]")
    cases = [
        ("no trace is named", "", {}, "a lane has selector: replay"),
        ("the trace is not there", "replay: nowhere.h5\n", {}, "nowhere.h5: no such file"),
        ("the trace has no lists", "replay: results/bare\n", {}, "no block lists to replay"),
        ("the trace is of another prompt", f"replay: {first}\n", {"prompt": "3"}, "no trace that prefills"),
        ("the trace is shorter", "replay: results/first\n", {"steps": 41}, "40 steps; the run to replay it has 41"),
        ("the file is no trace", "replay: first.yaml\n", {}, "first.yaml"),
    ]
    for i, (what, extra, options, said) in enumerate(cases):
        done = resa(folder, lanes, extra, verb="plan", name=f"bad{i}", **options)
        tap.report(done.returncode == 2 and said in done.stdout and f"bad{i}.yaml" in done.stdout, f"refused: {what}", done.stdout)
    done = resa(folder, ["{name: sparse, " + POLICY + "}"], "replay: results/first\n", verb="plan", name="unused")
    tap.report(done.returncode == 2 and "no lane has selector: replay" in done.stdout, "refused: a trace that nobody replays", done.stdout)
    done = resa(folder, ["{name: sparse, sparsity: 0.5, block_size: 8, min_blocks: 1, selector: replay}"], "replay: results/half\n", name="half")
    tap.report(done.returncode == 2, "refused: a folder that is not there", done.stdout)


def check_budget(folder):
    """A lane that reads more by equal_bytes."""
    resa(folder, ["{name: sparse, " + POLICY + ", equal_bytes: 8}"], name="more")
    done = resa(folder, ["{name: sparse, sparsity: 0.75, block_size: 8, min_blocks: 1, equal_bytes: 8, selector: replay}"],
                "replay: results/more\n", name="more_again")
    tap.report(done.returncode == 0, "equal_bytes is replayed", done.stdout)


def main():
    with tempfile.TemporaryDirectory() as folder:
        done = resa(folder, [lane % "" for lane in LANES])
        tap.report(done.returncode == 0, "the first run", done.stdout)
        check_same(folder, "results/first")
        check_same(folder, "results/first/runs", "folder")
        check_other(folder)
        check_refusals(folder)
        check_budget(folder)
    tap.done()


main()

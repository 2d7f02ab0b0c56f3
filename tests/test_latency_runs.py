#!/usr/bin/python3
"""Experiment latency from the config to the report, on a small synthetic model on the CPU.

RESA names the program (default: build/resa).  Numbers are checked against one another and against counts by hand, never against a
clock.  Prints TAP."""
import csv
import fcntl
import glob
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESA = os.environ.get("RESA", os.path.join(ROOT, "build", "resa"))
CONFIG = """name: {name}
experiment: latency
device: {device}
model: {{synthetic: {{layers: 2, hidden: 64, heads: 4, kv_heads: 2, ffn: 64, vocab: 128, context: {context}}}}}
prompt: {{random: 1, tokens: [64, 256]}}
decode: {{tokens: 7}}
batch: [1, 3]
lanes:
  - {{name: sparse, sparsity: 0.75, block_size: 8, min_blocks: 1}}
  - {{name: resa, sparsity: 0.75, block_size: 8, min_blocks: 1, interval: 8}}
"""
LARGE = ["prompt.tokens=1000000", "batch=64", "model.synthetic.layers=512"]  # 128 KiB a token
TIMES = ["step_s", "product_s", "attend_s", "other_s", "read_s"]


def resa(folder, verb, *arguments, **options):
    options = dict(dict(name="times", device="cpu", context=512), **options)
    with open(os.path.join(folder, options["name"] + ".yaml"), "w") as f:
        f.write(CONFIG.format(**options))
    target = f"results/{options['name']}" if verb == "report" else options["name"] + ".yaml"
    return subprocess.run([RESA, verb, target, *arguments], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def rows(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def check_runs(folder):
    done = resa(folder, "run")
    tap.report(done.returncode == 0 and "4 of 4 runs done" in done.stdout, "four runs: two contexts, two batches", done.stdout)
    runs = sorted(glob.glob(os.path.join(folder, "results/times/runs/*.h5")))
    tap.report([os.path.basename(r).split("-")[3] for r in runs] == ["b1", "b3", "b1", "b3"], "a run's name has its batch", runs)
    index = rows(os.path.join(folder, "results/times/index.csv"))
    tap.report(len(index) == 12 and all(float(r["time_per_step"]) > 0 for r in index), "index.csv has a time for every lane", index[:1])
    # K and V of the last step by hand: 2 layers, 2 heads of 16, float32: 512 bytes a token; mean over 7 steps of n + 1 in each layer.
    dense = [r for r in index if r["name"] == "dense" and r["prompt_tokens"] == "64" and r["batch"] == "3"]
    want = 3 * 512 * (68 + 1)
    tap.report(len(dense) == 1 and float(dense[0]["bytes_per_step"]) == want, "the dense lane's bytes are counted", dense)
    done = resa(folder, "run")
    tap.report(done.returncode == 0 and "4 were complete already" in done.stdout, "complete runs are skipped", done.stdout)
    done = subprocess.run([RESA, "info", runs[0]], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    tap.report(done.returncode == 0 and "step_time" in done.stdout and "experiment         latency" in done.stdout, "info shows the trace", done.stdout)


def check_trace(folder):
    """The file's rules: named dimensions, units, fill values, what is there and what is not."""
    try:
        import h5py
        import numpy as np
    except ImportError as missing:
        tap.report(True, f"the trace's rules # SKIP {missing}")
        return
    for path in glob.glob(os.path.join(folder, "results/times/runs/*.h5")):
        with h5py.File(path, "r") as f:
            n = 7 * 3
            good = f.attrs["experiment"] == "latency" and f["batch"][()] == int(path.split("-b")[1][0]) and "batch" in f.attrs["coordinates"]
            for name in ("step", "product", "select", "attend", "other", "rectify", "read"):
                d = f[name + "_time"]
                good = good and [dim[0].name for dim in d.dims] == ["/step", "/lane"] and d.attrs["units"] == "s" and d.attrs["long_name"]
                good = good and d.dtype == np.float32 and np.isnan(d.attrs["_FillValue"]) and d.shape == (7, 3)
                missing = {"select": 7, "rectify": 14}.get(name, 0)  # of the dense lane; of the two that are never rectified
                good = good and np.isnan(d[:]).sum() == missing and (d[:] > 0).sum() == n - missing
            good = good and f["clock"].attrs["units"] == "Hz" and np.isnan(f["clock"][:]).all()
            good = good and (f["context_tokens"][:] == f["prompt_tokens"][()] + 1 + np.arange(7)).all()
            weights = f["step_bytes"][:] - f["kv_read_bytes"][:] - f["key_read_bytes"][:]
            good = good and (weights == weights[0, 0]).all() and weights[0, 0] > 0
        tap.report(good, "the rules of " + os.path.basename(path))


def verdict(row, dense):
    if float(row["token_to_s"]) < float(dense["token_from_s"]):
        return "faster"
    return "slower" if float(row["token_from_s"]) > float(dense["token_to_s"]) else "not distinguishable"


# What is said of the verdicts at the two contexts.
FASTER, SLOWER, OPEN = "faster", "slower", "not distinguishable"
OWN = {
    (FASTER, FASTER): " It is faster than our own dense step at each of them too.",
    (FASTER, SLOWER): " Than our own dense step it is faster at 64, not at 256.",
    (FASTER, OPEN): " Than our own dense step it is faster at 64, not distinguishably at 256.",
    (SLOWER, FASTER): " Than our own dense step it is faster from 256 tokens on, not at 64.",
    (OPEN, FASTER): " Than our own dense step it is faster from 256 tokens on, not distinguishably at 64.",
    (SLOWER, SLOWER): " It is never faster than our own dense step.",
    (SLOWER, OPEN): " It is never distinguishably faster than our own dense step.",
    (OPEN, SLOWER): " It is never distinguishably faster than our own dense step.",
    (OPEN, OPEN): " It is not distinguishable from our own dense step.",
}


def check_report(folder):
    done = resa(folder, "report")
    plots = "has no plots" not in done.stdout
    tap.report(done.returncode == 0 or not plots, "report", done.stdout)
    table = rows(os.path.join(folder, "results/times/tables/latency.csv"))
    key = lambda r: (int(r["batch"]), int(r["context"]))
    tap.report([key(r) for r in table] == sorted(key(r) for r in table) and len(table) == 12, "a row for every lane, batch and context", len(table))
    tap.report(all(float(r[t]) > 0 for r in table for t in TIMES), "every time is there")
    tap.report(all((r["select_s"] == "") == (r["lane"] == "dense") for r in table), "the dense lane selects nothing")
    good = True
    for r in table:
        resa_lane = r["lane"].startswith("resa")
        good = good and (r["rectify_s"] != "") == resa_lane
        want = float(r["step_s"]) + (float(r["rectify_s"]) / 8 if resa_lane else 0)
        dense = next(d for d in table if key(d) == key(r) and d["lane"] == "dense")
        good = good and math.isclose(float(r["token_s"]), want, rel_tol=1e-5)
        good = good and float(r["token_from_s"]) <= float(r["token_s"]) <= float(r["token_to_s"])
        good = good and r["verdict"] == ("" if r is dense else verdict(r, dense))
        good = good and math.isclose(float(r["gain"]), float(dense["token_s"]) / float(r["token_s"]), rel_tol=1e-5)
        own = float(r["attend_s"]) + float(r["select_s"] or 0)
        good = good and math.isclose(float(r["attend_gain"]), float(dense["attend_s"]) / own, rel_tol=1e-5)
        good = good and math.isclose(float(r["read_share"]), float(r["read_s"]) / float(r["step_s"]), rel_tol=1e-5)
    tap.report(good, "a token's time, the gain and the share follow from the times")
    with open(os.path.join(folder, "results/times/report.html")) as f:
        page = f.read()
    tap.report(page.count("Batch ") == 4 and "<table" in page, "a finding for every batch and policy", page.count("Batch "))
    made = [os.path.exists(os.path.join(folder, f"results/times/plots/latency-{n}.svg")) for n in ("token", "parts")]
    tap.report(all(made) if plots else True, "two figures", made)


PEER = "shape,layers,hidden,heads,kv_heads,dim,ffn,vocab,batch,context,attention,ms,torch,cuda,cudnn,gpu,driver,note\n"


def peer_line(batch, context, ms, hidden=64):
    return f"tiny,2,{hidden},4,2,16,64,128,{batch},{context},cudnn,{ms},2.99.0,13.0,9,some gpu,1.2.3,\n"


def check_peer(folder):
    """The strong dense baseline: times made up for the test, of which the report must take those that fit."""
    path = os.path.join(folder, "results/times/peer-step.csv")
    page = lambda: open(os.path.join(folder, "results/times/report.html")).read()
    table = lambda name="latency": rows(os.path.join(folder, f"results/times/tables/{name}.csv"))
    tap.report("no strong dense baseline" in page() and "tests/peer_step.py results/times" in page(), "without the file the report says what is missing", page()[:3000])
    tap.report(all(r["strong_dense_s"] == r["strong_dense_gain"] == "" for r in table()), "and its columns are empty")
    with open(path, "w") as f:  # one fits at 1 x 64, one at 3 x 256, slow enough for everything to be faster; another shape; no memory
        f.write(PEER + peer_line(1, 64, 4000) + peer_line(3, 256, 8e6) + peer_line(3, 64, 1, hidden=128) + peer_line(1, 256, ""))
    done = resa(folder, "report")
    tap.report(done.returncode == 0 or "has no plots" in done.stdout, "report with a peer", done.stdout)
    want = {("1", "64"): 4.0, ("3", "256"): 8000.0}
    good = True
    for r in table():
        peer = want.get((r["batch"], r["context"]))
        good = good and (r["strong_dense_s"] == "") == (peer is None) == (r["strong_dense_gain"] == "")
        if peer:
            good = good and math.isclose(float(r["strong_dense_s"]), peer) and math.isclose(float(r["strong_dense_gain"]), peer / float(r["token_s"]), rel_tol=1e-9)
    tap.report(good, "times stand beside the rows whose shape, batch and context they have, and no others", table())
    resa1 = next(r for r in table() if r["lane"].startswith("resa") and (r["batch"], r["context"]) == ("1", "64"))
    gain = float(resa1["strong_dense_gain"])
    text = f"Batch 1: {resa1['lane']} is faster than the strong dense step from the smallest context timed on (64 tokens); at best {gain:.2f}x, at 64."
    tap.report(text in page() and "PyTorch 2.99.0 on some gpu, driver 1.2.3" in page() and "no strong dense" not in page(), "the findings are against it", (text, page()[:3000]))
    dense = {r["context"]: r for r in table() if r["lane"] == "dense" and r["batch"] == "1"}
    own = [verdict(r, dense[r["context"]]) for r in table() if r["lane"] == resa1["lane"] and r["batch"] == "1"]
    text += OWN[tuple(own)]
    tap.report(text in page(), "and say from where on our own dense step is beaten", (text, own, page()[:3000]))
    tap.report(resa1["verdict"] == "faster", "the table's verdict is against it too", resa1)
    tap.report("the runs on" in page(), "a warning: another machine")
    texts = [open(os.path.join(folder, f"results/times/tables/latency.{kind}")).read() for kind in ("md", "tex")]
    tap.report(all("strong dense" in t for t in texts), "markdown and LaTeX have the columns")
    svg = os.path.join(folder, "results/times/plots/latency-token.svg")
    tap.report("has no plots" in done.stdout or "strong dense" in open(svg).read(), "the plot has its line")
    with open(path, "w") as f:
        f.write(PEER + peer_line(1, 64, "fast") + "tiny,2\n")
    done = resa(folder, "report")
    tap.report("is no number above 0" in page() and "peer-step.csv, line 3" in page() and "no strong dense baseline" in page(), "lines that cannot be read are named", page()[:3000])
    with open(path, "w") as f:
        f.write("shape,layers\n")
    done = resa(folder, "report")
    tap.report(done.returncode != 0 and "no column hidden" in done.stdout, "refused: a file without the columns", done.stdout)
    os.remove(path)


def check_two_reports(folder):
    """While one writes a folder's report, another waits; then both have been written whole."""
    page = os.path.join(folder, "results/times/report.html")
    command = [RESA, "report", "results/times"]
    wanted = resa(folder, "report").returncode
    os.remove(page)
    held = os.open(os.path.dirname(page), os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    waiting = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    tap.report(waiting.poll() is None and not os.path.exists(page), "a report waits for the folder")
    os.close(held)
    tap.report(waiting.wait(timeout=120) == wanted and os.path.exists(page), "and goes on")
    several = [subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
    tap.report([p.wait(timeout=120) for p in several] == [wanted] * 3, "three at once end as one does")


def check_side_by_side(folder):
    """The results beside a copy of themselves, and beside drift, with which times have nothing in common."""
    shutil.copytree(os.path.join(folder, "results/times"), os.path.join(folder, "old/times"))
    with open(os.path.join(folder, "drift.yaml"), "w") as f:
        f.write("name: drift\nexperiment: drift\ndevice: cpu\nprompt: {random: 1, tokens: 16}\ndecode: {tokens: 4}\nlanes: [{name: sparse, block_size: 8, min_blocks: 1}]\n"
                "model: {synthetic: {layers: 1, hidden: 32, heads: 2, kv_heads: 1, ffn: 32, vocab: 64, context: 64}}\n")
    subprocess.run([RESA, "run", "drift.yaml"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = resa(folder, "report", "old/times", "results/drift")
    table = rows(os.path.join(folder, "results/compare-times-old_times/tables/compare.csv"))
    names = sorted({r["results"] for r in table})
    tap.report(names == ["old/times", "times"] and len(table) == 24, "two latency results are compared, each called by its folder", (done.stdout, names))
    tap.report(all(r["first_over_this"] == "1" for r in table), "a copy is as fast as its original", table[:2])
    tap.report("results/drift: compared with nothing: of these folders it alone holds drift runs" in done.stdout, "drift beside them is not", done.stdout)


def check_refusals(folder):
    done = resa(folder, "plan", name="short", context=257)
    tap.report(done.returncode == 2 and "more than the model's context" in done.stdout, "refused: a context the model has not", done.stdout)
    done = resa(folder, "run", *LARGE, name="large", context=1048576)
    tap.report(done.returncode == 1 and "of memory are needed on device cpu" in done.stdout and "are free" in done.stdout,
           "refused before it starts: more memory than there is", done.stdout)
    done = resa(folder, "plan", *LARGE, name="large", context=1048576)
    tap.report(done.returncode == 1 and "of memory are needed on device cpu" in done.stdout and "lanes' own K and V 7.6 TiB" in done.stdout,
           "and the plan says so", done.stdout)
    done = resa(folder, "plan", name="far", device="cuda:99")
    tap.report(done.returncode == 1 and "device: cuda:99" in done.stdout and "memory" in done.stdout, "refused: a device that is not there", done.stdout)
    tap.report("time    not known here, without device cuda:99: " in done.stdout and "GFLOP/s" not in done.stdout, "and no time of another's", done.stdout)
    tap.report(done.stdout.count("64 tokens prefilled") == 1 and done.stdout.count("256 tokens prefilled") == 1,
               "batches share a table of lanes", done.stdout)


def main():
    with tempfile.TemporaryDirectory() as folder:
        check_runs(folder)
        check_trace(folder)
        check_report(folder)
        check_peer(folder)
        check_two_reports(folder)
        check_side_by_side(folder)
        check_refusals(folder)
    tap.done()


main()

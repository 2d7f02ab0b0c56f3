"""tests/bench_devices.c on a tiny model: the CPU beside itself, disturbed."""
import csv
import math
import os
import subprocess
import tempfile

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(os.environ.get("RESA_BUILD", os.path.join(ROOT, "build")), "tests", "bench_devices")

with tempfile.TemporaryDirectory() as folder:
    out = os.path.join(folder, "devices.csv")
    done = subprocess.run([BENCH, os.path.join(ROOT, "configs", "smoke.yaml"), out, "e=8e-4"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    tap.report(done.returncode == 0, "runs beside the CPU end", done.stderr)
    if done.returncode:
        tap.done()
    with open(out, newline="", encoding="utf-8") as table:
        rows = {(r["lane"], r["quantity"]): r for r in csv.DictReader(table)}
k = rows["dense", "k"]
tap.report(0 < float(k["noise"]) < 0.1 and 0 < float(k["everywhere"]) < 0.1, "both disturbances reach K of the dense lane", k)
tap.report(all(math.isfinite(float(r["everywhere"])) for r in rows.values()), "every difference is a number", rows)
tap.done()

"""The engine beside what a user would use instead, in turn on the same machine: PyTorch and llama.cpp (`make bench-peer`).

    python tests/bench_peer.py BENCH_STEP MODEL THREADS ROUNDS TEXT ..

Each round measures the engine (bench_step --samples), then PyTorch (peer_torch.py), then llama.cpp (peer_llama.py), all on the same
tokens; no two at once.  With RESA_ISA=avx2 the engine and PyTorch do without AVX-512.  Printed: medians over all rounds with the least and the most, and ratios as the median of the rounds'
ratios.  A peer that is not there or does not agree is left out, visibly.
"""
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "golden", "logits-smollm2-135m.bin")


class Peer:
    """A script that answers cases; its state says why it is left out."""

    def __init__(self, script, *arguments):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, script), *arguments], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.title = self.process.stdout.readline().strip()
        if not self.title.startswith("ready "):
            error = self.process.communicate()[1].strip().splitlines()
            print(f"SKIP {script}: {error[-1] if error else 'ended'}", flush=True)
            self.process = None
            return
        self.title = self.title.removeprefix("ready ")
        print(f"{script}: {self.title}", flush=True)

    def measure(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            sys.exit(f"bench_peer: {self.title} ended: {self.process.communicate()[1].strip()}")
        return [float(x) for x in answer[1:]]

    def close(self):
        if self.process:
            self.process.communicate()


def engine_samples(bench_step, model, texts):
    out = subprocess.run([bench_step, "--samples", model, *texts], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {line.split()[0]: [float(x) for x in line.split()[1:]] for line in out.splitlines()}


def say(name, rounds):
    """Median, least and most of all samples of a case."""
    ms = [x for r in rounds for x in r]
    if ms:
        print(f"  {name:<58} {statistics.median(ms):10.2f} ms   ({min(ms):.2f} .. {max(ms):.2f})")
    return statistics.median(ms) if ms else None


def compare(goal, ours, theirs, at_least):
    """Theirs over ours, round by round; the goal: at least so many times faster."""
    if not theirs:
        print(f"    {goal}: SKIP, the peer was left out")
        return
    ratios = [statistics.median(b) / statistics.median(a) for a, b in zip(ours, theirs)]
    ratio = statistics.median(ratios)
    word = "reached" if ratio >= at_least else "NOT reached"
    print(f"    {goal}: {ratio:.2f}x as fast ({min(ratios):.2f} .. {max(ratios):.2f} over rounds), {word}")


def main():
    bench_step, model, threads, rounds, texts = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:]
    os.environ["OMP_NUM_THREADS"] = threads
    if os.environ.get("RESA_ISA") == "avx2":  # PyTorch and its libraries too; llama.cpp is what it was built for
        os.environ.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2")
    results = {}
    with tempfile.NamedTemporaryFile("w", suffix=".ids") as ids:
        subprocess.run([bench_step, "--ids", model, *texts], check=True, stdout=ids)
        peers = {"torch": (Peer("peer_torch.py", model, ids.name, GOLDEN, threads), ("dense", "settings", "prefill")),
                 "llama": (Peer("peer_llama.py", model, ids.name, threads), ("dense", "prefill"))}
        for r in range(rounds):
            for case, ms in engine_samples(bench_step, model, texts).items():
                results.setdefault(case, []).append(ms)
            for name, (peer, cases) in peers.items():
                for case in cases if peer.process else ():
                    results.setdefault(f"{name} {case}", []).append(peer.measure(case))
            print(f"round {r + 1} of {rounds} done; load average {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        for peer, _ in peers.values():
            peer.close()
    report(results, threads)


def bounds(results, name):
    fma, read = (statistics.median(r[i] for r in results["bound_" + name]) for i in (0, 1))
    share = max(fma, read) / statistics.median(x for r in results[name] for x in r)
    print(f"    bounds: multiply-adds {fma:.2f} ms, bytes {read:.2f} ms; {100 * share:.0f} % of the nearer one reached")


def report(results, threads):
    get = lambda name: results.get(name, [])
    fma, read = (max(r[i] for r in results["machine"]) for i in (0, 1))
    print(f"SmolLM2-135M, 1,024 tokens prefilled, {threads} threads; machine: {fma:.0f} GFLOP/s, {read:.1f} GB/s; medians (least .. most)")
    print("(a) the dense lane and 16 sparse settings together, untraced")
    ours = say("engine, one step of all 17", get("lanes"))
    say("PyTorch, one dense step", get("torch dense"))
    say("PyTorch, one step of 16 settings in turn", get("torch settings"))
    bounds(results, "lanes")
    print(f"    at most 75 ms: {'reached' if ours <= 75 else 'NOT reached'}")
    compare("less than one PyTorch dense step", get("lanes"), get("torch dense"), 1)
    compare("20x faster than PyTorch's settings in turn", get("lanes"), get("torch settings"), 20)
    print("(b) one dense lane")
    say("engine, one step", get("dense"))
    say("llama.cpp, one step", get("llama dense"))
    bounds(results, "dense")
    compare("no slower than llama.cpp", get("dense"), get("llama dense"), 1)
    print("(c) prefill of 1,024 with the last row's logits")
    say("engine", get("prefill"))
    say("PyTorch", get("torch prefill"))
    say("llama.cpp", get("llama prefill"))
    compare("no slower than PyTorch", get("prefill"), get("torch prefill"), 1)


main()

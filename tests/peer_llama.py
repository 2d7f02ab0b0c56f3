"""llama.cpp beside the engine: dense decode steps and the prefill, the same file, context and threads.

    python tests/peer_llama.py MODEL.gguf IDS THREADS

Says "ready" when the model is loaded, then answers each case named on stdin (dense, prefill: as in peer_torch.py) with a line "case ms ..".
Timing window: Llama.eval, with the last token's logits; nothing is sampled.
"""
import sys
import time

import llama_cpp

PREFIX, STEPS = 1024, 64


def timed(function):
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def main():
    path, ids_path, threads = sys.argv[1:4]
    ids = [int(line) for line in open(ids_path)]
    llm = llama_cpp.Llama(path, n_ctx=2048, n_batch=PREFIX, n_ubatch=512, n_threads=int(threads), n_threads_batch=int(threads), verbose=False)
    llm.eval(ids[:PREFIX])
    print(f"ready llama.cpp of llama-cpp-python {llama_cpp.__version__}", flush=True)

    def prefill():
        llm.reset()
        return [timed(lambda: llm.eval(ids[:PREFIX]))]

    def dense():
        llm.n_tokens = PREFIX  # what was decoded before is dropped by the next eval
        return [timed(lambda: llm.eval(ids[PREFIX + s:PREFIX + s + 1])) for s in range(STEPS)]

    cases = {"dense": dense, "prefill": prefill}
    for line in sys.stdin:
        print(line.strip(), *(f"{ms:.4f}" for ms in cases[line.strip()]()), flush=True)


main()

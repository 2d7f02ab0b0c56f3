#!/usr/bin/env python3
"""peer_step.py FOLDER: the strong dense baseline: a decode step of the same shapes in PyTorch, cuDNN attention, one CUDA graph.

Layers as a good PyTorch program has them: fused qkv and gate+up, fp16, RMSNorm and SwiGLU compiled, the new K and V written into a
preallocated cache, scaled_dot_product_attention with grouped queries on its cuDNN or best other back end.  Weights of all layers are
distinct, so every replay reads them from memory.  Medians of device times by events around graph replays, like bench_gpu's.
Writes FOLDER/peer-step.csv, which `resa report FOLDER` sets beside the steps of experiment latency where layers, hidden .. vocab, batch and
context are the same; prints SKIP where PyTorch or a device is missing.
"""
import csv
import statistics
import subprocess
import sys

SHAPES = {
    "7B": dict(layers=28, hidden=3584, heads=28, kv_heads=4, dim=128, ffn=18944, vocab=152064),
    "1.5B": dict(layers=28, hidden=1536, heads=12, kv_heads=2, dim=128, ffn=8960, vocab=151936),
}
CASES = {  # (batch, context)
    "7B": [(1, 4096), (1, 16384), (1, 65536), (1, 131072), (1, 262144), (8, 4096), (8, 16384), (8, 65536), (8, 131072), (6, 262144)],
    "1.5B": [(1, 4096), (1, 16384), (1, 65536), (1, 131072), (1, 262144), (8, 4096), (8, 16384), (8, 65536), (8, 131072), (8, 262144)],
}
REPLAYS = 22
BACKENDS = ["CUDNN_ATTENTION", "FLASH_ATTENTION"]  # the second where the first refuses


def make_model(torch, shape):
    """Weights of every layer, fp16, of the size that keeps activations near 1."""
    def matrix(n_out, n_in):
        return torch.randn(n_out, n_in, device="cuda", dtype=torch.float16).mul_((1.0 / n_in) ** 0.5)

    s, q = shape, shape["heads"] * shape["dim"]
    kv = s["kv_heads"] * s["dim"]
    layers = [dict(qkv=matrix(q + 2 * kv, s["hidden"]), bias=torch.zeros(q + 2 * kv, device="cuda", dtype=torch.float16),
                   o=matrix(s["hidden"], q), up=matrix(2 * s["ffn"], s["hidden"]), down=matrix(s["hidden"], s["ffn"]),
                   norm=torch.ones(2, s["hidden"], device="cuda", dtype=torch.float16)) for _ in range(s["layers"])]
    return dict(layers=layers, head=matrix(s["vocab"], s["hidden"]),
                norm=torch.ones(s["hidden"], device="cuda", dtype=torch.float16))


def make_step(torch, shape, model, batch, context, backend):
    """The step as a function of nothing, over its own caches; the last position of every sequence is written."""
    functional = torch.nn.functional
    s, dim = shape, shape["dim"]
    q_size, kv_size = s["heads"] * dim, s["kv_heads"] * dim
    cache = [[torch.randn(batch, s["kv_heads"], context, dim, device="cuda", dtype=torch.float16) for _ in range(2)]
             for _ in range(s["layers"])]
    token = torch.zeros(batch, dtype=torch.long, device="cuda")
    angle = torch.outer(torch.tensor([context - 1.0], device="cuda"), 1e4 ** (-torch.arange(0, dim, 2, device="cuda") / dim))
    cos, sin = (f(angle).repeat(1, 2).half() for f in (torch.cos, torch.sin))

    @torch.compile(dynamic=False)
    def norm(x, weight):
        y = x.float()
        return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6)).half() * weight

    @torch.compile(dynamic=False)
    def rotate(x):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat((-b, a), -1) * sin

    @torch.compile(dynamic=False)
    def swiglu(x):
        gate, up = x.chunk(2, -1)
        return functional.silu(gate) * up

    def step():
        x = model["head"][token]
        for layer, (k_cache, v_cache) in zip(model["layers"], cache):
            qkv = functional.linear(norm(x, layer["norm"][0]), layer["qkv"], layer["bias"])
            q, k, v = qkv.split([q_size, kv_size, kv_size], -1)
            q = rotate(q.view(batch, s["heads"], dim))
            k_cache[:, :, -1] = rotate(k.view(batch, s["kv_heads"], dim))
            v_cache[:, :, -1] = v.view(batch, s["kv_heads"], dim)
            with torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, backend)):
                out = functional.scaled_dot_product_attention(q[:, :, None], k_cache, v_cache, enable_gqa=True)
            x = x + functional.linear(out.reshape(batch, q_size), layer["o"])
            x = x + functional.linear(swiglu(functional.linear(norm(x, layer["norm"][1]), layer["up"])), layer["down"])
        return functional.linear(norm(x, model["norm"]), model["head"])

    return step


def time_step(torch, step):
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.no_grad():
        for _ in range(3):
            step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            out = step()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 3)]
        events[0].record()
        for event in events[1:]:
            graph.replay()
            event.record()
        torch.cuda.synchronize()
        if not torch.isfinite(out).all():
            raise RuntimeError("a logit is not finite")
        return sorted(a.elapsed_time(b) for a, b in zip(events[2:-1], events[3:]))


def driver_version():
    """Of the NVIDIA driver; empty where its tool does not say."""
    try:
        text = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], text=True, capture_output=True, check=True).stdout
        return text.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def write_rows(folder, rows):
    with open(f"{folder}/peer-step.csv", "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main():
    folder = sys.argv[1]
    try:
        import torch
        if not torch.cuda.is_available():
            raise ImportError("no CUDA device")
    except ImportError as error:
        print(f"SKIP peer_step: {error}")
        return 0
    made_by = dict(torch=torch.__version__, cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(), gpu=torch.cuda.get_device_name().replace(",", ";"),
                   driver=driver_version())
    rows = []
    for name, shape in SHAPES.items():
        model = make_model(torch, shape)
        for batch, context in CASES[name]:
            row = dict(shape=name, **shape, batch=batch, context=context, attention="", ms="", **made_by, note="")
            torch._dynamo.reset()  # it compiles for so many shapes only
            for backend in BACKENDS:
                try:
                    times = time_step(torch, make_step(torch, shape, model, batch, context, backend))
                    row.update(attention=backend.split("_")[0].lower(), ms=f"{statistics.median(times):.3f}")
                    break
                except RuntimeError as error:  # it refuses the shape, or there is no memory
                    row["note"] += f"{backend.split('_')[0].lower()}: " + str(error).splitlines()[0][:80].replace(",", ";") + " "
            torch.cuda.empty_cache()
            rows.append(row)
            write_rows(folder, rows)  # as it grows: whoever stops it keeps what was timed
            print(f"{name} b{batch} {context} {row['attention']}: {row['ms']} ms {row['note']}", flush=True)
        del model
        torch.cuda.empty_cache()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a user would write instead: SmolLM2 in plain PyTorch, float32, one setting after another, batch 1.

    python tests/peer_torch.py MODEL.gguf IDS GOLDEN THREADS

IDS: a file of token ids: the first 1,024 are prefilled, the rest is decoded.  Says "ready" when the model is loaded and its logits
agree with GOLDEN (tests/golden/README.md), then answers each case named on stdin with a line "case ms ..":

    dense      steps of one dense lane
    settings   one step of 16 sparse settings (sparsity 0.9, block 16, at least 4 blocks), one setting after another, summed
    prefill    all 1,024 tokens at once, with the last row's logits

The linear layers are F.linear over float32 weights (q, k, v in one, gate and up in one), caches are allocated once.
"""
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from gguf import GGUFReader
from gguf.quants import dequantize

PREFIX, STEPS, SETTINGS, SETTING_STEPS = 1024, 24, 16, 4
BLOCK, ACTIVE, MIN_BLOCKS = 16, 0.1, 4


def halves(weight, n_heads):
    """GGUF stores q and k of this family for rotation by adjacent pairs; back to rotation by halves."""
    rows, columns = weight.shape
    return weight.reshape(n_heads, rows // n_heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        key = lambda name: reader.fields["llama." + name].contents()
        self.n_heads, self.n_kv = key("attention.head_count"), key("attention.head_count_kv")
        self.eps, base, n_layers = key("attention.layer_norm_rms_epsilon"), key("rope.freq_base"), key("block_count")
        w = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).astype(np.float32)) for t in reader.tensors}
        get = lambda i, name: w[f"blk.{i}.{name}.weight"]
        self.embedding, self.final_norm = w["token_embd.weight"], w["output_norm.weight"]
        self.layers = [{
            "attn_norm": get(i, "attn_norm"), "ffn_norm": get(i, "ffn_norm"), "o": get(i, "attn_output"), "down": get(i, "ffn_down"),
            "qkv": torch.cat([halves(get(i, "attn_q"), self.n_heads), halves(get(i, "attn_k"), self.n_kv), get(i, "attn_v")]),
            "gate_up": torch.cat([get(i, "ffn_gate"), get(i, "ffn_up")]),
        } for i in range(n_layers)]
        self.dim = self.layers[0]["o"].shape[1] // self.n_heads
        self.group = self.n_heads // self.n_kv
        self.frequency = base ** (-torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)

    def norm(self, x, weight):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * weight

    def forward(self, ids, cache, attend):
        """Logits of the last of ids, which follow the cache's tokens."""
        n = len(ids)
        angles = torch.arange(cache.n, cache.n + n)[:, None] * self.frequency
        cos, sin = angles.cos().float(), angles.sin().float()
        x = self.embedding[ids]
        for i, l in enumerate(self.layers):
            qkv = F.linear(self.norm(x, l["attn_norm"]), l["qkv"]).view(n, -1, self.dim).transpose(0, 1)
            qk, v = qkv[:self.n_heads + self.n_kv], qkv[self.n_heads + self.n_kv:]
            a, b = qk.chunk(2, -1)
            qk = torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
            cache.k[i, :, cache.n:cache.n + n] = qk[self.n_heads:]
            cache.v[i, :, cache.n:cache.n + n] = v
            out = attend(cache, i, qk[:self.n_heads], cache.n + n)
            x = x + F.linear(out.transpose(0, 1).reshape(n, -1), l["o"])
            gate, up = F.linear(self.norm(x, l["ffn_norm"]), l["gate_up"]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, l["down"])
        cache.n += n
        return F.linear(self.norm(x[-1:], self.final_norm), self.embedding)[0]

    def causal(self, cache, layer, q, n):
        """Many rows from position 0 on."""
        k, v = (x[layer, :, :n].repeat_interleave(self.group, 0) for x in (cache.k, cache.v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def dense(self, cache, layer, q, n):
        return self.attend_one(q, cache.k[layer, :, :n], cache.v[layer, :, :n])

    def attend_one(self, q, k, v, mask=None):
        """One row: q [heads, 1, dim]; k, v [kv_heads, tokens, dim]."""
        score = q.view(self.n_kv, self.group, self.dim) @ k.transpose(1, 2) * self.dim ** -0.5
        if mask is not None:
            score = score.masked_fill(mask[:, None], float("-inf"))
        return (score.softmax(-1) @ v).view(self.n_heads, 1, self.dim)

    def sparse(self, cache, layer, q, n):
        """Quest's bound over min and max of each block, the best blocks of each KV head gathered and attended to."""
        cache.fold(layer, n)
        n_blocks = -(-n // BLOCK)
        pooled = q.view(self.n_kv, self.group, self.dim).mean(1) * self.dim ** -0.5
        low, high = cache.low[layer, :, :n_blocks], cache.high[layer, :, :n_blocks]
        score = torch.maximum(pooled[:, None] * low, pooled[:, None] * high).sum(-1)
        score[:, -1] = float("inf")  # the newest block is always read
        blocks = score.topk(max(-int(-n_blocks * ACTIVE // 1), min(MIN_BLOCKS, n_blocks)), -1).indices
        tokens = (blocks[:, :, None] * BLOCK + torch.arange(BLOCK)).flatten(1)
        index = tokens[:, :, None].expand(-1, -1, self.dim)
        return self.attend_one(q, cache.k[layer].gather(1, index), cache.v[layer].gather(1, index), tokens >= n)


class Cache:
    def __init__(self, model, max_tokens, other=None):
        shape = (len(model.layers), model.n_kv, -(-max_tokens // BLOCK) * BLOCK, model.dim)
        self.k, self.v = torch.zeros(shape), torch.zeros(shape)
        self.n = 0
        if other:
            self.n, n = other.n, other.n // BLOCK
            self.k[:, :, :self.n], self.v[:, :, :self.n] = other.k[:, :, :self.n], other.v[:, :, :self.n]
            whole = self.k[:, :, :n * BLOCK].unflatten(2, (n, BLOCK))
            self.low = torch.full((shape[0], shape[1], shape[2] // BLOCK, shape[3]), float("inf"))
            self.high = -self.low
            self.low[:, :, :n], self.high[:, :, :n] = whole.amin(3), whole.amax(3)

    def fold(self, layer, n):
        """The key of position n - 1 into its block's bounds."""
        block, k = (n - 1) // BLOCK, self.k[layer, :, n - 1]
        self.low[layer, :, block] = torch.minimum(self.low[layer, :, block], k)
        self.high[layer, :, block] = torch.maximum(self.high[layer, :, block], k)


def check(model, path):
    """As far off as tests/test_model_logits.c allows, with its reason."""
    data = open(path, "rb").read()
    n, _, n_kept = (int(x) for x in np.frombuffer(data, "<u4", 3, 8))
    parts = np.frombuffer(data, "<i4", offset=20)
    ids, kept = torch.from_numpy(parts[:n].astype(np.int64)), parts[n:n + n_kept]
    largest = np.frombuffer(data, "<f4", n, 20 + 4 * (n + n_kept + n))
    logits = np.frombuffer(data, "<f4", n * n_kept, 20 + 4 * (n + n_kept + 2 * n)).reshape(n, n_kept)
    cache, prefill, worst = Cache(model, n), n - 4, 0
    for p in range(prefill - 1, n):  # most at once, then one by one
        step = p >= prefill
        got = model.forward(ids[p:p + 1] if step else ids[:prefill], cache, model.dense if step else model.causal).numpy()
        worst = max(worst, np.abs(got[kept] - logits[p]).max() / largest[p])
    if not worst <= 1e-4:
        sys.exit(f"peer_torch: logits are {worst:.2g} off the golden's, 1e-4 is allowed: not the same computation")
    # A setting that selects every block is the dense lane, whose logits it must have.
    global ACTIVE
    ACTIVE, keep = 1.0, ACTIVE
    a, b = Cache(model, n + 1, cache), Cache(model, n + 1, cache)
    one, other = model.forward(ids[:1], a, model.dense), model.forward(ids[:1], b, model.sparse)
    ACTIVE = keep
    apart = ((one - other).abs().max() / one.abs().max()).item()
    if not apart <= 1e-4:
        sys.exit(f"peer_torch: the sparse path with every block is {apart:.2g} off the dense one, 1e-4 is allowed")
    return worst


def timed(function):
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def main():
    path, ids_path, golden, threads = sys.argv[1:5]
    torch.set_num_threads(int(threads))
    torch.set_grad_enabled(False)
    model = Model(path)
    ids = torch.tensor([int(line) for line in open(ids_path)])
    worst = check(model, golden)
    prefix = Cache(model, PREFIX + STEPS)
    model.forward(ids[:PREFIX], prefix, model.causal)
    print(f"ready PyTorch {torch.__version__}, logits {worst:.1e} off the golden's", flush=True)

    def steps(attend, n):
        cache = Cache(model, PREFIX + STEPS, prefix)
        return [timed(lambda: model.forward(ids[PREFIX + s:PREFIX + s + 1], cache, attend)) for s in range(n)]

    def settings():
        each = [steps(model.sparse, SETTING_STEPS) for _ in range(SETTINGS)]
        return [sum(setting[s] for setting in each) for s in range(SETTING_STEPS)]

    cases = {"dense": lambda: steps(model.dense, STEPS), "settings": settings,
             "prefill": lambda: [timed(lambda: model.forward(ids[:PREFIX], Cache(model, PREFIX), model.causal))]}
    for line in sys.stdin:
        print(line.strip(), *(f"{ms:.4f}" for ms in cases[line.strip()]()), flush=True)


main()

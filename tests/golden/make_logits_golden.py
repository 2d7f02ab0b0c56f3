"""Makes tests/golden/tiny-*/ (tiny random checkpoints) and tests/golden/logits-*.bin (their logits, and SmolLM2's).

    python3 -m venv VENV
    VENV/bin/pip install torch==2.15.0 transformers==5.23.0 accelerate==1.15.0 gguf==0.19.0 safetensors==0.8.0 numpy
    VENV/bin/python tests/golden/make_logits_golden.py tests/golden                  # the tiny models
    VENV/bin/python tests/golden/make_logits_golden.py tests/golden smollm2-135m.gguf  # SmolLM2 alone

Logits are those of transformers in float32 (eager attention), 64 positions of one sequence.  README.md has the format.
"""
import json
import os
import struct
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

N_POSITIONS, VOCAB = 64, 96

# The keys of config.json, as published checkpoints write them: the rope settings in the older form (rope_theta,
# rope_scaling) and in the newer one (rope_parameters).
BASE = {"hidden_act": "silu", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": VOCAB,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "torch_dtype": "float32"}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "mlp_bias": False}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "use_sliding_window": False,
         "sliding_window": 32, "max_window_layers": 2}
QWEN3 = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "use_sliding_window": False,
         "attention_bias": False, "sliding_window": None}
MODELS = {
    "tiny-llama": LLAMA | {"hidden_size": 64, "intermediate_size": 96, "num_key_value_heads": 1, "head_dim": None,
                           "rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": True,
                           "torch_dtype": "float16"},
    "tiny-llama3": LLAMA | {"rope_theta": 500.0, "rope_scaling": {
        "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}},
    "tiny-linear": LLAMA | {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "tiny-yarn": LLAMA | {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64,
        "beta_fast": 4.0, "beta_slow": 0.5}},
    "tiny-qwen2": QWEN2 | {"head_dim": None, "hidden_size": 64, "intermediate_size": 96, "torch_dtype": "bfloat16",
                           "rope_theta": 1e6},
    "tiny-qwen3": QWEN3 | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
}
SHARDED = {"tiny-qwen2"}


def random_weight(rng, name, shape):
    x = torch.from_numpy(rng.standard_normal(tuple(shape)).astype(np.float32))
    if name.endswith("norm.weight"):
        return 1 + 0.2 * x
    return 0.5 * x if name.endswith(".bias") else x / shape[-1] ** 0.5


def make_tiny(folder, name, settings, rng):
    config = {k: v for k, v in (BASE | settings).items() if v is not None or k == "rope_scaling"}
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/config.json", "w") as out:
        json.dump(config, out, indent=2)
        out.write("\n")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    dtype = getattr(torch, config["torch_dtype"])
    weights = {k: random_weight(rng, k, v.shape).to(dtype) for k, v in model.state_dict().items()
               if not (k == "lm_head.weight" and config["tie_word_embeddings"])}
    if name not in SHARDED:
        save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
        return
    names, where = sorted(weights), {}
    for i, part in enumerate((names[:len(names) // 2], names[len(names) // 2:])):
        file = f"model-{i + 1:05d}-of-00002.safetensors"
        save_file({k: weights[k] for k in part}, f"{folder}/{file}", metadata={"format": "pt"})
        where |= {k: file for k in part}
    with open(f"{folder}/model.safetensors.index.json", "w") as out:
        json.dump({"metadata": {"total_size": sum(w.nbytes for w in weights.values())}, "weight_map": where}, out)


def logits_of(model, ids):
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0].float().numpy()


def write_golden(path, ids, logits, kept):
    with open(path, "wb") as out:
        out.write(struct.pack("<8sIII", b"LOGITS1\0", len(ids), logits.shape[1], len(kept)))
        out.write(np.array(ids, "<i4").tobytes() + np.array(kept, "<i4").tobytes())
        out.write(logits.argmax(1).astype("<i4").tobytes() + np.abs(logits).max(1).astype("<f4").tobytes())
        out.write(np.ascontiguousarray(logits[:, kept]).astype("<f4").tobytes())


def main():
    where, gguf_file = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    torch.set_num_threads(2)
    arguments = {"dtype": torch.float32, "attn_implementation": "eager"}
    if gguf_file:
        folder, file = os.path.split(os.path.abspath(gguf_file))
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, **arguments)
        ids = np.random.default_rng(135).integers(3, model.config.vocab_size, N_POSITIONS).tolist()
        logits = logits_of(model, ids)
        write_golden(f"{where}/logits-smollm2-135m.bin", ids, logits, list(range(0, logits.shape[1], 97)))
        return
    for number, (name, settings) in enumerate(MODELS.items()):
        rng = np.random.default_rng(number)
        make_tiny(f"{where}/{name}", name, settings, rng)
        model, info = AutoModelForCausalLM.from_pretrained(f"{where}/{name}", output_loading_info=True, **arguments)
        assert not info["missing_keys"] and not info["unexpected_keys"], info
        ids = rng.integers(0, VOCAB, N_POSITIONS).tolist()
        write_golden(f"{where}/logits-{name}.bin", ids, logits_of(model, ids), list(range(VOCAB)))


main()

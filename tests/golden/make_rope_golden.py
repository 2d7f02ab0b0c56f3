"""Makes tests/golden/rope.txt: rotary frequencies as transformers computes them (float32), for every kind of scaling.

    python3 -m venv VENV; VENV/bin/pip install torch==2.15.0 transformers==5.23.0
    VENV/bin/python tests/golden/make_rope_golden.py > tests/golden/rope.txt

A line: name, head_dim, attention factor, then head_dim / 2 frequencies.  The settings are repeated in test_model.c.
"""
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

# name: head_dim, context, rope parameters
CASES = {
    "linear": (128, 16384, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 8.0}),
    "llama3": (64, 131072, {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    "llama3-8b": (128, 131072, {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    "yarn": (128, 131072, {"rope_type": "yarn", "rope_theta": 1000000.0, "factor": 4.0,
                           "original_max_position_embeddings": 32768}),
    "yarn-mscale": (64, 163840, {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 40.0, "beta_fast": 32.0,
                                 "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 0.5,
                                 "original_max_position_embeddings": 4096}),
    "yarn-given": (64, 8192, {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0, "beta_fast": 16.0,
                              "beta_slow": 2.0, "attention_factor": 1.5, "original_max_position_embeddings": 4096}),
}

for name, (head_dim, context, parameters) in CASES.items():
    config = LlamaConfig(hidden_size=4 * head_dim, num_attention_heads=4, head_dim=head_dim,
                         max_position_embeddings=context, rope_parameters=parameters)
    frequencies, attention = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu")
    print(name, head_dim, repr(float(attention)), *[f"{x:.9g}" for x in frequencies.tolist()])

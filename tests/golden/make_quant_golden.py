"""Makes tests/golden/quant.bin: random packed rows of every tensor type and what the `gguf` package decodes them to.

    pip install gguf==0.19.0 numpy
    python3 tests/golden/make_quant_golden.py tests/golden/quant.bin

A record, little-endian: name (8 bytes, zero-padded), u32 n_cols, u32 n_bytes, the packed row, f32 [n_cols].
"""
import struct
import sys

import gguf
import numpy as np

# type: offsets of the f16 fields of a block, which must be finite
TYPES = {"F32": [], "F16": [], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
         "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
N_COLS = 512


def packed_row(rng, name, fields):
    kind = gguf.GGMLQuantizationType[name]
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if name in ("F32", "F16", "BF16"):
        x = rng.standard_normal(N_COLS).astype(np.float32)
        x[:4] = [0.0, 1e-7, -3e-6, 60000.0]
        if name == "F16":
            return x.astype(np.float16).view(np.uint8)
        return x.view(np.uint8) if name == "F32" else (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    raw = rng.integers(0, 256, (N_COLS // block, block_bytes), dtype=np.uint8)
    for at in fields:
        scale = rng.standard_normal(len(raw)) * 10.0 ** rng.uniform(-7, 4, len(raw))  # subnormals of f16 too
        raw[:, at:at + 2] = scale.astype(np.float16).reshape(-1, 1).view(np.uint8)
    return raw.reshape(-1)


def main():
    rng = np.random.default_rng(20240607)
    with open(sys.argv[1], "wb") as out:
        for name, fields in TYPES.items():
            row = packed_row(rng, name, fields)
            view = {"F32": np.float32, "F16": np.float16}.get(name, np.uint8)
            want = gguf.quants.dequantize(row.view(view), gguf.GGMLQuantizationType[name]).astype("<f4")
            assert want.size == N_COLS and np.isfinite(want).all()
            out.write(struct.pack("<8sII", name.encode(), N_COLS, row.nbytes) + row.tobytes() + want.tobytes())


main()

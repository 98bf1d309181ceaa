"""Writes math_torch.json: what torch answers where it alone defines the result. Run it with torch installed.

python tests/kernels/record_math_torch.py
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import torch

FLOATS = [0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.1, -0.3, 5.5, 7.0, float("inf"), -float("inf"), float("nan"), 1e-30, 1e5]
INTEGERS = [0, 1, -1, 2, -2, 3, -3, 7, -7, 10, 31, 33, 2**31 - 1, -(2**31)]
CASTS = [0.0, -0.0, 2.7, -2.7, 3e9, -3e9, 1e10, 1e20, -1e20, 2147483520.0, -2147483648.0, float("inf"), float("nan")]
FLOAT_TWO = ["pow", "atan2", "maximum", "minimum", "fmod", "remainder", "floor_divide"]
INTEGER_TWO = ["floor_divide", "remainder", "fmod", "pow", "maximum", "minimum"]
ONE = ["sign", "exp", "log", "log1p", "expm1", "tanh", "erf", "erfc", "rsqrt", "asin", "acosh", "atanh"]
ONE += ["round", "floor"]


def encode(values: torch.Tensor) -> list[Any]:
    """Floats as hexadecimal text, so that nan, infinities and signs of zero survive."""
    return [v.hex() if isinstance(v, float) else v for v in values.tolist()]


def record() -> dict[str, Any]:
    data: dict[str, Any] = {"torch": torch.__version__}
    for suffix, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        x, y = (torch.tensor(v, dtype=dtype) for v in zip(*product(FLOATS, FLOATS), strict=True))
        data[f"arguments_{suffix}"] = [encode(x), encode(y)]
        for name in FLOAT_TWO:
            data[f"{name}_{suffix}"] = encode(getattr(torch, name)(x, y))
        one = torch.tensor(FLOATS, dtype=dtype)
        data[f"one_{suffix}"] = encode(one)
        for name in ONE:
            data[f"{name}_{suffix}"] = encode(getattr(torch, name)(one))
        casts = torch.tensor(CASTS, dtype=dtype)
        data[f"casts_{suffix}"] = encode(casts)
        for name, target in (("to_i32", torch.int32), ("to_i64", torch.int64)):
            data[f"{name}_{suffix}"] = casts.to(target).tolist()
    for suffix, dtype in (("i32", torch.int32), ("i64", torch.int64)):
        # torch itself dies of SIGFPE at the smallest integer modulo -1
        pairs = [(a, b) for a, b in product(INTEGERS, INTEGERS) if b != 0 and not (a == -(2**31) and b == -1)]
        x, y = (torch.tensor(v, dtype=dtype) for v in zip(*pairs, strict=True))
        data[f"arguments_{suffix}"] = [x.tolist(), y.tolist()]
        for name in INTEGER_TWO:
            data[f"{name}_{suffix}"] = getattr(torch, name)(x, y).tolist()
        data[f"trunc_divide_{suffix}"] = torch.div(x, y, rounding_mode="trunc").tolist()
    return data


if __name__ == "__main__":
    text = json.dumps(record(), separators=(",", ":")).replace('],"', '],\n"')
    (Path(__file__).parent / "math_torch.json").write_text(text + "\n", encoding="utf-8")

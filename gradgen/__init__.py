"""gradgen: a Python function over tensors goes in; C with forward, backward and zero_grad comes out.

The names are PyTorch's: `import gradgen as torch` runs autograd code as it is.  What is gradgen's own: `trace`, `spec`,
`build`, `emit`, `jit`, `from_sympy`.
"""

from __future__ import annotations

import importlib
from typing import Any

from gradgen._hidden import show_through as _show_through
from gradgen.collector import collector_paused as _collector_paused

with _collector_paused(kept=True):  # to look through SymPy and all of this several times takes 0.1 s
    from gradgen import autograd
    from gradgen import show as _show
    from gradgen.eager import engine as _engine  # loaded now: the first look should not wait for imports
    from gradgen.eager import namespace as _namespace

from gradgen.eager.device import contiguous_format, device, preserve_format, strided
from gradgen.eager.dtype_info import finfo, iinfo, promote_types, result_type
from gradgen.eager.generators import Generator, default_generator, initial_seed, manual_seed, seed
from gradgen.eager.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from gradgen.eager.printing import get_printoptions, printoptions, set_printoptions
from gradgen.eager.tensor import Tensor
from gradgen.errors import GradgenError
from gradgen.ir.dtypes import DType as dtype
from gradgen.ir.dtypes import bool_ as bool
from gradgen.ir.dtypes import float32, float64, int32, int64
from gradgen.ops.size import Size

globals().update(_namespace.functions())
from gradgen.eager.creation import range_ as range  # noqa: E402
from gradgen.ops.table import FUNCTIONS as _FUNCTIONS  # noqa: E402

float = float32
double = float64
int = int32
long = int64

from math import e, inf, nan, pi  # noqa: E402

from gradgen.api import build, emit, jit, scan  # noqa: E402  `build` the function stands before the package of that name
from gradgen.record.dimensions import dim  # noqa: E402
from gradgen.record.traced import TracedFunction  # noqa: E402  trace(matrix) is PyTorch's, too
from gradgen.show import bill, show  # noqa: E402  likewise before its module
from gradgen.target import Target  # noqa: E402
from gradgen.trace.tracing import spec, trace  # noqa: E402  trace(matrix) is PyTorch's, too

_show_through("gradgen.build", build)
_show_through("gradgen.trace", trace)

_LAZY = {
    "nn": "gradgen.nn", "optim": "gradgen.optim", "func": "gradgen.func", "linalg": "gradgen.linalg",
    "special": "gradgen.special", "utils": "gradgen.utils", "random": "gradgen.random",
}
_OWN = {
    "check": "gradgen.checking", "from_sympy": "gradgen.importers.from_sympy",
    "from_onnx": "gradgen.importers.from_onnx", "from_torch": "gradgen.importers.from_torch",
    "from_jax": "gradgen.importers.from_jax", "to_onnx": "gradgen.exporters.to_onnx",
    "save": "gradgen.serialization", "load": "gradgen.serialization", "vmap": "gradgen.func",
    "get_rng_state": "gradgen.random", "set_rng_state": "gradgen.random",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(_LAZY[name])
    if name in _OWN:
        return getattr(importlib.import_module(_OWN[name]), name)
    from gradgen.eager.absent import hint

    raise AttributeError(f"module 'gradgen' has no attribute {name!r}{hint(name)}")

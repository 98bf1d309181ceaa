"""Element types, a record each: C, NumPy, literals, precision, arithmetic; and promotion.

Promotion follows PyTorch's lattice over categories (bool < integer < floating), as documented at
"Tensor Attributes: torch.dtype"; the part about Python scalars and 0-d tensors lives in the front end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """One element type; a record is the type itself.

    name      PyTorch's
    ctype     what C calls it
    suffix    of names in C: gg_exp_f32
    numpy     NumPy's, of the same bytes
    category  0 bool, 1 integer, 2 floating
    digits    of a floating type: bits of the significand
    least     of a floating type: its smallest normal number is 2 to this power
    letter    of a floating type: behind literals and functions of <math.h>
    step      of a floating type: of central differences in a self-test; and `slack`, what these may be off by relative to
              the derivative, beside their rounding
    wider     of a storage type: the type that its values are computed in, one rounding for each operation of the graph;
              None: the type itself
    """

    name: str
    ctype: str
    suffix: str
    numpy: np.dtype
    category: int
    digits: int = 0
    least: int = 0
    letter: str = ""
    step: float = 0.0
    slack: float = 0.0
    wider: DType | None = None

    @property
    def itemsize(self) -> int:
        return self.numpy.itemsize

    @property
    def compute(self) -> DType:
        return self.wider or self

    @property
    def is_floating_point(self) -> bool:
        return self.category == 2

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.category > 0

    def __repr__(self) -> str:  # what torch prints: the user may have imported gradgen as torch
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple:
        return (dtype, (self.name,))


ALL: list[DType] = []
_BY_NAME: dict[str, DType] = {}


def add(made: DType, *aliases: str) -> DType:
    """Enters a type in the table.  ValueError where its record has a hole, or something in it is another type's."""
    holes = [] if made.category < 2 else [f for f in ("digits", "least", "step", "slack") if not getattr(made, f)]
    taken = [f for f in ("name", "ctype", "suffix") if getattr(made, f) in ("", *(getattr(d, f) for d in ALL))]
    if holes or taken:
        raise ValueError(f"the record of {made.name!r} lacks a {' and a '.join([*holes, *taken])} of its own")
    ALL.append(made)
    _BY_NAME.update(dict.fromkeys((made.name, *aliases), made))
    return made


bool_ = add(DType("bool", "uint8_t", "b8", np.dtype(np.bool_), 0))
int32 = add(DType("int32", "int32_t", "i32", np.dtype(np.int32), 1), "int")
int64 = add(DType("int64", "int64_t", "i64", np.dtype(np.int64), 1), "long")
float32 = add(DType("float32", "float", "f32", np.dtype(np.float32), 2, 24, -126, "f", 2.0**-6, 1e-3), "float")
float64 = add(DType("float64", "double", "f64", np.dtype(np.float64), 2, 53, -1022, "", 2.0**-14, 1e-7), "double")

INDEX = int64
"""Of positions, counters and seeds, and of whole numbers that meet no other type."""
SMALL_INDEX = int32
"""Of tables of positions that fit in it."""
FLOAT = float32
"""Of fractions that meet no other type."""
REFERENCE = float64
"""In which interpreters sum, and finite differences are taken."""


def dtype(spec: object) -> DType:
    """The DType for a DType, a name, a NumPy dtype or a Python type.  Raises TypeError for anything else."""
    if isinstance(spec, DType):
        return spec
    if isinstance(spec, str) and spec in _BY_NAME:
        return _BY_NAME[spec]
    if spec is float:
        return float64  # as PyTorch and NumPy: Python's float is a double
    if spec is int:
        return int64
    if spec is bool:
        return bool_
    try:
        name = np.dtype(spec).name  # type: ignore[call-overload]
    except TypeError:
        name = str(spec)
    if name in _BY_NAME:
        return _BY_NAME[name]
    known = ", ".join(d.name for d in sorted(ALL, key=lambda d: -d.category))
    raise TypeError(f"unsupported dtype {spec!r}: gradgen has {known}")


def promote(a: DType, b: DType) -> DType:
    """The smallest type both fit in, by category first and width second (PyTorch's torch.promote_types)."""
    if a.category != b.category:
        return a if a.category > b.category else b
    return a if a.itemsize >= b.itemsize else b


def widest_float(types: Iterable[DType]) -> DType:
    """The type that fractions are computed in beside operands of these types."""
    return reduce(promote, (t.compute for t in types if t.is_floating_point), FLOAT)

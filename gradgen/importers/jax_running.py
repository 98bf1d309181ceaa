"""A jaxpr run on traced tensors; what is known when it is read is computed by JAX.

Values are tensors, JAX's arrays of what is known, or `Missing`, which is what a primitive gives that there is no rule for:
the jaxpr is run to its end, so that one error names all of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import sympy

from gradgen.eager.creation import from_numpy
from gradgen.eager.tensor import Tensor
from gradgen.errors import UnsupportedOperationError
from gradgen.importers import jax_control, jax_moving, jax_pointwise, jax_reducing
from gradgen.importers.called_from import as_users
from gradgen.importers.jax_table import ENTRIES, At, refuse
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ir.symbols import Extent, as_extent, dim

FAMILIES = (jax_control, jax_moving, jax_pointwise, jax_reducing)
"""The modules that fill the table."""
LARGE = 64
"""Elements: what iota and broadcasting make of more is computed in C, not a table in it."""
_SPREAD = {"iota", "broadcast_in_dim"}


class Missing:
    """What there is no rule for gives."""


class Run:
    """One interpretation; `missing` collects what there is no rule for, with the user's lines."""

    index = dtypes.INDEX

    def __init__(self, jax: Any) -> None:
        self.jax = jax
        self.missing: dict[str, dict[str, None]] = {}
        self.depth = 0
        self._line: str | None = None
        self._constants: dict[int, tuple[Any, Tensor]] = {}

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Inside of the rule of a derivative."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    # --- values -----------------------------------------------------------------------------------------------------------

    def kind(self, dtype: Any) -> DType:
        """gradgen's dtype for one of JAX's."""
        try:
            return dtypes.dtype(np.dtype(dtype).name)
        except TypeError:
            raise refuse(f"values of type {dtype}") from None

    def tensor(self, value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, Missing):
            raise _Lost("made of what is missing")
        if id(value) not in self._constants:
            array = np.array(value)
            self._constants[id(value)] = value, from_numpy(array.astype(self.kind(array.dtype).numpy))
        return self._constants[id(value)][1]

    def known(self, value: Any) -> np.ndarray | None:
        """A value that is known, None for a tensor."""
        return None if isinstance(value, (Tensor, Missing)) else np.asarray(value)

    def number(self, value: Any) -> Any:
        """A Python number where a value is one that is known, else None."""
        if isinstance(value, (Tensor, Missing)) or np.ndim(value):
            return None
        return np.asarray(value).item()

    def numbers(self, *values: Any) -> list[Any]:
        """Tensors; numbers for those that are known, one tensor at least."""
        found = [v if isinstance(v, Tensor) else self.tensor(v) if self.number(v) is None else self.number(v) for v in values]
        return found if any(isinstance(v, Tensor) for v in found) else [self.tensor(v) for v in values]

    def filler(self, kind: DType, value: Any) -> Any:
        """What stands in the place of an element outside: JAX's nan, or the least integer, unless it is said."""
        if value is None:
            value = math.nan if kind.is_floating_point else np.iinfo(kind.numpy).min if kind.category else True
        return self.tensor(np.asarray(value, kind.numpy))

    def size(self, extent: Any) -> Extent:
        """An extent of JAX's, with its symbolic dimensions by their names."""
        if isinstance(extent, (int, np.integer)):
            return int(extent)
        if isinstance(extent, sympy.Basic):
            return as_extent(extent)
        names = {name: dim(name) for name in extent._get_vars()}
        return as_extent(sympy.sympify(extent._evaluate(names)))

    # --- jaxprs -----------------------------------------------------------------------------------------------------------

    def inner(self, closed: Any, operands: Sequence[Any]) -> list[Any]:
        """The results of a jaxpr, closed or not, for operands."""
        jaxpr, consts = (closed.jaxpr, closed.consts) if hasattr(closed, "consts") else (closed, ())
        return self.jaxpr(jaxpr, consts, operands)

    def jaxpr(self, jaxpr: Any, consts: Sequence[Any], operands: Sequence[Any]) -> list[Any]:
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, operands, strict=True))
        for eqn in jaxpr.eqns:
            results = self.equation(eqn, [self._read(values, v) for v in eqn.invars])
            values.update(zip(eqn.outvars, results))
        return [self._read(values, v) for v in jaxpr.outvars]

    def _read(self, values: Mapping[Any, Any], atom: Any) -> Any:
        if hasattr(atom, "val"):
            return np.asarray(atom.val, atom.aval.dtype)
        return values[atom]

    def equation(self, eqn: Any, operands: list[Any]) -> list[Any]:
        """The results of one equation; errors name it."""
        name, count = eqn.primitive.name, len(eqn.outvars)
        if any(isinstance(v, Missing) for v in operands) and name not in ("jit", "pjit"):
            return [Missing()] * count
        if self._foldable(eqn, operands):
            return jax_control.bind(eqn, operands)
        outer, self._line = self._line, self.line_of(eqn) or self._line  # JAX's functions are called from a user's line
        line = self._line
        try:
            found = self._result(eqn, name, operands, line)
        except _Lost:
            return [Missing()] * count
        except UnsupportedOperationError as error:
            self.missing.setdefault(error.what, {})[line or "a line that JAX has not kept"] = None
            return [Missing()] * count
        except Exception as error:
            error.add_note(f"in JAX's {name} at {line}")
            raise
        finally:
            self._line = outer
        results = list(found) if isinstance(found, (tuple, list)) else [found]
        return [self._typed(v, var.aval) for v, var in zip(results, eqn.outvars, strict=True)]

    def _result(self, eqn: Any, name: str, operands: list[Any], line: str | None) -> Any:
        entry = ENTRIES.get(name)
        if entry is None:
            raise refuse(name)
        given = operands if entry.raw else [self.tensor(v) for v in operands]
        return as_users(line)(entry.function, At(self, eqn), *given)

    def _typed(self, value: Any, aval: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        kind = self.kind(aval.dtype)
        return value if value.dtype is kind else value.to(kind)

    def _foldable(self, eqn: Any, operands: Sequence[Any]) -> bool:
        if any(isinstance(v, (Tensor, Missing)) for v in operands) or eqn.primitive.name == "dim_as_value":
            return False
        extents = [e for v in eqn.outvars for e in v.aval.shape]
        if not all(isinstance(e, (int, np.integer)) for e in extents) or any(_is_open(p) for p in eqn.params.values()):
            return False
        return eqn.primitive.name not in _SPREAD or math.prod(extents) <= LARGE

    def evaluated(self, jaxpr: Any, of: Any, operands: Sequence[Any]) -> list[Any]:
        """The results of a jaxpr of known values, a part of the closed jaxpr `of`, by JAX."""
        consts = dict(zip(of.jaxpr.constvars, of.consts))
        return list(self.jax.core.eval_jaxpr(jaxpr, [consts[v] for v in jaxpr.constvars], *operands))

    def line_of(self, eqn: Any) -> str | None:
        """file:line of the user's code that an equation comes from: the innermost outside of JAX."""
        traceback = eqn.source_info.traceback
        own = os.path.dirname(self.jax.__file__) + os.sep
        for frame in traceback.frames if traceback is not None else ():
            if not frame.file_name.startswith((own, "<frozen")) and os.sep + "gradgen" + os.sep not in frame.file_name:
                return f"{frame.file_name}:{frame.line_num}"
        return None


class _Lost(Exception):
    """An operand is missing; it has been said what."""


def _is_open(value: Any) -> bool:
    """Whether a parameter has symbolic dimensions."""
    if isinstance(value, (tuple, list)):
        return any(map(_is_open, value))
    return hasattr(value, "_evaluate")


__all__ = ["Run"]

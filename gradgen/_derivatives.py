"""Derivatives beyond the gradient in a generated module: products, dense and sparse matrices.

This file is the same in every generated package that has such functions and needs NumPy and cffi.
"""

from __future__ import annotations

import threading
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._native import Arguments, Block, Native, Plan, Tensor, named, one_or_all, seed_values

MEMORABLE = 1 << 20
"""Arguments of more bytes than this in all are not kept from one call to the next."""


class Csr(namedtuple("Csr", ("data", "indices", "indptr"))):
    """A matrix in compressed rows: entries of row r are `data[indptr[r]:indptr[r + 1]]`, in columns `indices[...]`.

    Unpacks into (data, indices, indptr).  `shape` is (elements of what is differentiated, elements of what by), both
    counted row-major.  The index arrays are shared between calls and read-only.
    """

    shape: tuple[int, int]

    def __new__(cls, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, shape: tuple[int, int]) -> Csr:
        made = super().__new__(cls, data, indices, indptr)
        made.shape = shape
        return made

    def toarray(self) -> np.ndarray:
        """The dense matrix."""
        dense = np.zeros(self.shape, self.data.dtype)
        dense[np.repeat(np.arange(self.shape[0]), np.diff(self.indptr)), self.indices] = self.data
        return dense

    def scipy(self) -> Any:
        """As scipy.sparse.csr_array, without copying.  Needs SciPy."""
        from scipy.sparse import csr_array

        return csr_array((self.data, self.indices, self.indptr), shape=self.shape)


class Functions(threading.local):
    """The derivative functions of a module; each thread has its own memory."""

    def __init__(self, native: Native) -> None:
        self.session = Session(native)


class Session:
    """The derivative functions of a module for one thread."""

    def __init__(self, native: Native) -> None:
        self.native, self.work, self.arguments = native, Block(native.ffi), Arguments(native)
        names = [t.name for t in native.seeded]
        self.by_output: Any = namedtuple("Outputs", names)  # type: ignore[misc]
        self.patterns: dict[str, list[tuple[np.ndarray, np.ndarray, tuple[int, int]]]] = {}

    def jvp(self, values: Sequence[Any], tangents: Any, seeds: tuple[int, ...] = ()) -> tuple[Any, Any]:
        """(outputs, their derivative along `tangents`)."""
        native, plan = self.native, self._bind(values, seeds)
        moved = self._directions("tangents", tangents, plan)
        outputs = self._make(native.info.outputs, plan.outputs)
        shapes = self._output_shapes(plan)
        dots = self._make(native.seeded, shapes)
        self._call("jvp", [*moved, *outputs, *dots], plan)
        return one_or_all(native, outputs), dots[0] if len(dots) == 1 else self.by_output._make(dots)

    def hvp(self, values: Sequence[Any], directions: Any, seeds: tuple[int, ...] = ()) -> Any:
        """The Hessian times `directions`, by parameter."""
        native, plan = self.native, self._bind(values, seeds)
        moved = self._directions("directions", directions, plan)
        products = self._make(native.parameters, self._parameter_shapes(plan))
        self._call("hvp", [*moved, *products], plan)
        return native.Gradients._make(products)

    def jacobian(self, values: Sequence[Any], seeds: tuple[int, ...] = ()) -> Any:
        """By parameter, or where there are several differentiable outputs, by output and parameter."""
        native, plan = self.native, self._bind(values, seeds)
        return self._blocks("jacobian", native.seeded, self._output_shapes(plan), plan)

    def hessian(self, values: Sequence[Any], seeds: tuple[int, ...] = ()) -> Any:
        """By parameter and parameter."""
        plan = self._bind(values, seeds)
        return self._blocks("hessian", self.native.parameters, self._parameter_shapes(plan), plan)

    def sparse(self, which: str, values: Sequence[Any], seeds: tuple[int, ...] = ()) -> Any:
        """The same as Csr matrices; `which` is "jacobian" or "hessian"."""
        native, plan = self.native, self._bind(values, seeds)
        of = native.seeded if which == "jacobian" else native.parameters
        patterns = self._patterns(which, len(of) * len(native.parameters))
        owners = [t for t in of for _ in native.parameters]
        data = [np.empty(len(p[0]), native.dtypes[t.name]) for p, t in zip(patterns, owners, strict=True)]
        self._call(f"{which}_values", data, plan)
        found = [Csr(d, *p) for d, p in zip(data, patterns, strict=True)]
        return self._nested(which, found)

    def _bind(self, values: Sequence[Any], seeds: tuple[int, ...]) -> Plan:
        self.arguments.seeds = seed_values(self.native.info, seeds)
        return self.arguments.bind(values)

    def _blocks(self, which: str, of: Sequence[Tensor], shapes: Sequence[tuple[int, ...]], plan: Plan) -> Any:
        by = self._parameter_shapes(plan)
        blocks = [
            np.empty((*rows, *columns), self.native.dtypes[t.name])
            for t, rows in zip(of, shapes, strict=True) for columns in by
        ]
        self._call(which, blocks, plan)
        return self._nested(which, blocks)

    def _nested(self, which: str, blocks: Sequence[Any]) -> Any:
        make, n = self.native.Gradients._make, len(self.native.parameters)
        rows = [make(blocks[k : k + n]) for k in range(0, len(blocks), n)]
        if which == "hessian":
            return make(rows)
        return rows[0] if len(rows) == 1 else self.by_output._make(rows)

    def _patterns(self, which: str, count: int) -> list[tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
        if which not in self.patterns:
            record = getattr(self.native.lib, f"{self.native.info.name}_module")()
            listed = getattr(record, f"{which}_patterns")
            self.patterns[which] = [self._pattern(listed[k]) for k in range(count)]
        return self.patterns[which]

    def _pattern(self, pattern: Any) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        buffer, rows = self.native.ffi.buffer, int(pattern.rows)
        column = np.frombuffer(buffer(pattern.column, 4 * max(int(pattern.nonzeros), 1)), np.int32)
        start = np.frombuffer(buffer(pattern.start, 4 * (rows + 1)), np.int32)
        column, start = column[: int(pattern.nonzeros)].copy(), start.copy()
        column.flags.writeable = start.flags.writeable = False
        return column, start, (rows, int(pattern.columns))

    def _parameter_shapes(self, plan: Plan) -> list[tuple[int, ...]]:
        return [plan.inputs[k] for k in self.native.parameter_positions]

    def _output_shapes(self, plan: Plan) -> list[tuple[int, ...]]:
        return [plan.outputs[k] for k in self.native.seeded_positions]

    def _make(self, tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
        return [np.empty(s, self.native.dtypes[t.name]) for t, s in zip(tensors, shapes, strict=True)]

    def _directions(self, what: str, given: Any, plan: Plan) -> list[np.ndarray | None]:
        """One array per parameter; None stands for zeros."""
        native, tensors = self.native, self.native.parameters
        values = named(native, what, [t.name for t in tensors], given)
        found: list[np.ndarray | None] = []
        for tensor, shape, value in zip(tensors, self._parameter_shapes(plan), values, strict=True):
            array = None if value is None else native.array(tensor, value)
            if array is not None and array.shape != shape:
                raise ValueError(f"{native.info.name}: {what} for {tensor.name} must have shape {list(shape)}, "
                                 f"not {list(array.shape)}")
            found.append(array)
        return found

    def _call(self, suffix: str, arrays: Sequence[np.ndarray | None], plan: Plan) -> None:
        native = self.native
        pointers = [native.ffi.NULL if a is None else native.pointer(a) for a in arrays]
        work = self.work.reserve(plan.work_bytes)
        status = native.function(suffix)(*self.arguments.head, *pointers, work)
        if sum([a.nbytes for a in self.arguments.arrays]) > MEMORABLE:
            self.arguments.forget()
        if status:
            raise native.fail(status)


def inputs_of(module: Any, data: Sequence[Any]) -> list[Any]:
    """All inputs of a Module's call: its parameters and the data."""
    values: list[Any] = module._template.copy()
    for position, value in zip(module._native.data_positions, data, strict=True):
        values[position] = value
    return values

"""Statements on stretches of memory, as functions that the translated loops call: fills, copies, products, named kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradgen.ir.dtypes import DType
from gradgen.ir.kernels import KernelSpec
from gradgen.reference.cells import Array, Machine, Pointer

Operand = tuple[Pointer, int, int, int]


class Failed(Exception):
    """The function was left with a status code."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


def local_array(machine: Machine, name: str, dtype: DType, count: int) -> Array:
    return Array(machine, name, dtype, count)


def fill(target: Pointer, start: int, count: int, value: Any, statement: int) -> None:
    for k in range(count):
        target.put(start + k, value, statement)


def copy(target: Pointer, target_start: int, source: Pointer, source_start: int, count: int, statement: int) -> None:
    """memcpy, whose stretches may not overlap."""
    if count > 0:
        a, b = target.place(target_start), source.place(source_start)
        if a[0] == b[0] and abs(a[1] - b[1]) < count * target.dtype.itemsize:
            source.get(source_start, statement)
            raise _machine(target).fault(f"copies {count} elements of {source.name} onto themselves", statement)
    for k in range(count):
        target.put(target_start + k, source.get(source_start + k, statement), statement)


def _machine(p: Pointer) -> Machine:
    return p.source.machine if hasattr(p, "source") else p.machine


def _matrix(o: Operand, rows: int, columns: int, statement: int) -> np.ndarray:
    buffer, start, down, right = o
    found = [[buffer.get(start + i * down + j * right, statement) for j in range(columns)] for i in range(rows)]
    return np.array(found, buffer.dtype.numpy).reshape(rows, columns)


def contract(
    machine: Machine, sizes: tuple[int, int, int], limits: tuple[int, int, int], a: Operand, b: Operand, c: Operand,
    accumulate: bool, absent: str, statement: int,
) -> None:
    """`c[m, n] (+)= sum_k a[m, k] b[k, n]`, in float64 and rounded once; -0 in an operand `absent` is no term."""
    m, n, k = sizes
    for size, limit in zip(sizes, limits, strict=True):
        if size > limit:
            raise machine.fault(f"a product of size {sizes}, for which scratch memory is planned up to {limits}", statement)
    if m <= 0 or n <= 0:
        return
    left, right = _matrix(a, m, k, statement), _matrix(b, k, n, statement)
    kind = c[0].dtype.numpy.type
    with np.errstate(all="ignore"):
        there = np.ones((m, n, k), bool)
        for name, operand in (("a", left[:, None, :]), ("b", right.T[None])):
            if name in absent:
                there &= ~((operand == 0) & np.signbit(operand))
        terms = left.astype(np.float64)[:, None, :] * right.astype(np.float64).T[None]
        product = np.where(there, terms, 0.0).sum(-1).astype(kind)
    buffer, start, down, across = c
    for i in range(m):
        for j in range(n):
            at = start + i * down + j * across
            value = product[i, j]
            buffer.put(at, buffer.get(at, statement) + value if accumulate else value, statement)


_Shape = tuple[int, ...]
OPERANDS: dict[str, Callable[..., tuple[_Shape, ...]]] = {
    "argsort": lambda items, n: ((items, n),),
    "cholesky": lambda items, n: ((items, n, n),),
    "triangular_solve": lambda items, n, c: ((items, n, n), (items, n, c)),
    "lu": lambda items, n: ((items, n, n),),
    "solve": lambda items, n, c: ((items, n, n), (items, n), (items, n, c)),
    "det": lambda items, n: ((items, n, n), (items,)),
    "logabsdet": lambda items, n: ((items, n, n),),
    "eigh": lambda items, n: ((items, n, n),),
    "qr": lambda items, m, n: ((items, m, n),),
    "svd": lambda items, m, n: ((items, m, n),),
}
"""What the C function of each kernel reads, by the sizes that it is given: a buffer may know other axes."""


def kernel_call(
    machine: Machine, spec: KernelSpec, dtype: DType, sizes: tuple[int, ...], operands: Sequence[Pointer],
    results: Sequence[Pointer], workspace: Sequence[tuple[Pointer, int]], flags: tuple[int, ...], statement: int,
) -> None:
    """A named kernel: its operands are read as wholes, its results written, its scratch memory is spoilt."""
    needed = spec.workspace(sizes, dtype)
    for (kind, count), (buffer, size) in zip(needed, workspace, strict=True):
        if int(count) > size or kind is not buffer.dtype:
            raise machine.fault(f"{buffer.name} of {size} elements is scratch memory for {count} of {kind.name}", statement)
        fill(buffer, 0, int(count), kind.numpy.type(0), statement)
        buffer.poison()  # type: ignore[union-attr]
    given = [_whole(b, shape, statement) for b, shape in zip(operands, OPERANDS[spec.name](*sizes), strict=True)]
    names = attribute_names(spec)
    with np.errstate(all="ignore"):
        found = spec.reference(*given, **{n: bool(v) for n, v in zip(names, flags, strict=True)})
    for buffer, value in zip(results, found, strict=True):
        elements = np.asarray(value, buffer.dtype.numpy).ravel()
        listed = list(elements) if buffer.dtype.is_floating_point else elements.tolist()
        for k, element in enumerate(listed):
            buffer.put(k, element, statement)


def _whole(buffer: Pointer, shape: tuple[int, ...], statement: int) -> np.ndarray:
    count = int(np.prod(shape))
    return np.array([buffer.get(k, statement) for k in range(count)], buffer.dtype.numpy).reshape(shape)


def attribute_names(spec: KernelSpec) -> list[str]:
    """The keywords of a kernel's reference, in the order in which its attributes are passed."""
    import inspect

    parameters = inspect.signature(spec.reference).parameters.values()
    return sorted(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

"""Storage cells: what a tensor, its views, and its detached twins share.

A cell holds the record of the current value.  Writing puts another record there: the old one stays what it was for
everybody who recorded something with it.  A cell whose memory a NumPy array shares (`owner`) is the exception: its value
*is* that array, so whoever reads it takes a copy of the moment, and what is written to it is computed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradgen.eager.modes import state
from gradgen.eager.references import alone
from gradgen.eager.services import services
from gradgen.record.records import Record, Spec, leaf

if TYPE_CHECKING:
    from gradgen.eager.grad_fn import Node

COPIED_BYTES = 1 << 18
"""Up to here reading shared memory takes a copy of the moment; operations on more are computed at once instead."""
AT_ONCE = 1 << 30
"""The depth of a record that may change under our hands: whatever is recorded on it is too deep to wait."""


class Cell:
    """`record` is the value (None while `owner` is), `version` PyTorch's version counter, `generation` counts writes.

    `home` is the border of the trace that made it, None in eager use; `cut` are the edges that `detach_()` took from tensors,
    `strides` those of the storage in PyTorch where it is not row-major there.
    """

    __slots__ = ("__weakref__", "cut", "generation", "home", "owner", "record", "spec", "strides", "version")

    def __init__(self, record: Record) -> None:
        self.record: Record | None = record
        self.spec: Spec = record.spec
        self.version = 0
        self.generation = 0
        self.owner: np.ndarray | None = None
        self.home = state.border
        self.cut: tuple[Any, ...] = ()
        self.strides: tuple[int, ...] | None = None

    def current(self) -> Record:
        """The record of the value as it is now."""
        return self.record if self.record is not None else self._snapshot()

    def put(self, record: Record) -> None:
        """A new value."""
        self.generation += 1
        if self.owner is None:
            self.record = record
            return
        services.evaluate_records([record])
        np.copyto(self.owner, record.value)  # type: ignore[arg-type]

    def share(self, array: np.ndarray) -> None:
        """From now on the value lives in `array`."""
        self.owner, self.record = array, None

    def export(self) -> np.ndarray:
        """An array that shares the cell's memory; it must not be resized."""
        if self.owner is None:
            assert self.record is not None
            services.evaluate_records([self.record])
            self.share(self._laid_out(self.record.value))
            self.generation += 1
        return self.owner.view()  # type: ignore[union-attr]

    def _laid_out(self, value: Any) -> np.ndarray:
        """A copy of the value with the strides of the storage."""
        if self.strides is None:
            return np.array(value, order="C")
        order = sorted(range(value.ndim), key=lambda d: (-self.strides[d], d))  # type: ignore[index]
        return np.array(value.transpose(order), order="C").transpose(np.argsort(order))

    def _snapshot(self) -> Record:
        unshared = alone(self)
        owner = self.owner
        assert owner is not None
        if owner.base is None and unshared:
            self.owner, self.record = None, leaf(owner, self.spec.dtype)
            return self.record
        if owner.nbytes > COPIED_BYTES and owner.flags.c_contiguous:
            borrowed = leaf(owner, self.spec.dtype)
            borrowed.depth = AT_ONCE
            return borrowed
        return leaf(np.array(owner, order="C"), self.spec.dtype)


class Counter:
    """A version counter of its own: that of `x.data`, which shares x's memory but not its versions."""

    __slots__ = ("__weakref__", "version")

    def __init__(self) -> None:
        self.version = 0


def history_of(tensor: Any) -> tuple[Node, int] | None:
    """(grad_fn, output number) of a tensor that has one."""
    return (tensor.grad_fn, tensor._nr) if tensor is not None and tensor.grad_fn is not None else None

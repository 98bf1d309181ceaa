"""What the operation library asks of the tensors that it is given, whoever's they are.

Operations know nodes; their callers hold tensors.  Eager use has its own (values, history, views), `symbolic` has another
(a node, nothing else).  Each is a `Tensors`; the one that is used is `current.tensors`: eager's, unless a block says
otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gradgen.ir.dtypes import DType
from gradgen.ir.symbols import Extent

if TYPE_CHECKING:
    from gradgen.ops.registry import Op


class Tensor(Protocol):
    """A tensor of any kind.  The library's own functions are its methods, by injection (see `table`)."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...

    @property
    def ndim(self) -> int: ...

    def __getattr__(self, name: str) -> Any: ...

    # what Python looks up on the type
    def __getitem__(self, index: Any, /) -> Any: ...
    def __iter__(self) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __neg__(self) -> Any: ...
    def __invert__(self) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


class Tensors:
    """One kind of tensors: how operations are applied to them, and what is known of them."""

    kind: type = type(None)
    """Their type."""

    def apply(self, op: Op, operands: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
        """What `op` makes of tensors and Python numbers: a tensor, or a tuple of them."""
        raise NotImplementedError("the operation library has no tensors to work on")

    def leaf(self, array: np.ndarray, dtype: DType, device: Any = None) -> Any:
        """A tensor of these values."""
        raise NotImplementedError

    def filled(self, shape: Sequence[Extent], dtype: DType, value: int) -> Any:
        """A tensor of one small number."""
        raise NotImplementedError

    def value(self, tensor: Any) -> np.ndarray | None:
        """The values, computed if need be; None where they are not known while the operation is called."""
        return None

    def aliases(self, tensor: Any, shape: Sequence[Extent]) -> bool | None:
        """Whether the elements in row-major order of `shape` can share the tensor's memory; None where they lie in order."""
        return None

    def memory_order(self, tensor: Any) -> list[int] | None:
        """The axes of a transposed tensor in the order in which its elements lie in memory; None where they lie in order."""
        return None

    def overwritten(self, target: Any, result: Any) -> Any:
        """`target` with the values and the history of `result`, which an operation on it made."""
        return target.copy_(result)

    def recorded_draws(self) -> bool:
        """Whether random numbers are drawn when the program runs, not now."""
        return True

    def draw(self, distribution: str, shape: Sequence[Extent], dtype: DType, *parameters: float) -> Any:
        """Random numbers: "uniform", "bernoulli", "exponential"."""
        raise NotImplementedError(f"a {distribution} draw needs a generator, which nodes alone do not have")

    def scan(self, step: Callable[[Any, Any], Any], init: Any, xs: Any) -> Any:
        """The loop over the leading axis of `xs`: the last carry, and what each step gives, stacked."""
        raise NotImplementedError("a loop needs a trace of its step")

    def call_site(self) -> tuple[CodeType, int] | None:
        """Code and instruction of the user's call that is running."""
        return None

    def line(self) -> str | None:
        """The user's line that is running, as file:line."""
        return None


class _Current(threading.local):
    tensors = Tensors()


current = _Current()


def install(tensors: Tensors) -> None:
    """From now on what is used outside of `using`, in every thread."""
    _Current.tensors = tensors


@contextmanager
def using(tensors: Tensors) -> Iterator[None]:
    """In this block the library works on other tensors."""
    before = current.tensors
    current.tensors = tensors
    try:
        yield
    finally:
        current.tensors = before

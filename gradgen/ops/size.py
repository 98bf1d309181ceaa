"""Shapes as users see them: torch.Size."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex, overload


class Size(tuple[int, ...]):
    """A shape: a tuple of ints. Slices, concatenations and repetitions of a Size are Sizes again.

    `Size(iterable)` takes anything whose elements have `__index__` (bools become ints) and raises TypeError naming the
    first that has not, ValueError for one that does not fit 64 bits: PyTorch's checks and texts.
    """

    __slots__ = ()

    def __new__(cls, iterable: Iterable[Any] = (), /) -> Size:
        return super().__new__(cls, (_extent(position, item) for position, item in enumerate(iterable)))

    def numel(self) -> int:
        """The number of elements of a tensor of this shape (1 for the empty shape)."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __format__(self, format_spec: str, /) -> str:
        if format_spec:
            raise TypeError("unsupported format string passed to torch.Size.__format__")
        return repr(self)

    def __reduce__(self) -> tuple[type[Size], tuple[tuple[int, ...]]]:
        return Size, (tuple(self),)

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> int: ...

    @overload
    def __getitem__(self, index: slice, /) -> Size: ...

    def __getitem__(self, index: SupportsIndex | slice, /) -> int | Size:
        item = super().__getitem__(index)
        return Size(item) if isinstance(item, tuple) else item

    def __add__(self, other: Any, /) -> Size:  # type: ignore[override]  # a Size even where tuple says tuple
        if not isinstance(other, tuple):
            raise TypeError(f'can only concatenate tuple (not {type(other).__name__}) to torch.Size')
        return Size(tuple(self) + other)

    def __radd__(self, other: tuple[int, ...], /) -> Size:
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(other + tuple(self))

    def __mul__(self, count: SupportsIndex, /) -> Size:
        return Size(tuple(self) * count)

    __rmul__ = __mul__


def _extent(position: int, item: Any) -> int:
    try:
        extent = operator.index(item)
    except TypeError:
        name = type(item).__name__ if type(item).__module__ == "builtins" else _qualified_name(type(item))
        raise TypeError(f"torch.Size() takes an iterable of 'int' (item {position} is '{name}')") from None
    if not -(2**63) <= extent < 2**63:
        raise ValueError("Overflow when unpacking long long")
    return extent


def _qualified_name(kind: type) -> str:
    """The name C code sees: with the module for extension types (`numpy.float64`), bare for classes made in Python."""
    made_in_python = bool(kind.__flags__ & (1 << 9))  # Py_TPFLAGS_HEAPTYPE
    return kind.__name__ if made_in_python else f"{kind.__module__}.{kind.__name__}"

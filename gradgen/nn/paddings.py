"""Padding layers: zeros, a constant, the tensor reflected, its edge repeated, its other end."""

from __future__ import annotations

from typing import Any

from gradgen.nn import functional as F
from gradgen.nn.module import Module

functional: Any = F


class _Pad(Module):
    """`padding` is one number for all sides, or (before, after) for every axis, the last one first."""

    rank = 1
    mode = "constant"
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = (padding,) * (2 * self.rank) if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Any) -> Any:
        return functional.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _Zero(_Pad):
    value = 0.0


class _Constant(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _Reflection(_Pad):
    mode = "reflect"


class _Replication(_Pad):
    mode = "replicate"


class _Circular(_Pad):
    mode = "circular"

    def forward(self, input: Any) -> Any:
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ValueError(f"expected {self.rank + 1}D or {self.rank + 2}D input (got {input.ndim}D input)")
        return super().forward(input)


_KINDS = {"Zero": _Zero, "Constant": _Constant, "Reflection": _Reflection, "Replication": _Replication,
          "Circular": _Circular}
CLASSES: dict[str, type[_Pad]] = {
    f"{kind}Pad{rank}d": type(
        f"{kind}Pad{rank}d", (base,), {"rank": rank, "__module__": "gradgen.nn", "__doc__": f"{base.__name__[1:]} padding "
                                       f"of the last {rank} axes."},
    )
    for kind, base in _KINDS.items() for rank in (1, 2, 3)
}

"""torch.device, memory formats and layouts as far as they have a meaning here: there is one device, the CPU."""

from __future__ import annotations

from typing import Any


class Device:
    """`device("cpu")`; any other kind raises RuntimeError."""

    __slots__ = ("index", "type")

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        kind, _, number = str(type).partition(":")
        if isinstance(type, Device):
            kind, index = type.type, type.index
        elif number:
            index = int(number)
        if kind != "cpu":
            raise RuntimeError(f"gradgen's tensors are on the CPU; there is no device {type!r}")
        self.type, self.index = kind, index

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (f", index={self.index})" if self.index is not None else ")")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


device = Device


class _Named:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


strided = _Named("strided")
contiguous_format = _Named("contiguous_format")
preserve_format = _Named("preserve_format")

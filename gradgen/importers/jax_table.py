"""The table of JAX's primitives: what each is in gradgen's library.

An entry is a function of `at`, where it runs, and of the operands as tensors; it returns a tensor, or a tuple of them.  `at`
has the parameters of the equation, sizes in gradgen's words, and the shapes that JAX says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradgen.eager.tensor import Tensor
from gradgen.errors import UnsupportedOperationError
from gradgen.importers.onnx_table import lib
from gradgen.ir.dtypes import DType
from gradgen.ir.symbols import Extent

__all__ = ["ENTRIES", "At", "Entry", "Tensor", "entry", "lib", "refuse"]


def refuse(what: str) -> UnsupportedOperationError:
    """The error of what an entry does not do."""
    return UnsupportedOperationError(what)


@dataclass(frozen=True)
class At:
    """Where an entry runs: the interpreter and the equation."""

    run: Any
    eqn: Any

    def __getattr__(self, name: str) -> Any:
        try:
            return self.eqn.params[name]
        except KeyError:
            raise AttributeError(name) from None

    def size(self, extent: Any) -> Extent:
        return self.run.size(extent)  # type: ignore[no-any-return]

    def sizes(self, shape: Sequence[Any]) -> list[Extent]:
        return [self.run.size(e) for e in shape]

    def kind(self, k: int = 0) -> DType:
        """The dtype of a result."""
        return self.run.kind(self.eqn.outvars[k].aval.dtype)  # type: ignore[no-any-return]

    def shape(self, k: int = 0) -> list[Extent]:
        """The shape of a result."""
        return self.sizes(self.eqn.outvars[k].aval.shape)


@dataclass(frozen=True)
class Entry:
    function: Callable[..., Any]
    raw: bool
    """Operands as they are: what is known is an array."""


ENTRIES: dict[str, Entry] = {}


def entry(*names: str, raw: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enters a function for primitives by name."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        ENTRIES.update(dict.fromkeys(names, Entry(function, raw)))
        return function

    return enter

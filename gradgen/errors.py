"""The exceptions of gradgen, one class per stage.

Every message answers three questions on lines of their own: what went wrong, where (the operation, its shapes, the
user's file and line, or the file on disk), and what to do about it.  Where a user of PyTorch would expect one of
Python's own exception types, the class derives from that type too, so ``except RuntimeError`` keeps working.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "AbiError",
    "BudgetError",
    "BuildError",
    "CacheError",
    "CodegenError",
    "CompileError",
    "CompilerNotFoundError",
    "DTypeError",
    "DerivativeError",
    "GradgenError",
    "InvalidNameError",
    "ScheduleError",
    "ShapeError",
    "TraceError",
    "UnsupportedOperationError",
    "WeightsError",
]


class GradgenError(Exception):
    """Root of everything gradgen raises on purpose.

    Args:
        what: what went wrong, one sentence.
        where: the operation and shapes, the user's ``file:line``, or the path concerned; may have several lines.
        hint: what the reader can do about it; may have several lines.

    The three are kept as attributes; ``str(error)`` joins those that were given.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in self._details():
            lines.append(_labelled(label, text))
        return "\n".join(lines)

    def _details(self) -> list[tuple[str, str]]:
        """The labelled parts below the first line, in print order; subclasses add theirs."""
        given = (("where", self.where), ("hint", self.hint))
        return [(label, text) for label, text in given if text]

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle by calling cls(*args), which loses keyword-only fields; keep the whole state instead, so
        # that an error raised in a worker process arrives complete.
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class TraceError(GradgenError):
    """Running the user's function over symbolic tensors failed."""


class ShapeError(GradgenError, RuntimeError):
    """Shapes do not fit together.  PyTorch raises RuntimeError here."""


class DTypeError(GradgenError, TypeError, RuntimeError):
    """A dtype is wrong or not supported.  PyTorch raises TypeError or RuntimeError, depending on the operation."""


class UnsupportedOperationError(GradgenError, NotImplementedError):
    """The operation exists in PyTorch or SymPy but has no rule here.  Raised at trace time, at the user's line."""


class InvalidNameError(GradgenError, ValueError):
    """A name cannot be used for a module, an argument or a dimension of the emitted C or Python."""


class WeightsError(GradgenError, pickle.UnpicklingError, RuntimeError):
    """A file of weights is damaged, of another kind, or holds what gradgen does not read.  PyTorch raises UnpicklingError or
    RuntimeError."""


class DerivativeError(GradgenError, RuntimeError):
    """A derivative does not exist, or was asked for where nothing depends on what needs a gradient."""


class ScheduleError(GradgenError):
    """The graph could not be turned into loops and buffers."""


class BudgetError(GradgenError):
    """A module takes more flash, RAM or stack than ram=, flash= and stack= allow."""


class CodegenError(GradgenError):
    """The program could not be printed as C, or a template does not fit its data."""


class BuildError(GradgenError):
    """Making loadable machine code from the emitted C failed."""


class CompilerNotFoundError(BuildError):
    """No C compiler answers on this machine."""


class CompileError(BuildError):
    """The C compiler ran and failed.

    Args:
        command: the command line, as given to the operating system.
        output: the compiler's own words, unabridged.
        source: the folder or file in which the source was kept for inspection, if it was.
    """

    def __init__(
        self,
        what: str,
        *,
        command: Sequence[str] = (),
        output: str = "",
        source: Path | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.command = tuple(command)
        self.output = output
        self.source = source

    def _details(self) -> list[tuple[str, str]]:
        details: list[tuple[str, str]] = []
        if self.command:
            details.append(("command", " ".join(self.command)))
        if self.output.strip():
            details.append(("output", self.output.rstrip()))
        if self.source is not None:
            details.append(("source", str(self.source)))
        return details + super()._details()


class CacheError(BuildError):
    """The build cache can be neither used nor replaced by a temporary folder, or the disk is full."""


class AbiError(BuildError):
    """A compiled module was made for another ABI number, another Python or another machine."""


def _labelled(label: str, text: str) -> str:
    """``  label: text``, continuation lines aligned below the text's first."""
    head = f"  {label}: "
    return head + text.replace("\n", "\n" + " " * len(head))


def _rebuild(cls: type[GradgenError], args: tuple[object, ...], state: dict[str, object]) -> GradgenError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error

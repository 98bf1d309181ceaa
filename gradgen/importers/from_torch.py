"""`gg.from_torch`: PyTorch models as programs, by torch.export or by running them on traced tensors."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from gradgen.errors import GradgenError
from gradgen.record.traced import TracedFunction

__all__ = ["from_torch"]


def from_torch(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *,
    loss: Callable[..., Any] | None = None, loss_args: Sequence[Any] = (), dynamic_shapes: Any = None,
    train: bool | None = None, dtype: Any = None, name: str | None = None, via: str | None = None,
) -> TracedFunction:
    """The program of a torch Module, or of an ExportedProgram, with its parameters as inputs that have gradients.

    Args:
        model: a `torch.nn.Module`, left as it is, or what `torch.export.export` returned, or a function that uses Modules.
        args, kwargs: example inputs, as for `torch.export.export`; only shapes and dtypes count.
        loss: a function of the model's result and `loss_args`; its value is the program's result.
        loss_args: example tensors (targets, ...), further inputs under the function's names for them.
        dynamic_shapes: as for `torch.export.export`, for args and then loss_args: {"x": {0: torch.export.Dim("N")}}.  A
            string in place of a Dim is the dimension of that name.
        train: the mode in which the model is exported (Module.train()); as it is unless given.
        dtype: float32 or float64 for every floating-point value, whatever the model has.
        name: of the program; the model's class otherwise.
        via: "export": `torch.export`'s graph.  "run": the model's Python runs once on traced tensors: with derivatives inside
            of it (`torch.autograd.grad(..., create_graph=True)`), transforms of `torch.func`, autograd.Functions and Python
            that depends on shapes.  None: "export", and "run" where that is not possible.

    `program.state` has parameters and buffers as NumPy arrays by torch's names, copied; `program.names` the name in C of
    each; `program.aliases` the further names of tied parameters.  Frozen parameters have no gradient.  Running statistics
    that training changes are states of the program.

    Raises GradgenError for operations that gradgen has not, all of them, with the user's lines; what torch.export raises;
    TraceError as `gg.trace` does; without `via` what the run raises, with the exporter's words.
    """
    _need_torch()
    from gradgen.importers.torch_export import export_torch
    from gradgen.importers.torch_running import run_torch

    model = getattr(model, "_orig_mod", model)  # of torch.compile
    given: dict[str, Any] = {"loss": loss, "loss_args": loss_args, "dynamic_shapes": dynamic_shapes, "train": train,
                             "dtype": dtype, "name": name}
    if via == "export" or type(model).__name__ == "ExportedProgram":
        return export_torch(model, args, kwargs, **given)
    if via == "run":
        return run_torch(model, args, kwargs, **given)
    if via is not None:
        raise GradgenError(f'via is "export", "run" or None, not {via!r}')
    try:
        with _without_log():
            return export_torch(model, args, kwargs, **given)
    except Exception as error:  # torch.export raises whatever its many parts do
        refused = error
    try:
        return run_torch(model, args, kwargs, **given)
    except GradgenError as error:
        raise GradgenError(f"this model comes in neither way.\nBy torch.export: {refused}\nBy running it: {error}") from error
    except Exception as error:
        error.add_note(f"torch.export says of the same model: {refused}")
        raise


@contextmanager
def _without_log() -> Iterator[None]:
    """Without what torch logs and prints of an export that fails: whole graphs.  Of another it is printed at the end."""
    printed, said, logger = io.StringIO(), io.StringIO(), logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(printed), redirect_stderr(said):
            yield
    finally:
        logger.setLevel(level)
    sys.stdout.write(printed.getvalue())
    sys.stderr.write(said.getvalue())


def _need_torch() -> None:
    try:
        import torch.export  # noqa: F401
    except ImportError:
        raise GradgenError("gg.from_torch needs PyTorch", hint="pip install torch") from None

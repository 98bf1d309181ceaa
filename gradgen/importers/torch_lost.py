"""Derivatives of the user's own, which a graph of torch.export leaves out: its gradients would be others, in silence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from gradgen.errors import TraceError, UnsupportedOperationError
from gradgen.record.user_lines import passing_over, users_line

HINT = 'gg.from_torch(..., via="run") knows autograd.Functions and hooks of tensors'


@contextmanager
def derivatives_kept(torch: Any, model: Any, inputs: Iterable[Any]) -> Iterator[None]:
    """Until the end of the block what would be lost is an error: autograd.Functions, hooks of backward, and tensors with a
    gradient that are neither parameters nor among the inputs."""
    for path, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            raise _lost(f"the backward hook of the module {path.removeprefix('model.')!r}")
    for path, tensor in model.named_parameters():
        if tensor._backward_hooks or tensor._post_accumulate_grad_hooks:
            raise _lost(f"the hook of {path.removeprefix('model.')}")

    own = {id(t) for t in (*inputs, *model.parameters(), *model.buffers())}

    def apply(theirs: Any, *args: Any, **kwargs: Any) -> Any:
        raise _lost(f"the backward of {theirs.__name__}", users_line())

    def register_hook(self: Any, hook: Any) -> Any:
        raise _lost("the hook of a tensor", users_line())

    class Watched(torch.overrides.TorchFunctionMode):  # type: ignore[misc, name-defined]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            for t in args if torch.is_grad_enabled() else ():
                if type(t) in (torch.Tensor, torch.nn.Parameter) and t.is_leaf and t.requires_grad and id(t) not in own:
                    raise unregistered(t)
            return func(*args, **(kwargs or {}))

    with ExitStack() as stack:
        stack.enter_context(passing_over(os.path.dirname(os.path.abspath(torch.__file__))))
        stack.enter_context(Watched())
        stack.enter_context(mock.patch.object(torch.autograd.Function, "apply", classmethod(apply)))
        stack.enter_context(mock.patch.object(torch.Tensor, "register_hook", register_hook))
        yield


def unregistered(tensor: Any) -> TraceError:
    """A tensor with a gradient that is no parameter of a Module."""
    return TraceError(f"a tensor of shape {tuple(tensor.shape)} that requires a gradient is in no Module of the model",
                      where=users_line(), hint="make it a parameter of the model or of the loss, or detach() it")


def _lost(what: str, where: str | None = None) -> UnsupportedOperationError:
    return UnsupportedOperationError(f"{what} is not part of what torch.export gives", where=where, hint=HINT)


__all__ = ["derivatives_kept", "unregistered"]

"""Derivatives of the user's own, which a graph of torch.export leaves out: its gradients would be others, in silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from gradgen.errors import UnsupportedOperationError
from gradgen.record.user_lines import users_line

HINT = 'gg.from_torch(..., via="run") knows autograd.Functions and hooks of tensors'


@contextmanager
def derivatives_kept(torch: Any, model: Any) -> Iterator[None]:
    """Until the end of the block autograd.Functions and hooks of backward are errors, and so are those that the model has."""
    for path, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            raise _lost(f"the backward hook of the module {path.removeprefix('model.')!r}")
    for path, tensor in model.named_parameters():
        if tensor._backward_hooks or tensor._post_accumulate_grad_hooks:
            raise _lost(f"the hook of {path.removeprefix('model.')}")

    def apply(theirs: Any, *args: Any, **kwargs: Any) -> Any:
        raise _lost(f"the backward of {theirs.__name__}", users_line())

    def register_hook(self: Any, hook: Any) -> Any:
        raise _lost("the hook of a tensor", users_line())

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.autograd.Function, "apply", classmethod(apply)))
        stack.enter_context(mock.patch.object(torch.Tensor, "register_hook", register_hook))
        yield


def _lost(what: str, where: str | None = None) -> UnsupportedOperationError:
    return UnsupportedOperationError(f"{what} is not part of what torch.export gives", where=where, hint=HINT)


__all__ = ["derivatives_kept"]

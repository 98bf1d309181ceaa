"""What the tensor, its storage and autograd's nodes ask of the modules above them.

A tensor is recorded on, viewed, differentiated and printed; what does that is made of tensors, and imports them.  Each of
those modules enters its part here when it is loaded, so that imports go one way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Services:
    """One function each, entered by the module in brackets."""

    __slots__ = (
        "accumulate_into",
        "accumulator",
        "apply",
        "apply_records",
        "as_tensor",
        "backward",
        "evaluate_records",
        "filled",
        "legacy_tensor",
        "make_view",
        "read_view",
        "refresh_history",
        "refuse_hook",
    )

    evaluate_records: Callable[..., Any]
    """Gives records their values (apply)."""
    apply: Callable[..., Any]
    """Records an operation on tensors (apply)."""
    apply_records: Callable[..., Any]
    """Records an operation on records as they are (apply)."""
    make_view: Callable[..., Any]
    """The view of a tensor by one more step (views)."""
    read_view: Callable[..., Any]
    """A view's value as a record on that of its storage (views)."""
    refresh_history: Callable[..., Any]
    """Gives a view the history that its base got since (views)."""
    accumulator: Callable[..., Any]
    """The node that adds into a leaf's gradient (grad_fn)."""
    accumulate_into: Callable[..., Any]
    """A gradient and one more, in place or recorded (inplace)."""
    filled: Callable[..., Any]
    """A tensor of one small exact number (internal)."""
    backward: Callable[..., Any]
    """`Tensor.backward` (backward)."""
    refuse_hook: Callable[..., Any]
    """An error where a hook would never run (conversion)."""
    legacy_tensor: Callable[..., Any]
    """`Tensor(...)`: from sizes or data (creation)."""
    as_tensor: Callable[..., Any]
    """An array as a tensor (creation)."""


services = Services()

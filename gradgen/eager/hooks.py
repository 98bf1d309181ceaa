"""Hooks: ordered callbacks with handles that take them out again."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

_ids = itertools.count()


class RemovableHandle:
    """Takes its hook out again: `remove()`, or at the end of a `with` block."""

    def __init__(self, hooks: dict[int, Any]) -> None:
        self.id = next(_ids)
        self._hooks = weakref.ref(hooks) if isinstance(hooks, HookDict) else lambda: hooks

    def remove(self) -> None:
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.remove()


class HookDict(dict[int, Any]):
    """An ordered table of hooks that handles refer to weakly."""

    __slots__ = ("__weakref__",)

    def add(self, hook: Callable[..., Any]) -> RemovableHandle:
        handle = RemovableHandle(self)
        self[handle.id] = hook
        return handle


class Hooks:
    """The hooks of one node.

    `tensor[nr]` are those registered on the tensor that is output nr, `retain[nr]` a weak reference to the tensor whose
    gradient is to be kept, `pre` and `post` those registered on the node itself, `capture` ... see autograd.py for the
    order they run in.
    """

    __slots__ = ("post", "pre", "retain", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, HookDict] = {}
        self.retain: dict[int, weakref.ref] = {}
        self.pre = HookDict()
        self.post = HookDict()

    def add(self, kind: str, hook: Callable[..., Any]) -> RemovableHandle:
        return (self.pre if kind == "pre" else self.post).add(hook)

    def on_tensor(self, number: int) -> HookDict:
        return self.tensor.setdefault(number, HookDict())

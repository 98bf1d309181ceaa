"""Methods chosen by the kind of what they are given: printers and interpreters."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    by_kind = singledispatchmethod
else:

    class by_kind(singledispatchmethod):
        """The standard one makes a function, and copies another's name and text to it, at every call."""

        def __get__(self, instance: Any, owner: Any = None) -> Callable[..., Any]:
            dispatch = self.dispatcher.dispatch
            return lambda given: dispatch(type(given))(instance, given)


__all__ = ["by_kind"]

"""Packages that a function of the same name hides: `gradgen.build` is the function, and `gradgen.build.compiler` works.

Importing a module sets it as an attribute of its package, from where `import gradgen.build.compiler as c` takes it.  Here
the function gets it too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class _Hidden(ModuleType):
    _shown: Callable[..., Any]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, ModuleType):
            setattr(self._shown, name, value)


def show_through(name: str, function: Callable[..., Any]) -> None:
    """The modules of package `name`, those imported later too, become attributes of `function`."""
    package = sys.modules[name]
    package.__dict__["_shown"] = function
    package.__class__ = _Hidden
    for key, value in list(vars(package).items()):
        if isinstance(value, ModuleType):
            setattr(function, key, value)

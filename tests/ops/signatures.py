"""PyTorch's signatures, recorded: `python -m tests.ops.signatures` writes data/signatures.json from the torch there is.

A function may have several (overloads); they come from Python's own signature, from the documentation's first lines, and
from the schemas of the ATen operator of that name.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "signatures.json"

LEFT_OUT = {"out", "layout", "device", "pin_memory", "requires_grad", "generator", "memory_format"}
"""Arguments that an operation over graphs has no meaning for, or that all functions take alike."""

Argument = tuple[str, str | None, bool]
"""Name, default as text (None: there is none), and whether it goes by name alone."""


def of_function(function: Any) -> list[Argument]:
    return of_parameters(inspect.signature(function).parameters.values())


def of_parameters(parameters: Any) -> list[Argument]:
    return [(p.name, None if p.default is p.empty else text(p.default), p.kind is p.KEYWORD_ONLY) for p in parameters]


def text(value: Any) -> str:
    """A default as text, in which equal values are equal: 1.0 and 1, torch.int64 and torch.long, () and []."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return repr(list(value) if isinstance(value, tuple) else value).removeprefix("torch.")


def from_documentation(name: str, doc: str) -> list[list[Argument]]:
    found = []
    for line in doc.splitlines():
        arguments = r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)"
        m = re.match(rf"\s*(?:\.\. (?:function|method):: )?(?:\w+\.)*{re.escape(name)}{arguments}\s*(?:->.*)?$", line)
        if m:
            found.append(_arguments(m[1]))
    return found


def _arguments(listed: str) -> list[Argument]:
    found: list[Argument] = []
    by_name = False
    for part in re.split(r",(?![^(\[]*[)\]])", listed):
        part = part.strip()
        if part == "*":
            by_name = True
        elif part and part != "/":
            name, _, default = part.partition("=")
            found.append((name.split(":")[0].split(" ")[-1], _literal(default.strip()) if default else None, by_name))
    return found


def _literal(default: str) -> str:
    try:
        return text(eval(default, {"true": True, "false": False, "torch": __import__("torch")}))
    except Exception:
        return default


def from_aten(name: str) -> list[list[Argument]]:
    import torch

    found = []
    for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
        found.append([("input" if a.name == "self" else a.name, text(a.default_value) if a.has_default_value() else None,
                       a.kwarg_only) for a in schema.arguments])
    return found


def recorded() -> dict[str, list[list[Argument]]]:
    return {path: [[tuple(a) for a in s] for s in signatures] for path, signatures in json.loads(DATA.read_text()).items()}


def disagreement(ours: Sequence[Argument], theirs: Sequence[Argument]) -> str:
    """What of `theirs` our signature does not have, "" where it has all: names, order, defaults.  It may have more."""
    names = [name for name, _, _ in ours]
    wanted = [a for a in theirs if a[0] not in LEFT_OUT]
    missing = [name for name, _, _ in wanted if name not in names]
    if missing:
        return f"no argument {', '.join(missing)}"
    positional = [name for name, _, by_name in wanted if not by_name]
    if [n for n in names if n in positional] != positional:
        return f"other order than {', '.join(positional)}"
    defaults = {name: default for name, default, _ in ours}
    return "; ".join(f"{name}={default}, not {defaults[name]}" for name, default, _ in wanted
                     if default not in (None, defaults[name]))


def of_torch(path: str) -> list[list[Argument]]:
    """All signatures of the function of that name."""
    import torch

    function: Any = torch
    for part in path.split("."):
        function = getattr(function, part)
    space, _, name = path.rpartition(".")
    found = from_documentation(name, function.__doc__ or "")
    with contextlib.suppress(TypeError, ValueError):
        found.append(of_function(function))
    found += from_aten(f"{space}_{name}" if space in ("linalg", "special") else name)
    return [s for k, s in enumerate(found) if s not in found[:k]]


def record() -> None:
    from gradgen.ops import by_name

    found = {path: of_torch(path) for path in by_name.names() if not path.startswith("Tensor.")}
    DATA.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n")


if __name__ == "__main__":
    record()

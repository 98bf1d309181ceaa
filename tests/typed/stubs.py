"""Stubs of what is put together when gradgen is imported: the functions of each namespace and the methods of Tensor.

Everything else is annotated where it stands.  Signatures are those of the operation library, so a type checker knows each
name that gradgen has, its arguments, and no other.

    python -m tests.typed.stubs --update
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import gradgen
from gradgen.eager.tensor import Tensor

ROOT = Path(__file__).resolve().parents[2]
HEAD = '"""{}  Generated from the operation library by tests/typed/stubs.py; do not edit."""\n\n'
ROOMS = ("autograd", "errors")
"""Modules of gradgen's that are there without an import of their own."""
TENSOR = "gradgen.eager.tensor"


class Stub:
    """The text of one stub and the imports that its annotations ask for; builtins go by `_b`: torch has a `float` too."""

    def __init__(self, about: str) -> None:
        self.about = about
        self.imports: dict[str, str] = {"Any": "typing"}
        self.lines: list[str] = []

    def text(self) -> str:
        found: dict[str, list[str]] = {}
        for name, module in self.imports.items():
            found.setdefault(module, []).append(name)
        imports = [f"from {module} import {', '.join(f'{n} as {private(n)}' for n in sorted(names))}"
                   for module, names in sorted(found.items())]
        head = HEAD.format(self.about) + "import builtins as _b"
        return "\n".join([head, "import numpy as _np", *imports, "", *self.lines, ""])

    def annotation(self, given: Any, function: Callable[..., Any]) -> str:
        """An annotation in the names of the stub."""
        if given is inspect.Parameter.empty:
            return "_Any"
        text = given if isinstance(given, str) else getattr(given, "__name__", "Any")
        tree = ast.parse(text, mode="eval")
        return ast.unparse(_Names(self, names_of(function)).visit(tree))

    def function(self, name: str, function: Callable[..., Any], indent: str = "") -> None:
        """The line that declares it."""
        parameters, marks = [], set()
        for p in inspect.signature(function).parameters.values():
            if p.kind is p.KEYWORD_ONLY and not marks & {"*"} and not any(q.startswith("*") for q in parameters):
                parameters.append("*")
                marks.add("*")
            stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
            said = f"{stars}{p.name}: {self.annotation(p.annotation, function)}"
            if indent and not parameters and not stars:
                said = "self"
            parameters.append(said + ("" if p.default is p.empty else " = ..."))
        result = self.annotation(inspect.signature(function).return_annotation, function)
        unlike = {"__eq__": "override", "__ne__": "override"}.get(name, "misc" if name.startswith("__i") else "")
        mark = f"  # type: ignore[{unlike}]" if unlike else ""
        self.lines.append(f"{indent}def {name}({', '.join(parameters)}) -> {result}: ...{mark}")


    def made_class(self, name: str, made: type) -> None:
        """A class that is made of a table: a layer of one function, with what it keeps of its arguments."""
        base = made.__mro__[1]
        self.imports["Module"] = "gradgen.nn.module"
        kept = getattr(made, "defaults", {p: q.default for p, q in inspect.signature(made).parameters.items()})
        needed = {inspect.Parameter.empty, getattr(sys.modules[base.__module__], "REQUIRED", None)}
        given = [f"{p}: _Any" + ("" if any(d is n for n in needed) else " = ...") for p, d in kept.items()]
        old = ["size_average: _Any = ...", "reduce: _Any = ..."] if "reduction" in kept else []
        self.lines += [f"class {name}(_Module):", f"    def __init__({', '.join(['self', *given, *old])}) -> None: ..."]


class _Names(ast.NodeTransformer):
    def __init__(self, stub: Stub, known: dict[str, str]) -> None:
        self.stub, self.known = stub, known

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id == "Tensor" or node.id == "Self":
            self.stub.imports["Tensor"] = TENSOR
            return ast.Name("_Tensor")
        if node.id == "np":
            return ast.Name("_np")
        if node.id in self.known:
            self.stub.imports[node.id] = self.known[node.id]
            return ast.Name(private(node.id))
        if hasattr(builtins, node.id):
            return ast.Name(f"_b.{node.id}")
        raise ValueError(f"an annotation names {node.id!r}, which its module neither imports nor defines")


def names_of(function: Callable[..., Any]) -> dict[str, str]:
    """Where each name comes from that annotations of the function's module may use."""
    return _module_names(inspect.unwrap(function).__module__)


@functools.cache
def _module_names(module: str) -> dict[str, str]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    found: dict[str, str] = {}
    for node in ast.walk(tree):  # also what is imported for type checkers alone
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update({a.asname or a.name: node.module for a in node.names if a.asname in (None, a.name)})
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = module
        elif isinstance(node, ast.Assign):
            found.update({t.id: module for t in node.targets if isinstance(t, ast.Name)})
    return found


def importable(value: Any) -> tuple[str, str] | None:
    """Module and name under which a class or function stands in source, where a checker can read it."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if module in sys.modules and name and getattr(sys.modules[module], name, None) is value and module.startswith("gradgen"):
        return module, name
    return None


def namespace(module: ModuleType, about: str, more: Iterable[str] = ()) -> str:
    """The stub of a module whose names are put together when it is imported."""
    stub, names = Stub(about), sorted({n for n in vars(module) if not n.startswith("_")} | set(more))
    values = {n: getattr(module, n) for n in names}
    own = {n: v for n, v in values.items() if not isinstance(v, ModuleType)}
    if module is gradgen.nn:
        own = {n: v for n, v in own.items() if n in gradgen.nn.__all__}
        stub.lines += [f"from gradgen.nn import {n} as {n}" for n in ("functional", "init", "utils")]
    if module is gradgen:
        stub.lines += [f"from gradgen import {n} as {n}" for n in sorted({*ROOMS, *gradgen._LAZY})]
    for name, value in own.items():
        at = importable(value)
        if inspect.isclass(value) and at and at[0] != module.__name__:
            stub.lines.append(f"from {at[0]} import {at[1]} as {name}")
    for name, value in own.items():
        if inspect.isfunction(value):
            stub.function(name, value)
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            stub.made_class(name, value)
        elif not (inspect.isclass(value) and importable(value)):
            stub.lines.append(f"{name}: {_type_of(stub, value)}")
    return stub.text()


def _type_of(stub: Stub, value: Any) -> str:
    kind = type(value)
    if kind in (int, float, str, bool):
        return f"_b.{kind.__name__}"
    at = importable(kind)
    if at is None:
        return "_Any"
    stub.imports[at[1]] = at[0]
    return private(at[1])


def private(name: str) -> str:
    """What a stub calls an imported name that it does not give on."""
    return f"_{name.lstrip('_')}"


def methods() -> str:
    """What `namespace.attach_methods` gives to Tensor: a base class, for checkers only."""
    stub = Stub("The methods of Tensor that are operations.")
    stub.lines.append("class Methods:")
    written = {n for n in ast_members(TENSOR, "Tensor")}
    for name, value in sorted(vars(Tensor).items()):
        if name in written or name in ("__getattr__", "__module__", "__dict__", "__weakref__", "__doc__"):
            continue
        if isinstance(value, property):
            assert value.fget is not None
            given = inspect.signature(value.fget).return_annotation
            stub.lines += ["    @property", f"    def {name}(self) -> {stub.annotation(given, value.fget)}: ..."]
        elif inspect.isfunction(value):
            stub.function(name, value, "    ")
    return stub.text()


def ast_members(module: str, name: str) -> set[str]:
    """The names that a class defines in its source."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name).body
    named = {n.name for n in body if isinstance(n, ast.FunctionDef)}
    named |= {n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    return named | {t.id for n in body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}


def stubs() -> dict[str, str]:
    """The text of each stub by its path."""
    found = {
        "gradgen/__init__.pyi": namespace(gradgen, "gradgen's public names.", [*gradgen._LAZY, *gradgen._OWN]),
        "gradgen/eager/methods.pyi": methods(),
    }
    for space in ("nn", "nn.functional", "linalg", "special"):
        module = importlib.import_module(f"gradgen.{space}")
        path = Path("gradgen", *space.split("."))
        at = path / "__init__.pyi" if (ROOT / path).is_dir() else path.with_suffix(".pyi")
        found[at.as_posix()] = namespace(module, f"torch.{space} by its names.")
    return {path: textwrap.dedent(text) for path, text in found.items()}


if __name__ == "__main__":
    for path, text in stubs().items():
        if sys.argv[1:] == ["--update"]:
            (ROOT / path).write_text(text, encoding="utf-8")
        elif (ROOT / path).read_text(encoding="utf-8") != text:
            sys.exit(f"{path} is stale: python -m tests.typed.stubs --update")

"""`gg.from_jax`: functions of jax.numpy as programs, by their jaxprs."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from gradgen.eager.creation import from_numpy
from gradgen.eager.tensor import Tensor
from gradgen.errors import GradgenError, TraceError, UnsupportedOperationError
from gradgen.importers.jax_running import Run
from gradgen.ir import dtypes
from gradgen.ir.graph import dim_names
from gradgen.record.traced import Spec, TracedFunction
from gradgen.trace.parameters import c_names, trace_with
from gradgen.trace.recording import called

__all__ = ["from_jax"]


def from_jax(
    function: Callable[..., Any], *specs: Any, name: str | None = None, outputs: Sequence[str] | None = None, **named: Any
) -> TracedFunction:
    """The program of a function of jax.numpy, for `gg.build`, `gg.emit`, `show` and `check`; needs the package `jax`.

    The function is traced by `jax.make_jaxpr`; each primitive is one of gradgen's operations.  Derivatives are gradgen's;
    functions of `jax.custom_jvp` and `jax.custom_vjp` (`jax.nn.relu` is one) have those that they say.  Random keys have to
    be known; the numbers drawn are then constants.

    Args:
        function: takes arrays, and dicts, lists and tuples of them; returns the like.
        specs, named: its arguments, for every array in them one of: `gg.spec(...)` or a `jax.ShapeDtypeStruct`, an input
            of the program; an array, a parameter with a gradient, if it has fractions, and this value; anything else is
            what the function is given.  Dimensions with names are `jax.export`'s symbolic ones.  float64 among them
            switches on JAX's 64 bits.
        name: what the module will be called by default, else the function's name.
        outputs: names of the results; by the keys of a dict otherwise, or output0, output1.

    Inputs are named by the argument and the path in it: params.w is params_w in C.  `program.state` has the parameters
    by path, `program.names` their names in C.

    Raises UnsupportedOperationError, naming all primitives that there is no rule for and the user's lines; TraceError for
    arguments that do not fit; what JAX raises while it traces, for sizes with names that it cannot compare, say.
    """
    jax = _package()
    leaves, tree = _leaves(jax, function, specs, named)
    wide = any(leaf.dtype is dtypes.float64 for leaf in leaves)
    with jax.enable_x64(True) if wide else contextlib.nullcontext():
        return _program(jax, function, leaves, tree, name, outputs)


def _package() -> ModuleType:
    try:
        import jax
        import jax.export
    except ImportError:
        hint = 'pip install jax, or pip install "gradgen[jax]"'
        raise GradgenError("gg.from_jax needs the package jax", hint=hint) from None
    module: ModuleType = jax
    return module


@dataclass(frozen=True)
class _Leaf:
    """An array among the arguments: its path, and what it is of."""

    path: str
    spec: Spec
    value: np.ndarray | None

    @property
    def dtype(self) -> Any:
        return self.spec.dtype


class _Tree:
    """The arguments, with holes where arrays stand."""

    def __init__(self, jax: Any, definition: Any, values: list[Any], holes: list[int]) -> None:
        self.jax, self.definition, self.values, self.holes = jax, definition, values, holes

    def filled(self, arrays: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values = list(self.values)
        for k, array in zip(self.holes, arrays):
            values[k] = array
        found: tuple[tuple[Any, ...], dict[str, Any]] = self.jax.tree_util.tree_unflatten(self.definition, values)
        return found


def _leaves(
    jax: Any, function: Callable[..., Any], specs: Sequence[Any], named: Mapping[str, Any]
) -> tuple[list[_Leaf], _Tree]:
    try:
        bound = inspect.signature(function).bind(*specs, **named)
    except TypeError as error:
        hint = "one gg.spec(...), array or value for each argument"
        raise TraceError(f"{called(function)}(): {error}", hint=hint) from None
    paths = {k: n for k, n in enumerate(bound.arguments)}
    parameters = bound.signature.parameters
    flat, definition = jax.tree_util.tree_flatten_with_path((bound.args, bound.kwargs))
    order = [n for n in paths.values() if parameters[n].kind is not inspect.Parameter.VAR_POSITIONAL]
    leaves, holes = [], []
    for place, (path, value) in enumerate(flat):
        rest = path[2:]
        first = path[1].key if path[0].idx == 1 else order[path[1].idx] if path[1].idx < len(order) else f"args.{path[1].idx}"
        spec, array = _spec_of(jax, value)
        if spec is None:
            continue
        text = jax.tree_util.keystr(rest, simple=True, separator=".")
        leaves.append(_Leaf(f"{first}.{text}" if text else str(first), spec, array))
        holes.append(place)
    return leaves, _Tree(jax, definition, [v for _, v in flat], holes)


def _spec_of(jax: Any, value: Any) -> tuple[Spec | None, np.ndarray | None]:
    """(what an argument is, its value): neither for what is no array."""
    if isinstance(value, Spec):
        return value, None
    if isinstance(value, jax.ShapeDtypeStruct):
        run = Run(jax)
        return Spec(tuple(run.size(e) for e in value.shape), run.kind(value.dtype)), None
    if isinstance(value, (np.ndarray, np.generic, jax.Array)) and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended):
        array = np.asarray(value)
        if array.dtype.name in {d.name for d in dtypes.ALL}:
            return Spec(array.shape, dtypes.dtype(array.dtype.name), array.dtype.kind == "f"), array
    return None, None


def _program(jax: Any, function: Callable[..., Any], leaves: Sequence[_Leaf], tree: _Tree, name: str | None,
             outputs: Sequence[str] | None) -> TracedFunction:
    inputs = [leaf for leaf in leaves if leaf.value is None]
    names = c_names([leaf.path for leaf in inputs], ())
    specs = {names[leaf.path]: leaf.spec for leaf in inputs}
    tensors: dict[str, Tensor] = {}
    for leaf in leaves:
        if leaf.value is not None:
            made = from_numpy(np.array(leaf.value))
            tensors[leaf.path] = made.requires_grad_() if leaf.spec.requires_grad else made
    closed, shape = _jaxpr(jax, function, leaves, tree)
    results = jax.tree_util.tree_flatten_with_path(shape)[0]
    paths = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in results]
    if outputs is None:
        plain = ["output" if not p else f"output{p}" if p[0].isdigit() else p for p in paths]
        outputs = list(c_names(plain, {*names.values(), *dim_names(specs.values())}).values())

    def traced(**given: Tensor) -> tuple[Tensor, ...]:
        run = Run(jax)
        arrays = [given[names[leaf.path]] if leaf.value is None else tensors[leaf.path] for leaf in leaves]
        arrays = [a.to(run.kind(v.aval.dtype)) for a, v in zip(arrays, closed.jaxpr.invars)]
        found = run.inner(closed, arrays)
        if run.missing:
            words = f"{called(function)}() has primitives of JAX that there is no rule for:"
            lines = [f"{what} ({', '.join([*list(at)[:5], *['...'] * (len(at) > 5)])})" for what, at in run.missing.items()]
            raise UnsupportedOperationError("\n  ".join([words, *lines]))
        return tuple(run.tensor(v) for v in found)

    return trace_with(traced, specs, tensors, name=name or called(function), outputs=outputs)


def _jaxpr(jax: Any, function: Callable[..., Any], leaves: Sequence[_Leaf], tree: _Tree) -> tuple[Any, Any]:
    """The jaxpr of the function's arrays, and the shapes of what it returns."""
    symbols = sorted(dim_names(leaf.spec for leaf in leaves))
    scope = dict(zip(symbols, jax.export.symbolic_shape(", ".join(symbols)))) if symbols else {}

    def extent(e: Any) -> Any:
        return e if isinstance(e, int) else scope[e.name]

    def flat(*arrays: Any) -> Any:
        args, keywords = tree.filled(arrays)
        return function(*args, **keywords)

    given = [jax.ShapeDtypeStruct(tuple(map(extent, leaf.spec.shape)), _canonical(jax, leaf.dtype)) for leaf in leaves]
    found: tuple[Any, Any] = jax.make_jaxpr(flat, return_shape=True)(*given)
    return found


def _canonical(jax: Any, dtype: Any) -> Any:
    """The type that JAX has in its place: int32 for int64 unless its 64 bits are on."""
    return jax.dtypes.canonicalize_dtype(dtype.numpy)

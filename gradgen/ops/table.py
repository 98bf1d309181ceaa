"""Where the public functions of the operation library are listed, and how they call their entry.

`FUNCTIONS[namespace][name]` are the functions users see ("" is the top level), `METHODS[name]` those that are also
methods of Tensor (operators by their dunder names), `PROPERTIES[name]` those read without a call, `INPLACE["add_"]` the
out-of-place function whose result the in-place method writes into its tensor.  `SAMPLES["nn.functional.softmax"]`
are the
calls from which tests, fuzzing and gradcheck are made.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeVar

from gradgen.ops.axis_counts import Rules, counted
from gradgen.ops.registry import FLOAT, PUBLIC, Op, Sample, Saves, pointwise
from gradgen.ops.samples import DOMAIN_EDGES, Spec, edges
from gradgen.ops.tensors import current

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

F = TypeVar("F", bound=Callable[..., Any])

FUNCTIONS: dict[str, dict[str, Callable[..., Any]]] = {}
METHODS: dict[str, Callable[..., Any]] = {}
PROPERTIES: dict[str, Callable[..., Any]] = {}
INPLACE: dict[str, Callable[..., Any]] = {}
SAMPLES: dict[str, list[Sample]] = {}


def call(op: Op, *operands: Any, **attributes: Any) -> Any:
    """Records `op` on Tensors and Python numbers; the attributes are static and hashable."""
    return current.tensors.apply(op, operands, attributes)


def is_tensor(value: object) -> bool:
    return isinstance(value, current.tensors.kind)


def require_tensor(value: object, function: str, name: str = "input", position: int = 1) -> None:
    """TypeError in PyTorch's words where `value` is no Tensor."""
    if not is_tensor(value):
        raise TypeError(
            f"{function}(): argument '{name}' (position {position}) must be Tensor, not {type(value).__name__}"
        )


def public(
    *namespaces: str,
    method: bool | str = False,
    inplace: bool = False,
    aliases: Sequence[str] = (),
    samples: Sequence[Sample] = (),
    name: str | None = None,
    axes: Rules | None = None,
) -> Callable[[F], F]:
    """Lists a function under its namespaces, as a method too where `method`, and with its in-place variant.

    `axes` says how many axes its operands may have.
    """

    def add(function: F) -> F:
        if axes is not None:
            function = counted(function, axes)
        own = name or function.__name__.rstrip("_")
        also = numpy_names(function)
        PUBLIC.setdefault(own, function)
        for key in (own, *aliases):
            for namespace in namespaces or ("",):
                FUNCTIONS.setdefault(namespace, {})[key] = function if namespace == "nn.functional" else also
            if method:
                METHODS[key] = also
            if inplace:
                INPLACE[f"{key}_"] = function
        if samples:
            first = (namespaces or ("",))[0]
            SAMPLES.setdefault(f"{first}.{own}".lstrip("."), []).extend(samples)
        return function

    return add


_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "axis0": "dim0", "axis1": "dim1",
                "split_size": "split_size_or_sections"}


def numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, taking NumPy's `axis` and `keepdims` for its `dim` and `keepdim` as PyTorch's functions do, and the
    names of PyTorch's methods where those differ."""
    parameters = _parameters(function)
    names = {theirs: ours for theirs, ours in _NUMPY_NAMES.items() if ours in parameters and theirs not in parameters}
    if not names:
        return function

    @functools.wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not names.keys().isdisjoint(kwargs):
            for theirs, ours in names.items():
                if theirs in kwargs:
                    if ours in kwargs:
                        raise TypeError(f"{function.__name__}() got '{ours}' and '{theirs}', which are the same")
                    kwargs[ours] = kwargs.pop(theirs)
        return function(*args, **kwargs)

    return either


def _parameters(function: Callable[..., Any]) -> Collection[str]:
    """The names of a function's parameters: `inspect.signature`, in a tenth of its time where the code says it."""
    told = inspect.unwrap(function, stop=lambda f: hasattr(f, "__signature__"))
    code = getattr(told, "__code__", None)
    if code is None or hasattr(told, "__signature__"):
        return inspect.signature(function).parameters
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def operator(name: str, function: Callable[..., Any]) -> None:
    """A dunder method: NotImplemented for operands that are neither Tensors nor numbers."""

    def method(self: Tensor, *others: Tensor | SupportsFloat) -> Tensor:
        if others and not (
            is_tensor(others[0]) or isinstance(others[0], (bool, int, float)) or _number_like(others[0])
        ):
            return NotImplemented
        return function(self, *others)

    method.__name__ = method.__qualname__ = name
    METHODS[name] = method


def _number_like(value: object) -> bool:
    return hasattr(value, "__float__") and getattr(value, "shape", ()) == ()


def unary(
    name: str,
    expression: Callable[..., Any],
    *,
    rule: str = FLOAT,
    grad_name: str | None = None,
    saves: Saves | None = None,
    domain: str = "real",
    namespaces: Sequence[str] = ("",),
    method: bool = True,
    inplace: bool = True,
    aliases: Sequence[str] = (),
    dtypes: Sequence[str] = ("float32", "float64"),
    differentiable: bool = True,
    doc: str = "",
) -> Callable[..., Any]:
    """A pointwise operation of one tensor, all of it: entry, function, method, in-place variant and samples."""
    calls = [
        Sample((Spec((2, 3), domain),), (), tuple(dtypes), differentiable),
        Sample((edges(DOMAIN_EDGES[domain]),), (), tuple(d for d in dtypes if d.startswith("float")), differentiable),
        Sample((Spec((), domain),), (), tuple(dtypes[-1:]), differentiable),
        Sample((Spec((0, 3), domain),), (), tuple(dtypes[-1:]), False),
    ]
    if rule == FLOAT:
        calls.append(Sample((Spec((4,), "positive"),), (), ("int64",), False))
    op = pointwise(name, expression, rule=rule, grad_name=grad_name, saves=saves)

    def function(input: Tensor) -> Tensor:
        require_tensor(input, name)
        return call(op, input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc or f"{name} of every element; the result has the shape of `input`."
    public(*namespaces, method=method, inplace=inplace, aliases=aliases, samples=calls, name=name)(function)
    return function


def signature(path: str) -> inspect.Signature:
    """The signature of the public function at `path` ("nn.functional.softmax"), for the documentation."""
    namespace, _, name = path.rpartition(".")
    return inspect.signature(FUNCTIONS[namespace][name])


_CALLERS = ("symbolic", "by_name")
"""Modules of this room that use the library and are no part of it."""


def load_operations() -> None:
    """Imports every family of the library, which registers its entries."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module.name not in _CALLERS:
            importlib.import_module(f"{package}.{module.name}")

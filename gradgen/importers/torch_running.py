"""PyTorch models as programs, by running them: the door of `gg.from_torch` where torch.export has none.

The model's own Python runs on traced tensors (`torch_traced`), so that derivatives inside it, Python that depends on shapes,
custom autograd.Functions and transforms of torch.func are what they are in eager use.  While it runs, its parameters and
buffers are traced ones; afterwards every module is what it was.
"""

from __future__ import annotations

import inspect
import os
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils import _pytree as pytree

from gradgen.eager.modes import no_grad
from gradgen.eager.tensor import Tensor
from gradgen.errors import GradgenError, TraceError
from gradgen.importers.torch_graph import free_name, parameter_names, python_floats, result_name
from gradgen.importers.torch_traced import Session, Traced
from gradgen.importers.torch_transforms import redirected
from gradgen.ir import dtypes
from gradgen.record.traced import Spec, TracedFunction
from gradgen.record.user_lines import passing_over
from gradgen.trace.parameters import trace_with
from gradgen.trace.tracing import spec

COUNTER = "num_batches_tracked"
_INSIDE = os.path.dirname(os.path.abspath(torch.__file__))


def run_torch(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *,
    loss: Callable[..., Any] | None = None, loss_args: Sequence[Any] = (), dynamic_shapes: Any = None,
    train: bool | None = None, dtype: Any = None, name: str | None = None,
) -> TracedFunction:
    """The program of a torch Module, or of a function of torch tensors and the Modules that it uses, run once.

    As `gg.from_torch`, which says what the arguments are.  An example that requires a gradient is an input with one.
    Raises TraceError, with the model's line, where Python looks at values or at a named size; UnsupportedOperationError for a
    function that gradgen has not; RuntimeError and others in PyTorch's words.
    """
    run = _Run(model, loss, None if dtype is None else dtypes.dtype(dtype), train)
    inputs = _Inputs(run, args, dict(kwargs or {}), loss_args, dynamic_shapes)

    def function(**given: Tensor) -> dict[str, Tensor]:
        with run.running() as session:
            held = {n: t if t.requires_grad else t.detach() for n, t in given.items()}  # its flag may be set: no argument's
            values = inputs.rebuilt({n: session.wrapped(t) for n, t in held.items()})
            return run.results(session, *values)

    called = name or (type(model).__name__ if isinstance(model, torch.nn.Module) else getattr(model, "__name__", "model"))
    return trace_with(_with_signature(function, inputs.specs), inputs.specs, run.tensors,
                      name=called if called.isidentifier() else "model", aliases=run.aliases, order=run.order)


def _with_signature(function: Callable[..., Any], names: Mapping[str, Any]) -> Callable[..., Any]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    function.__signature__ = inspect.Signature([inspect.Parameter(n, keyword) for n in names])  # type: ignore[attr-defined]
    return function


# --- the model --------------------------------------------------------------------------------------------------------


class _Run:
    """A model and its loss: their tensors as gradgen's, by path, and what puts those in their place."""

    def __init__(self, model: Any, loss: Any, kind: Any, train: bool | None) -> None:
        if not callable(model):
            raise GradgenError(f"gg.from_torch takes a torch.nn.Module or a function, not {type(model).__name__}")
        self.model, self.loss, self.kind, self.train = model, loss, kind, train
        self.session = Session(kind)
        self.tensors: dict[str, Tensor] = {}
        self.aliases: dict[str, str] = {}
        self.order: list[str] = []
        self.own: dict[int, tuple[torch.Tensor, Tensor]] = {}
        """By the identity of a torch tensor: it, and the gradgen tensor that stands for it."""
        self.modules: list[torch.nn.Module] = []
        roots = modules_used_by(model)
        for prefix, module in roots.items():
            self._add(module, prefix if len(roots) > 1 or prefix not in ("", "model") else "")
        for prefix, module in modules_used_by(loss).items() if loss is not None else ():
            if not any(module is m for m in self.modules):
                self._add(module, f"loss.{prefix}".rstrip("."))

    def _add(self, root: torch.nn.Module, prefix: str) -> None:
        first = {id(t): p for p, t in self.tensors.items()}
        scripted = next((m for m in root.modules() if isinstance(m, torch.jit.ScriptModule)), None)
        if scripted is not None:
            raise GradgenError(f"{scripted.original_name} is a scripted module, which no Python runs through",
                               hint="give the Module that it was made of")
        self.modules += [m for m in root.modules() if not any(m is o for o in self.modules)]
        state = root.state_dict(prefix=f"{prefix}." if prefix else "", keep_vars=True)
        self.order += [p for p, t in state.items() if isinstance(t, torch.Tensor)]
        named = {p: t for table in (root.named_parameters, root.named_buffers)
                 for p, t in table(prefix=prefix, remove_duplicate=False)}
        for path in (*(p for p in state if p in named), *(p for p in named if p not in state)):
            if path.endswith(COUNTER):
                continue
            held = self._held(named[path])
            if first.setdefault(id(held), path) != path:
                self.aliases[path] = first[id(held)]
            else:
                self.tensors[path] = held

    def _held(self, tensor: torch.Tensor) -> Tensor:
        if id(tensor) not in self.own:
            held = self.session.own_tensor(tensor)
            self.own[id(tensor)] = (tensor, held)
        return self.own[id(tensor)][1]

    @contextmanager
    def running(self) -> Iterator[Session]:
        """The model is one of traced tensors, and everything that a run could change is put back at the end."""
        before = [(m, dict(m.__dict__), [dict(m.__dict__[t]) for t in _TABLES]) for m in self.modules]
        random = torch.random.get_rng_state()
        self.buffers = {m: tables[1] for m, _, tables in before}
        self.session.begin()
        try:
            with ExitStack() as stack:
                stack.enter_context(torch.inference_mode(False))
                stack.enter_context(torch.enable_grad())
                stack.enter_context(passing_over(_INSIDE))
                stack.enter_context(redirected())
                stack.enter_context(torch.compiler.set_stance("force_eager"))
                stack.enter_context(mock.patch.object(torch.distributions.Distribution, "_validate_args", False))
                stack.enter_context(python_floats(torch, self.kind))
                stack.enter_context(self.session.running())
                for module in self.modules:
                    self._substitute(module)
                yield self.session
        finally:
            torch.random.set_rng_state(random)
            for module, attributes, tables in before:
                for table, entries in zip(_TABLES, tables):
                    attributes[table].clear()
                    attributes[table].update(entries)
                module.__dict__.clear()
                module.__dict__.update(attributes)

    def _substitute(self, module: torch.nn.Module) -> None:
        attributes = module.__dict__
        for table in ("_parameters", "_buffers"):
            for name, tensor in attributes[table].items():
                if tensor is not None and id(tensor) in self.own:
                    attributes[table][name] = self._wrapped(tensor)
        counter = attributes["_buffers"].get(COUNTER)
        if counter is not None and getattr(module, "momentum", 0) is not None:
            attributes["_buffers"][COUNTER] = None
        for name, value in list(attributes.items()):
            if name not in _KEPT:
                attributes[name] = self._replaced(value)
        if self.train is not None:
            attributes["training"] = self.train

    def _replaced(self, value: Any) -> Any:
        """A tensor of the model's by its traced one, also where a list of the module's holds it; lists are copied."""
        if isinstance(value, torch.Tensor):
            return self._wrapped(value) if id(value) in self.own else value
        if type(value) in (list, tuple):
            return type(value)(map(self._replaced, value))
        if type(value) is dict:
            return {k: self._replaced(v) for k, v in value.items()}
        return value

    def _wrapped(self, tensor: torch.Tensor) -> Traced:
        made = self.session.wrapped(self.own[id(tensor)][1])
        made._is_param = isinstance(tensor, torch.nn.Parameter)
        if tensor._post_accumulate_grad_hooks:  # type: ignore[attr-defined]
            raise TraceError("a hook that runs after a gradient was added to .grad has no place in a program")
        for hook in (tensor._backward_hooks or {}).values():
            made.register_hook(hook)
        return made

    def results(self, session: Session, args: list[Any], kwargs: dict[str, Any], loss_args: list[Any]) -> dict[str, Tensor]:
        """The results by name; buffers in whose place the model put other tensors are changed."""
        found = self.model(*args, **kwargs)
        if self.loss is not None:
            found = self.loss(found, *loss_args)
        for module in self.modules:
            self._keep_buffers(module)
        named: dict[str, Tensor] = {}
        for path, value in pytree.tree_flatten_with_path(_plain(found))[0]:
            if isinstance(value, torch.Tensor):
                named[result_name(path, named)] = session.held(value)
        if not named:
            raise TraceError(f"the model returns no tensor but {type(found).__name__}")
        return named

    def _keep_buffers(self, module: torch.nn.Module) -> None:
        """What the model put in the place of a buffer is the buffer's new value."""
        for name, old in self.buffers[module].items():
            new = module._buffers.get(name)
            if id(old) in self.own and isinstance(new, torch.Tensor):
                held, value = self.own[id(old)][1], self.session.held(new)
                if value is not held:
                    with no_grad():
                        held.copy_(value)  # type: ignore[attr-defined]


_TABLES = ("_parameters", "_buffers", "_modules")
_KEPT = (*_TABLES, "training")


def modules_used_by(function: Any) -> dict[str, torch.nn.Module]:
    """The Module itself, or those that a function has in its closure, defaults, globals by name, or is a method of."""
    if isinstance(function, torch.nn.Module):
        return {"": function}
    found: dict[str, torch.nn.Module] = {}
    owner = getattr(function, "__self__", None)
    if isinstance(owner, torch.nn.Module):
        found[""] = owner
    while hasattr(function, "func") and not isinstance(function, types.FunctionType):  # functools.partial
        for k, value in enumerate((*function.args, *function.keywords.values())):
            if isinstance(value, torch.nn.Module):
                found.setdefault(f"model{k or ''}", value)
        function = function.func
    plain = getattr(function, "__func__", function)
    if isinstance(plain, types.FunctionType):
        used = inspect.getclosurevars(plain)
        for name, value in {**used.globals, **used.nonlocals}.items():
            for path, module in _modules_in(name, value):
                if not any(module is m for m in found.values()):
                    found[path] = module
    return found


def _modules_in(name: str, value: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    if isinstance(value, torch.nn.Module):
        yield name, value
    elif isinstance(value, types.FunctionType):
        yield from ((n, m) for n, m in modules_used_by(value).items())
    elif isinstance(value, (list, tuple, dict)) and len(value) < 1000:
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for k, v in entries:
            if isinstance(v, torch.nn.Module):
                yield f"{name}.{k}", v


def _plain(value: Any) -> Any:
    """Mappings of a class of their own as dicts: the outputs of models."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [_plain(v) for v in value]
    return value


# --- inputs -----------------------------------------------------------------------------------------------------------


class _Inputs:
    """The tensors among the example arguments, as inputs with names; all other arguments are as they are."""

    def __init__(
        self, run: _Run, args: Sequence[Any], kwargs: dict[str, Any], loss_args: Sequence[Any], dynamic: Any,
    ) -> None:
        own = parameter_names(getattr(run.model, "forward", run.model), len(args))
        more = parameter_names(run.loss, len(loss_args) + 1)[1:] if run.loss is not None else []
        said = {"args": own, "loss": more}
        self.leaves, self.tree = pytree.tree_flatten_with_path((list(args), kwargs, list(loss_args)))
        sizes = _dynamic_sizes(dynamic, own, kwargs, more)
        self.specs: dict[str, Spec] = {}
        self.names: dict[int, str] = {}
        for k, (path, value) in enumerate(self.leaves):
            if not isinstance(value, torch.Tensor):
                continue
            part, *keys = [getattr(e, "idx", getattr(e, "key", getattr(e, "name", None))) for e in path]
            argument = keys[0] if part == 1 else said["args" if part == 0 else "loss"][keys[0]]
            label = free_name("_".join(map(str, (argument, *keys[1:]))), self.specs)
            extents = [_size(sizes, (argument, *keys[1:]), axis, e) for axis, e in enumerate(value.shape)]
            gradient = value.requires_grad and value.dtype.is_floating_point
            self.names[k] = label
            self.specs[label] = spec(*extents, dtype=run.session.dtype(value.dtype), requires_grad=gradient)

    def rebuilt(self, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], list[Any]]:
        values = [given[self.names[k]] if k in self.names else v for k, (_, v) in enumerate(self.leaves)]
        args, kwargs, loss_args = pytree.tree_unflatten(values, self.tree)
        return args, kwargs, loss_args


def _dynamic_sizes(given: Any, own: Sequence[str], kwargs: Mapping[str, Any], more: Sequence[str]) -> dict[Any, Any]:
    """dynamic_shapes by the name of the argument."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict(zip((*own, *more), given))
    unknown = [n for n in given if n not in (*own, *kwargs, *more)]
    if unknown:
        raise GradgenError(f"dynamic_shapes: there is no argument {unknown[0]!r}",
                           hint=f"the arguments are {', '.join((*own, *kwargs, *more))}")
    return dict(given)


def _size(sizes: Mapping[Any, Any], path: tuple[Any, ...], axis: int, extent: int) -> Any:
    """The extent of an axis: a number, or what dynamic_shapes names it."""
    found: Any = sizes
    for key in path:
        try:
            found = found[key]
        except (KeyError, IndexError, TypeError):
            return extent
    if isinstance(found, Mapping):
        found = found.get(axis)
    elif isinstance(found, (list, tuple)):
        found = found[axis] if axis < len(found) else None
    else:
        found = None
    if found is None or isinstance(found, int) or found is torch.export.Dim.STATIC:
        return extent
    if isinstance(found, str):
        return found
    if isinstance(found, type(torch.export.Dim.AUTO)):
        return f"{path[0]}_size{axis}"
    return _dimension(found)


def _dimension(given: Any) -> Any:
    """gradgen's named size for a torch.export.Dim."""
    from gradgen.record.dimensions import Dimension, dim

    if isinstance(given, Dimension):
        return given
    name = getattr(given, "__name__", None)
    if name is None or not name.isidentifier():
        raise GradgenError(f"dynamic_shapes: {given!r} is no dimension with a name of its own",
                           hint="only plain dimensions can be the extents of inputs")
    low, high = getattr(given, "min", None), getattr(given, "max", None)
    least = low if isinstance(low, int) and low > 0 else None
    most = high if isinstance(high, int) and high < 2**31 - 1 else None
    return dim(name, min=least, max=most) if least or most else name

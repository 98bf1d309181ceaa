"""PyTorch models as programs, by way of `torch.export`: a door of `gg.from_torch`.

The exported graph is interpreted once with gradgen's own functions on symbolic tensors, as `gg.trace` runs a function: views,
changes in place, running statistics and random numbers mean there what they mean in eager use.  torch is imported here alone.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gradgen.errors import GradgenError
from gradgen.importers.torch_graph import TABLE, Run, free_name, lacking, line_of, parameter_names, python_floats
from gradgen.importers.torch_lost import derivatives_kept
from gradgen.ir import dtypes
from gradgen.record.dimensions import dim
from gradgen.record.traced import Spec, TracedFunction
from gradgen.trace.parameters import trace_with
from gradgen.trace.tracing import spec


def export_torch(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *,
    loss: Callable[..., Any] | None = None, loss_args: Sequence[Any] = (), dynamic_shapes: Any = None,
    train: bool | None = None, dtype: Any = None, name: str | None = None,
) -> TracedFunction:
    """As `gg.from_torch`, by torch.export."""
    import torch

    if isinstance(model, torch.export.ExportedProgram):
        exported, called = model, name or "model"
        names, state = _names_of_graph(exported), exported.state_dict
    else:
        whole = _with_loss(torch, model, loss, tuple(loss_args), dict(kwargs or {}), len(args))
        with _mode(model, train):
            exported = _exported(torch, whole, (*args, *loss_args), dict(kwargs or {}), dynamic_shapes)
        called = name or type(model).__name__
        names = whole.input_names(exported)
        state = {p.removeprefix("model."): t for p, t in whole.state_dict().items()}
    return _program(torch, _decomposed(torch, exported), called if called.isidentifier() else "model", names, dtype,
                    [p for p, t in state.items() if isinstance(t, torch.Tensor)])


# --- exporting --------------------------------------------------------------------------------------------------------


def _with_loss(torch: Any, model: Any, loss: Any, loss_args: tuple[Any, ...], kwargs: dict[str, Any], count: int) -> Any:
    """A Module that is called with the model's arguments and then the loss's, under the names that both have for them."""
    if not isinstance(model, torch.nn.Module):
        raise GradgenError(f"torch.export takes a torch.nn.Module, not {type(model).__name__}",
                           hint='a function that uses Modules can be run: via="run"')
    own = parameter_names(model.forward, count)
    more = parameter_names(loss, len(loss_args) + 1)[1:] if loss is not None else []

    class WithLoss(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            if isinstance(loss, torch.nn.Module):
                self.loss = loss

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            found = self.model(*args[:count], **kwargs)
            return found if loss is None else loss(found, *args[count:])

        def input_names(self, exported: Any) -> list[str]:
            return _leaf_names(torch, exported, [*own, *more])

    made = WithLoss()
    made.training = model.training
    return made


def _leaf_names(torch: Any, exported: Any, names: Sequence[str]) -> list[str]:
    """A name for every leaf of the inputs: the argument's, with the path below it where it is a container."""
    from torch.utils import _pytree as pytree

    spec_tree = exported.call_spec.in_spec
    leaves = pytree.tree_unflatten(list(range(spec_tree.num_leaves)), spec_tree)
    found: dict[int, str] = {}
    for path, number in pytree.tree_flatten_with_path(leaves)[0]:
        keys = [str(getattr(k, "idx", getattr(k, "key", getattr(k, "name", k)))) for k in path]
        if keys[0] == "0" and len(keys) > 1:
            position = int(keys[1])
            keys = [names[position] if position < len(names) else f"input{position}", *keys[2:]]
        else:
            keys = keys[1:] or [f"input{number}"]
        found[number] = "_".join(keys)
    return [found[k] for k in range(len(found))]


def _names_of_graph(exported: Any) -> list[str]:
    return [s.arg.name for s in exported.graph_signature.input_specs if s.kind.name == "USER_INPUT"]


@contextmanager
def _mode(model: Any, train: bool | None) -> Iterator[None]:
    """The model in training or evaluation, and every part of it as it was afterwards."""
    before = {m: m.training for m in model.modules()} if hasattr(model, "modules") else {}
    if train is not None and before:
        model.train(train)
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


def _exported(torch: Any, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any) -> Any:
    """Exported without changes of the model: its buffers and the random state are put back."""
    buffers = {n: b.detach().clone() for n, b in module.named_buffers()}
    random = torch.random.get_rng_state()
    shapes = _dynamic(torch, module, args, kwargs, dynamic_shapes)
    leaves = torch.utils._pytree.tree_leaves((args, kwargs))
    try:
        with warnings.catch_warnings(), derivatives_kept(torch, module, leaves):
            warnings.simplefilter("ignore")
            return torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=False)
    finally:
        torch.random.set_rng_state(random)
        with torch.no_grad():
            for n, b in module.named_buffers():
                if not torch.equal(b, buffers[n]):
                    b.copy_(buffers[n])


def _dynamic(torch: Any, module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], given: Any) -> Any:
    """dynamic_shapes for the module with its starred arguments: a tuple, one entry an argument."""
    if given is None:
        return None
    made: dict[str, Any] = {}

    def dims(entry: Any) -> Any:
        if isinstance(entry, str):
            return made.setdefault(entry, torch.export.Dim(entry))
        if isinstance(entry, dict):
            return {k: dims(v) for k, v in entry.items()}
        return type(entry)(dims(v) for v in entry) if isinstance(entry, (list, tuple)) else entry

    if not isinstance(given, Mapping):
        plain: dict[str, Any] = {"args": tuple(dims(e) for e in given)}
        return plain | ({"kwargs": dict.fromkeys(kwargs)} if kwargs else {})
    names = _argument_names(module, len(args))
    unknown = [n for n in given if n not in names and n not in kwargs]
    if unknown:
        raise GradgenError(f"dynamic_shapes: there is no argument {unknown[0]!r}",
                           hint=f"the arguments are {', '.join([*names, *kwargs])}")
    found: dict[str, Any] = {"args": tuple(dims(given.get(n)) for n in names)}
    return found | ({"kwargs": {n: dims(given.get(n)) for n in kwargs}} if kwargs else {})


def _argument_names(module: Any, count: int) -> list[str]:
    closure = inspect.getclosurevars(module.input_names).nonlocals
    return [*closure["own"], *closure["more"]][:count]


def _decomposed(torch: Any, exported: Any) -> Any:
    """The exported program with what the table lacks decomposed; GradgenError naming all that is missing still."""
    decomposing = {op for op, _ in lacking(torch, exported.graph_module)}
    if decomposing:
        from torch._decomp import core_aten_decompositions

        table = {op: rule for op, rule in core_aten_decompositions().items() if op in decomposing}
        exported = exported.run_decompositions(table) if table else exported
    left: dict[str, str] = {}
    for op, node in lacking(torch, exported.graph_module):
        left.setdefault(str(op), line_of(node) or "")
    if left:
        named = ", ".join(f"{op} ({line})" if line else op for op, line in sorted(left.items()))
        raise GradgenError(f"gradgen has no {named}", hint=TABLE)
    return exported


# --- interpreting -----------------------------------------------------------------------------------------------------


def _program(torch: Any, exported: Any, name: str, names: Sequence[str], dtype: Any, order: Sequence[str]) -> TracedFunction:
    signature = exported.graph_module.graph
    kind = None if dtype is None else dtypes.dtype(dtype)
    run = Run(torch, exported, kind)
    tensors, aliases = run.tensors()
    tensors = {p: tensors[p] for p in (*(p for p in order if p in tensors), *(p for p in tensors if p not in order))}
    symbols = _symbol_names(exported)
    specs: dict[str, Spec] = {}
    inputs: dict[str, str] = {}
    nodes = {n.name: n for n in signature.nodes if n.op == "placeholder"}
    users = [s.arg for s in exported.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
    for argument, said in zip(users, names, strict=True):
        if not hasattr(argument, "name") or argument.name not in nodes or type(argument).__name__ != "TensorArgument":
            continue  # a number or None: it is in the graph
        value = nodes[argument.name].meta["val"]
        own = free_name(said, specs)
        inputs[argument.name] = own
        extents = (_extent(e, symbols) for e in value.shape)
        specs[own] = spec(*extents, dtype=run.dtype(value.dtype), requires_grad=value.requires_grad)

    def function(**given: Any) -> dict[str, Any]:
        with python_floats(torch, kind):
            return run({k: given[v] for k, v in inputs.items()})

    return trace_with(function, specs, tensors, name=name, aliases=aliases, order=order)


def _symbol_names(exported: Any) -> dict[str, Any]:
    """torch's symbols of sizes as dimensions by the names of the user's Dims, with their bounds where they say more."""
    found: dict[str, Any] = {}
    for node in exported.graph.nodes:
        for e in getattr(node.meta.get("val"), "shape", ()) if node.op == "placeholder" else ():
            symbol = str(e.node.expr) if hasattr(e, "node") else ""
            if not symbol.isidentifier() or symbol in found:
                continue
            said = _dim_name(e.node) or f"d{len(found)}"
            bounds = next((r for s, r in exported.range_constraints.items() if str(s) == symbol), None)
            least, most = (str(b) for b in (bounds.lower, bounds.upper)) if bounds is not None else ("", "")
            low = int(least) if least.isdigit() and int(least) > 2 else None  # torch takes 0 and 1 for constants
            high = int(most) if most.isdigit() and int(most) < sys.maxsize else None
            found[symbol] = dim(said, min=low, max=high) if low or high else said
    return found


def _dim_name(node: Any) -> str | None:
    """What the user called the dimension of a symbolic size: torch notes it by the places that the size is read from."""
    env = node.shape_env
    for source in getattr(env, "var_to_sources", {}).get(node.expr, ()):
        name = getattr(env, "source_name_to_debug_name", {}).get(source.name() if callable(source.name) else source.name)
        if name and str(name).isidentifier():
            return str(name)
    return None


def _extent(e: Any, symbols: Mapping[str, Any]) -> Any:
    if isinstance(e, int):
        return e
    text = str(e.node.expr)
    if text in symbols:
        return symbols[text]
    raise GradgenError(f"an input has the extent {text}: only plain dimensions can be inputs' extents",
                       hint="give that axis a Dim of its own, or a fixed size")


__all__ = ["export_torch"]

"""Models: functions that use tensors from outside by their paths, which become inputs of the program.

The parameters of a Module, the weights of an imported model: tensors that the function closes over, each with a dotted path.
While the function is recorded, every one of them is a symbol; afterwards it is what it was.  Those with a gradient are inputs
with one, the others inputs without, and what the function changes in place or puts another tensor for is a state.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradgen.autodiff import gradient_reach
from gradgen.eager.tensor import Tensor
from gradgen.ir.graph import dim_names
from gradgen.ir.nodes import Input
from gradgen.record.traced import Spec, TracedFunction
from gradgen.trace.recording import recorded, usable


def trace_with(
    function: Callable[..., Any], specs: Mapping[str, Spec], tensors: Mapping[str, Tensor], *, name: str,
    outputs: Sequence[str] | None = None, aliases: Mapping[str, str] | None = None, order: Iterable[str] | None = None,
    check: bool = True, parts: Collection[str] = ("",),
) -> TracedFunction:
    """The program of `function`, called with symbolic tensors of `specs` by name, over the `tensors` that it closes over.

    Args:
        tensors: by dotted path ("layers.0.weight"): inputs in this order behind the function's own, with a gradient where
            they require one.  What has no part in any result is left out.  Two paths of one tensor are one input.
        aliases: further paths -> the path in `tensors` that they are the same parameter as.
        order: the paths of a state_dict, those of `tensors` unless given.
        parts: what the paths of each model begin with: the state of one that is used has what no result depends on, too, but
            for what an argument is given in the place of.

    The C name of a path is the path with underscores, made unique (`program.names`); `program.state` has the values by path.
    Raises what `gg.trace` raises, and TraceError where a tensor with a gradient is changed in place.
    """
    paths, doubles = _distinct(tensors)
    tied = {**dict(aliases or {}), **doubles}
    ordered = [*(tensors if order is None else order)]
    own = {p: tensors[p] for p in paths}
    values = {p: np.array(t._value()) for p, t in tensors.items()}
    gradient = {p: t.requires_grad for p, t in own.items()}

    def made(wanted: Mapping[str, Spec], taken: Collection[str], gradient: Mapping[str, bool]) -> TracedFunction:
        user = {n: s for n, s in wanted.items() if n in specs}
        names = c_names(own, {*user, *dim_names(user.values()), *taken})
        given = {n: wanted.get(n) or Spec(tuple(own[p].shape), own[p].dtype, gradient[p]) for p, n in names.items()}
        found = recorded(function, user, outputs, name, check, {n: own[p] for p, n in names.items()}, given)
        clash = {*found.graph.output_names} & {*given}
        if clash and not clash <= {*taken}:
            return made(wanted, {*taken, *clash}, gradient)
        reached = {n.name for n in gradient_reach(found.graph) if isinstance(n, Input)}
        idle = {p for p, n in names.items() if n in found.specs and found.specs[n].requires_grad and n not in reached}
        if idle:  # read, but where no derivative comes from: detached, an index, the sign of it
            return made({n: s for n, s in wanted.items() if n in specs}, taken, {**gradient, **dict.fromkeys(idle, False)})
        kept = {p: n for p, n in names.items() if n in found.specs}
        reached = [*kept, *(p for p, of in tied.items() if of in kept)]
        used = tuple(part for part in parts if any(p.startswith(part) for p in reached))
        state = {p: v.astype(given[names[p]].dtype.numpy) if p in names else v for p, v in values.items()
                 if p in kept or (p in ordered and p.startswith(used) and p not in specs)}
        state |= {p: state[of] for p, of in doubles.items() if of in state}
        same = {p: of for p, of in tied.items() if of in state}
        return replace(found, again=lambda other: made(other, taken, gradient), state={**state, **found.state}, names=kept,
                       aliases=same, order=tuple(p for p in ordered if p in state or p in same or p not in tensors))

    return made(dict(specs), (), gradient)


def _distinct(tensors: Mapping[str, Tensor]) -> tuple[list[str], dict[str, str]]:
    """The first path of each tensor, and the further ones with the first."""
    first: dict[int, str] = {}
    doubles: dict[str, str] = {}
    for path, tensor in tensors.items():
        if first.setdefault(id(tensor), path) != path:
            doubles[path] = first[id(tensor)]
    return list(first.values()), doubles


def c_names(paths: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """A name for each path that C, C++ and Python allow and that nothing else has: "layers.0.weight" is layers_0_weight."""
    used = {*taken, *(f"{prefix}{n}" for n in taken for prefix in ("grad_", "jac_", "hess_"))}
    found: dict[str, str] = {}
    for path in paths:
        plain = re.sub(r"_{2,}", "_", re.sub(r"\W+", "_", path, flags=re.ASCII)).strip("_") or "tensor"
        if plain[0].isdigit():
            plain = f"p{plain}"
        name = plain if usable(plain) else f"{plain}_tensor"
        number = 2
        while {name, f"{name}_next", f"grad_{name}"} & used or not usable(name):
            name, number = f"{plain}_{number}", number + 1
        used |= {name, f"{name}_next", f"grad_{name}"}
        found[path] = name
    return found


def named_tensors(modules: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Parameters and buffers of the Modules by path, which begins with the variable where there are several Modules, in the
    order of their state_dicts; the paths of these; and what the paths of each Module begin with."""
    tensors: dict[str, Tensor] = {}
    kept: list[str] = []
    parts: list[str] = []
    for variable, module in modules.items():
        prefix = variable if len(modules) > 1 else ""
        parts.append(f"{prefix}." if prefix else "")
        for path, part in module.named_modules(prefix=prefix, remove_duplicate=False):
            for name, tensor in (*part._parameters.items(), *part._buffers.items()):
                if tensor is not None:
                    whole = f"{path}.{name}" if path else name
                    tensors[whole] = tensor
                    kept += [whole] if name not in part._transient else []
    return tensors, kept, parts


def of_module(module: Any) -> Callable[..., Any]:
    """A call of the Module, hooks included, with forward's signature."""

    @functools.wraps(module.forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        return module(*args, **kwargs)

    name = type(module).__name__
    call.__name__ = call.__qualname__ = name if name.isidentifier() else "model"
    return call


__all__ = ["c_names", "named_tensors", "of_module", "trace_with"]

"""The graph that torch.export gives, interpreted with gradgen's functions on symbolic tensors."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.eager.creation import get_default_dtype, set_default_dtype
from gradgen.eager.modes import set_grad_enabled
from gradgen.eager.tensor import Tensor
from gradgen.errors import GradgenError, TraceError, UnsupportedOperationError
from gradgen.importers import aten
from gradgen.importers.called_from import as_users
from gradgen.importers.exported_sizes import SIZES
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.trace.recording import usable

TABLE = "docs/aten-operators.md lists what there is"
COUNTERS = "num_batches_tracked"
"""Buffers that only count calls: PyTorch keeps them for a momentum of None, an exported graph does not read them."""


def parameter_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the first `count` positional parameters."""
    try:
        parameters = list(inspect.signature(getattr(function, "forward", function)).parameters.values())
    except (TypeError, ValueError):
        return [f"input{k}" for k in range(count)]
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    starred = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "input")
    return [plain[k] if k < len(plain) else f"{starred}{k - len(plain)}" for k in range(count)]


def free_name(said: str, taken: Mapping[str, Any]) -> str:
    plain = re.sub(r"\W+", "_", said).strip("_") or "input"
    plain = plain if usable(plain) else f"{plain}_input"
    number, found = 2, plain
    while found in taken:
        found, number = f"{plain}_{number}", number + 1
    return found


def result_name(path: Sequence[Any], taken: Mapping[str, Any]) -> str:
    """A name for what a model returns at this path of its result: `output` where that is one tensor."""
    text = "_".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
    return free_name(text if text and not text[0].isdigit() else f"output{text}", taken)


@contextmanager
def python_floats(torch: Any, kind: DType | None) -> Iterator[None]:
    """What a Python float is in torch is what it is here; `kind` is the dtype of all floats, if there is one."""
    before = get_default_dtype()
    set_default_dtype(kind or dtypes.dtype(str(torch.get_default_dtype()).removeprefix("torch.")))
    try:
        yield
    finally:
        set_default_dtype(before)


def lacking(torch: Any, module: Any) -> Iterator[tuple[Any, Any]]:
    for graph in _modules(torch, module):
        for node in graph.graph.nodes:
            if node.op == "call_function" and not _handled(torch, node.target):
                yield node.target, node


def _modules(torch: Any, module: Any) -> Iterator[Any]:
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            yield part


def _handled(torch: Any, target: Any) -> bool:
    if isinstance(target, torch._ops.OpOverload):
        return target.namespace == "aten" and (_is_check(target) or target in _sizes(torch) or aten.known(target))
    if isinstance(target, torch._ops.HigherOrderOperator):
        return target.__name__ in REGIONS
    return target in aten.SYMBOLIC or getattr(target, "__name__", "") in _PYTHON


REGIONS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")
_PYTHON = {*SIZES, "_set_grad_enabled", "sym_constrain_range_for_size", "sym_constrain_range", "_check", "_check_is_size"}
MOVING = {
    "_unsafe_view", "alias", "amax", "amin", "cat", "chunk", "clone", "contiguous", "detach", "detach_", "diagonal",
    "embedding", "expand", "expand_as", "flatten", "flip", "gather", "index", "index_select", "lift_fresh_copy",
    "max", "maximum", "min", "minimum", "movedim", "narrow", "ones", "ones_like", "permute", "repeat", "reshape",
    "roll", "select", "slice", "sort", "split", "split_with_sizes", "squeeze", "stack", "t", "take_along_dim", "tile",
    "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view", "where", "zeros", "zeros_like",
}
"""Operations whose results in small integers are the same in int32, which those are here: none that may wrap around."""


def _is_check(target: Any) -> bool:
    name = target._schema.name.partition("::")[2]
    return name.startswith(("_assert", "sym_constrain_range", "_functional_assert"))


def _sizes(torch: Any) -> dict[Any, Callable[..., Any]]:
    ops = torch.ops.aten
    return {ops.sym_size.int: lambda x, dim: x.shape[dim], ops.sym_numel.default: lambda x: x.numel()}


def line_of(node: Any) -> str | None:
    """file:line of the user's code that a node comes from: the innermost outside of torch."""
    own = str(Path(sys.modules["torch"].__file__ or "").parent) + os.sep
    found = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    users = [(f, n) for f, n in found if not f.startswith(own)] or found
    return f"{users[-1][0]}:{users[-1][1]}" if users else None


class Run:
    """One interpretation of an exported graph with gradgen's functions."""

    def __init__(self, torch: Any, exported: Any, kind: DType | None) -> None:
        self.torch, self.exported, self.kind = torch, exported, kind
        self._numpy = {d: getattr(torch, d.name) for d in dtypes.ALL if hasattr(torch, d.name)}
        self._held: dict[str, Tensor] = {}
        self._sizes = _sizes(torch)
        self.small = (torch.uint8, torch.int8, torch.int16)

    def dtype(self, given: Any) -> DType:
        """gradgen's dtype of a torch one: the floating-point one that was asked for, if any."""
        if self.kind is not None and given.is_floating_point:
            return self.kind
        for ours, theirs in self._numpy.items():
            if theirs is given:
                return ours
        if given in self.small:
            return dtypes.int32
        raise GradgenError(f"gradgen has no {str(given).removeprefix('torch.')}",
                           hint="model.float() or dtype=gg.float32 for half precision")

    def tensor(self, value: Any, gradient: bool = False) -> Tensor:
        """A copy of a torch tensor."""
        kind = self.dtype(value.dtype)
        with self.torch.no_grad():
            array = value.detach().to("cpu").to(self.torch.float64 if kind is dtypes.float64 else value.dtype).numpy()
        return Tensor._of(np.array(array, dtype=kind.numpy, order="C"), kind, gradient)

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The model's parameters and buffers by torch's names, and the further names of tied ones."""
        exported, found, aliases = self.exported, {}, {}
        first: dict[int, str] = {}
        state = {**exported.state_dict, **exported.constants}
        kinds: dict[str, str] = {s.target: s.kind.name for s in exported.graph_signature.input_specs if s.target}
        for path in state:
            value = state[path]
            if not isinstance(value, self.torch.Tensor) or path.rpartition(".")[2] == COUNTERS:
                continue
            said = path.removeprefix("model.")
            if id(value) in first:
                aliases[said] = first[id(value)]
                self._held[path] = found[first[id(value)]]
                continue
            gradient = value.requires_grad and isinstance(value, self.torch.nn.Parameter)
            self._held[path] = self.tensor(value, gradient)
            if kinds.get(path, "PARAMETER") != "CONSTANT_TENSOR":
                first[id(value)] = said
                found[said] = self._held[path]
        return found, aliases

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for s in self.exported.graph_signature.input_specs:
            kind = s.kind.name
            if kind == "USER_INPUT":
                values[s.arg.name] = given.get(s.arg.name, getattr(s.arg, "value", None))
            elif s.target in self._held:
                values[s.arg.name] = self._held[s.target]
            else:  # a counter that nothing reads
                values[s.arg.name] = None
        found = self.graph(self.exported.graph_module, values)
        return self.results(found)

    def results(self, found: Sequence[Any]) -> dict[str, Any]:
        """What the user's function returned, under its own keys; buffers that were made anew are written."""
        named: dict[str, Any] = {}
        users: list[Any] = []
        for value, s in zip(found, self.exported.graph_signature.output_specs):
            kind = s.kind.name
            if kind == "BUFFER_MUTATION":
                if s.target in self._held:
                    self._held[s.target].copy_(value)  # type: ignore[attr-defined]
            elif kind == "USER_INPUT_MUTATION":
                raise TraceError(f"the model changes its input {s.target} in place: the caller's tensor would stay as it is")
            else:
                users.append(value)
        for path, value in zip(self.result_names(len(users)), users):
            if isinstance(value, Tensor):
                named[path] = value
        if not named:
            raise TraceError("the model returns no tensor")
        return named

    def result_names(self, count: int) -> list[str]:
        from torch.utils import _pytree as pytree

        tree = self.exported.call_spec.out_spec
        if tree is None or tree.num_leaves != count:
            return [f"output{k}" for k in range(count)]
        paths = [p for p, _ in pytree.tree_flatten_with_path(pytree.tree_unflatten(list(range(count)), tree))[0]]
        found: list[str] = []
        for path in paths:
            found.append(result_name(path, dict.fromkeys(found)))
        return found

    def graph(self, module: Any, values: dict[str, Any]) -> Sequence[Any]:
        """The results of a graph whose placeholders have these values."""
        known: dict[Any, Any] = {}
        needed = _needed(self.torch, module.graph)
        writes = _last_writes(self.torch, module.graph)
        for place, node in enumerate(module.graph.nodes):
            if node.op == "placeholder":
                known[node] = values[node.name]
            elif node.op == "get_attr":
                known[node] = self.attribute(module, node.target)
            elif node.op == "output":
                found = self.value(node.args[0], known)
                return found if isinstance(found, (tuple, list)) else (found,)
            elif node in needed:
                known[node] = None if _counts(node) else self.node(node, known)
                if writes.get(_memory(node), -1) > place:
                    self.shares(node, known)
        return ()

    def shares(self, node: Any, known: Mapping[Any, Any]) -> None:
        """Memory is a matter of layout: what shares some in torch and is changed later must share it here, too."""
        found = known[node]
        for a in node.all_input_nodes:
            if _memory(a) == _memory(node) and isinstance(found, Tensor) and isinstance(known[a], Tensor) \
                    and found._cell is not known[a]._cell:
                raise GradgenError(f"{line_of(node) or node.target}: torch has a view here that is a copy in gradgen, and "
                                   "one of the two is changed in place later",
                                   hint="clone() the tensor, or change it out of place")

    def attribute(self, module: Any, path: str) -> Any:
        found = module
        for part in path.split("."):
            found = getattr(found, part)
        if isinstance(found, self.torch.Tensor):
            return self._held[path] if path in self._held else self.tensor(found)
        return found

    def value(self, a: Any, known: Mapping[Any, Any]) -> Any:
        """An argument of a node in gradgen's terms."""
        torch = self.torch
        if isinstance(a, torch.fx.Node):
            return known[a]
        if isinstance(a, (list, tuple)):
            return type(a)(self.value(v, known) for v in a) if type(a) in (list, tuple) else [self.value(v, known) for v in a]
        if isinstance(a, dict):
            return {k: self.value(v, known) for k, v in a.items()}
        if isinstance(a, torch.dtype):
            return self.dtype(a)
        return a

    def node(self, node: Any, known: Mapping[Any, Any]) -> Any:
        """The value of a node, or one error that names its operation and the user's line."""
        try:
            return self.computed(node, known)
        except aten.Missing as error:
            raise UnsupportedOperationError(f"gradgen has no {error}", where=line_of(node), hint=TABLE) from None
        except GradgenError as error:
            error.where = error.where or f"{node.target}, {line_of(node)}"
            raise
        except RecursionError:
            raise
        except Exception as error:  # torch accepts the call: whatever a function of gradgen's says, it cannot do it
            raise UnsupportedOperationError(f"gradgen cannot do this call of {node.target}: {error}", where=line_of(node),
                                            hint=TABLE) from error

    def computed(self, node: Any, known: Mapping[Any, Any]) -> Any:
        target, torch = node.target, self.torch
        args, kwargs = self.value(node.args, known), self.value(node.kwargs, known)
        if isinstance(target, torch._ops.HigherOrderOperator):
            return self.region(target.__name__, args)
        if target in self._sizes:
            return self._sizes[target](*args)
        if isinstance(target, torch._ops.OpOverload):
            self.wraps(node)
            return as_users(line_of(node))(aten.call, target, args, kwargs)
        if target in aten.SYMBOLIC:
            return aten.SYMBOLIC[target](*args)
        if target.__name__ == "_set_grad_enabled":
            return set_grad_enabled(*args)
        if target.__name__ in SIZES:
            return SIZES[target.__name__](*args)
        raise aten.Missing(f"{target.__name__} of sizes")

    def wraps(self, node: Any) -> None:
        """Missing for what may wrap around in a small integer type: gradgen's narrowest integers are int32."""
        found = node.meta.get("val")
        for value in found if isinstance(found, (tuple, list)) else (found,):
            kind = getattr(value, "dtype", None)
            name = node.target._schema.name.partition("::")[2]
            if kind not in self.small or name in MOVING:
                continue
            source = getattr(node.args[0].meta.get("val"), "dtype", None) if name in ("to", "_to_copy") else None
            if source not in (kind, self.torch.bool):
                raise aten.Missing(f"{node.target} in {str(kind).removeprefix('torch.')}")

    def region(self, name: str, args: Sequence[Any]) -> Any:
        """A part of the graph under another setting."""
        if name == "wrap_with_set_grad_enabled":
            enabled, module, *rest = args
            with set_grad_enabled(enabled):
                return self.inner(module, rest)
        _, _, enabled, _, module, *rest = args  # autocast(device, dtype, enabled, cache)
        if enabled:
            raise aten.Missing("autocast: values of lower precision")
        return self.inner(module, rest)

    def inner(self, module: Any, args: Sequence[Any]) -> Any:
        placeholders = [n.name for n in module.graph.nodes if n.op == "placeholder"]
        found = self.graph(module, dict(zip(placeholders, args, strict=True)))
        return tuple(found)


def _needed(torch: Any, graph: Any) -> set[Any]:
    """The nodes that results depend on, and those that change something."""
    found: set[Any] = set()
    for node in reversed(graph.nodes):
        if node.op == "output" or node in found or _changes(torch, node):
            found.add(node)
            found.update(node.all_input_nodes)
    return found


def _memory(node: Any) -> int | None:
    """What tells the memory of a node's tensor in torch from others."""
    value = node.meta.get("val")
    return value.untyped_storage()._cdata if hasattr(value, "untyped_storage") else None


def _last_writes(torch: Any, graph: Any) -> dict[int | None, int]:
    """For memory that the graph changes, the place of the node that does so last."""
    found: dict[int | None, int] = {}
    for place, node in enumerate(graph.nodes):
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
            found.update({_memory(a): place for a in node.all_input_nodes[:1]})
    found.pop(None, None)
    return found


def _changes(torch: Any, node: Any) -> bool:
    """Whether the node is there for what it does; checks and counters of calls are not."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return bool(target._schema.is_mutable) and not _is_check(target) and not _counts(node)
    return isinstance(target, torch._ops.HigherOrderOperator) or getattr(target, "__name__", "") == "_set_grad_enabled"


def _counts(node: Any) -> bool:
    """Whether the node counts the calls of a normalisation: `num_batches_tracked.add_(1)`, or add in a decomposed graph."""
    first = node.args[0] if node.args else None
    return getattr(first, "op", "") == "placeholder" and first.name.endswith(COUNTERS)


__all__ = ["TABLE", "Run", "free_name", "lacking", "line_of", "parameter_names", "python_floats", "result_name"]

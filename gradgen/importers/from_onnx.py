"""ONNX models in: a graph of ONNX's operators becomes a program like a traced function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradgen.eager.creation import from_numpy
from gradgen.eager.tensor import Tensor
from gradgen.errors import GradgenError, UnsupportedOperationError
from gradgen.importers import (
    onnx_control,
    onnx_losses,
    onnx_moving,
    onnx_norms,
    onnx_pointwise,
    onnx_recurrences,
    onnx_reducing,
    onnx_resizing,
    onnx_signals,
    onnx_transformers,
    onnx_windows,
)
from gradgen.importers.onnx_graph import DOMAINS, NotKnown, Run, Scope
from gradgen.importers.onnx_reading import array_of, model_of, package
from gradgen.importers.onnx_table import ENTRIES, entry_of
from gradgen.ir import dtypes
from gradgen.ir.graph import dim_names
from gradgen.record.dimensions import Dimension
from gradgen.record.traced import Spec, TracedFunction
from gradgen.trace.parameters import c_names, trace_with
from gradgen.trace.tracing import spec

__all__ = ["from_onnx"]

FAMILIES = (
    onnx_control, onnx_losses, onnx_moving, onnx_norms, onnx_pointwise, onnx_recurrences, onnx_reducing, onnx_resizing,
    onnx_signals, onnx_transformers, onnx_windows,
)
"""The modules that fill the table."""


def from_onnx(
    model: Any,
    train: bool | None = None,
    dims: Mapping[str, Any] | None = None,
    dtype: Any = None,
    name: str | None = None,
    *,
    constants: Mapping[str, Any] | None = None,
    frozen: Sequence[str] = (),
) -> TracedFunction:
    """A program from an ONNX model, for `gg.build`, `gg.emit`, `show` and `check`; needs the package `onnx`.

    The floating initialisers of rank 1 and more are parameters, with gradients: `program.state` has their values by
    ONNX's names, `program.names` their names in C.  Constants of the program are integer initialisers, numbers (rank 0) and
    what an operator has to know, like the bounds of a Clip.  The statistics of a BatchNormalization are inputs without
    gradient, with train=True states.  Random operators draw from the generator of the program; their seeds are not used.

    Args:
        model: a path, bytes, or a ModelProto.  Data in other files are read from the model's folder and nowhere else.
        train: True: batch normalisation by the batch's statistics and dropout at work; False: neither; None: as the
            model's own training_mode says, without dropout where it says nothing.
        dims: for dimensions by name ("batch") an extent, another name, or a `gg.dim`; for inputs by name a whole shape.
            Dimensions without a name are named after their input: x_dim0.
        dtype: float32 or float64 for all floating values in place of the model's own.
        name: what the module will be called by default, else the graph's name.
        constants: values for inputs of the model, which then are no arguments: an input that says a shape, an axis or a mode
            has to be one.
        frozen: initialisers that get no gradient, by name.

    Raises UnsupportedOperationError, naming all operators that there is no rule for and their nodes; GradgenError for files
    that are no ONNX models, for what is not known at import and has to be, and for names that the model does not have.
    """
    proto, folder = model_of(model)
    proto = _lifted(proto)
    return _Door(proto, folder, train, dims or {}, dtype, constants or {}, frozen).program(name)


FIRST = 13
"""Operators of older opsets that the table lacks are converted to this one."""


def _lifted(model: Any) -> Any:
    """A model of an old opset as one of FIRST where it has operators that the table lacks, by ONNX's converter where it can.

    What the table has is better left alone: the converter takes operators for unchanged that were not (Hardmax).
    """
    opset = next((o.version for o in model.opset_import if o.domain in DOMAINS), FIRST)
    if opset >= FIRST or all(_has_entry(n.op_type, opset) for n in _nodes(model.graph) if n.domain in DOMAINS):
        return model
    if opset < 9 and any(n.op_type == "Scan" for n in model.graph.node):  # that had an axis more, which the converter leaves
        return model
    try:
        from onnx.version_converter import convert_version

        return convert_version(model, FIRST)
    except Exception:  # the converter raises what it likes; the error of the operators that are missing says more
        return model


def _has_entry(op: str, opset: int) -> bool:
    try:
        return entry_of(op, package().defs.get_schema(op, opset, "").since_version) is not None
    except package().defs.SchemaError:
        return False


class _Door:
    def __init__(self, proto: Any, folder: Path | None, train: bool | None, dims: Mapping[str, Any], dtype: Any,
                 constants: Mapping[str, Any], frozen: Sequence[str]) -> None:
        self.proto, self.folder, self.train, self.dims = proto, folder, train, dims
        self.floats = None if dtype is None else dtypes.dtype(dtype)
        if self.floats is not None and not self.floats.is_floating_point:
            raise GradgenError(f"dtype must be float32 or float64, not {self.floats.name}")
        self.constants = {k: np.asarray(v) for k, v in constants.items()}
        self.arrays = {t.name: array_of(t, folder) for t in proto.graph.initializer}
        self.inputs = [i for i in proto.graph.input if i.name not in self.arrays and i.name not in self.constants]
        _check_names("input", self.constants, [i.name for i in proto.graph.input])
        _check_names("initialiser", frozen, self.arrays)
        self.frozen = {*frozen, *_statistics(proto)}
        self.known = {n for n, a in self.arrays.items() if a.dtype.kind != "f" or a.ndim == 0} | _asked(proto, self.arrays)

    def program(self, name: str | None) -> TracedFunction:
        graph = self.proto.graph
        names = c_names([i.name for i in self.inputs], ())
        arguments = {names[i.name]: i for i in self.inputs}
        specs = {n: self._spec(n, i) for n, i in arguments.items()}
        outputs = list(c_names([o.name for o in graph.output], {*names.values(), *dim_names(specs.values())}).values())
        while True:
            tensors = {n: self._tensor(n, a) for n, a in self.arrays.items() if n not in self.known}
            try:
                return trace_with(self._function(arguments, tensors), specs, tensors, name=name or _name_of(graph),
                                  outputs=outputs)
            except NotKnown as error:
                inner = {r for r in error.roots if r in tensors}
                if not inner:
                    raise self._unknown(error) from None
                self.known |= inner

    def _function(self, arguments: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        def function(**given: Tensor) -> tuple[Tensor, ...]:
            return self._run({i.name: given[n] for n, i in arguments.items()}, tensors)

        return function

    def _run(self, given: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        run = Run(self.proto, self.folder, self.floats, self.train)
        opsets = {DOMAINS.get(o.domain, o.domain): o.version for o in self.proto.opset_import}
        scope = Scope(opsets, values={**{n: self.arrays[n] for n in self.known}, **self.constants})
        for values in (given, tensors):
            scope.values.update({n: run.rooted(t, [n]) for n, t in values.items()})
        found = run.graph(self.proto.graph, scope)
        if run.missing:
            lines = [f"{what} ({', '.join(nodes[:5])}{', ...' if len(nodes) > 5 else ''})" for what, nodes in
                     run.missing.items()]
            raise UnsupportedOperationError("the model has operators that there is no rule for:\n  " + "\n  ".join(lines))
        return tuple(run.tensor(v) for v in found)

    def _unknown(self, error: NotKnown) -> GradgenError:
        inputs = sorted(error.roots)
        hint = f"pass constants={{{inputs[0]!r}: ...}}" if inputs else "it depends on values that the model computes"
        found = GradgenError(f"{error.what}; it comes from {', '.join(map(repr, inputs)) or 'values'}", hint=hint)
        found.roots = error.roots  # type: ignore[attr-defined]
        for note in getattr(error, "__notes__", ()):
            found.add_note(note)
        return found

    def _tensor(self, name: str, array: np.ndarray) -> Tensor:
        kind = dtypes.dtype(array.dtype.name) if self.floats is None else self.floats
        made = from_numpy(np.array(array, kind.numpy))
        return made if name in self.frozen else made.requires_grad_()

    def _spec(self, name: str, value: Any) -> Spec:
        if not value.type.HasField("tensor_type"):
            raise UnsupportedOperationError(f"the input {value.name!r} is no tensor",
                                            hint="sequences and optional values can only be inside of a model")
        tensor = value.type.tensor_type
        kind = Run(self.proto, None, self.floats, None).kind(tensor.elem_type)
        shape = self.dims.get(value.name)
        if shape is None and not tensor.HasField("shape"):
            raise GradgenError(f"the model does not say the shape of its input {value.name!r}",
                               hint=f'pass dims={{{value.name!r}: ("N", 3, 224, 224)}}')
        if shape is not None and not isinstance(shape, (str, int, Dimension)):
            return spec(*shape, dtype=kind)
        return spec(*(self._extent(d, f"{name}_dim{k}") for k, d in enumerate(tensor.shape.dim)), dtype=kind)

    def _extent(self, d: Any, otherwise: str) -> Any:
        if d.HasField("dim_value"):
            return d.dim_value
        if not d.dim_param:
            return self.dims.get(otherwise, otherwise)
        return self.dims.get(d.dim_param, next(iter(c_names([d.dim_param], ()).values())))


def _check_names(what: str, given: Any, known: Any) -> None:
    for name in given:
        if name not in known:
            raise GradgenError(f"the model has no {what} {name!r}", hint=f"it has {', '.join(list(known)[:20])}")


def _name_of(graph: Any) -> str:
    return next(iter(c_names([graph.name or "model"], ()).values()))


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, those of inner graphs too."""
    onnx = package()
    waiting = [graph]
    while waiting:
        one = waiting.pop()
        for node in one.node:
            yield node
            waiting += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def _statistics(proto: Any) -> set[str]:
    return {n for node in _nodes(proto.graph) if node.op_type == "BatchNormalization" for n in node.input[3:5]}


def _asked(proto: Any, arrays: Mapping[str, np.ndarray]) -> set[str]:
    """Initialisers that stand where an operator has to know a value."""
    onnx, found = package(), set()
    opset = next((o.version for o in proto.opset_import if o.domain in DOMAINS), 1)
    for node in _nodes(proto.graph):
        if node.op_type not in ENTRIES or not any(n in arrays for n in node.input):
            continue
        try:
            schema = onnx.defs.get_schema(node.op_type, opset, "")
        except onnx.defs.SchemaError:
            continue
        kinds = {k: v for e in ENTRIES[node.op_type] if e.first <= schema.since_version <= e.last for k, v in e.kinds.items()}
        for formal, name in zip(schema.inputs, node.input):
            if name in arrays and kinds.get(formal.name) in ("Known", "Ints", "Int", "Number", "Setting"):
                found.add(name)
    return found

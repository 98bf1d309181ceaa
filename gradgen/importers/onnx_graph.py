"""An ONNX graph run on traced tensors: scopes of values, functions and their bodies, what is known at import folded.

Values are tensors, NumPy arrays of what is known when the model is read (of dtype object where sizes in named dimensions are
among it), lists of both (ONNX's sequences), or `Missing`, which is what an operator gives that there is no rule for: the
graph is run to its end, so that one error names all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sympy

from gradgen.eager.creation import from_numpy, generated
from gradgen.eager.tensor import Tensor
from gradgen.errors import GradgenError, UnsupportedOperationError
from gradgen.importers.onnx_folding import folded, normal
from gradgen.importers.onnx_reading import Reference, array_of, attributes_of, default_of, package
from gradgen.importers.onnx_table import ENTRIES, At, Entry, entry_of, lib, refuse
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ops.host import host_value

KINDS = {"FLOAT": dtypes.float32, "DOUBLE": dtypes.float64, "INT32": dtypes.int32, "INT64": dtypes.int64,
         "BOOL": dtypes.bool_}
DOMAINS = {"": "", "ai.onnx": ""}
_UNFOLDED = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout",
             "If", "Loop", "Scan", "SequenceMap", "Shape", "Size"}


_OF_VALUES = {"NonZero", "Unique", "NonMaxSuppression", "Compress"}


class NotKnown(GradgenError):
    """A tensor stands where a value has to be known at import; `roots` are the inputs and initialisers it comes from."""

    def __init__(self, what: str, roots: frozenset[str]) -> None:
        super().__init__(what)
        self.roots = roots


class Missing:
    """What there is no rule for gives."""


@dataclass
class Scope:
    """The values of a graph by name, those of the graph around it, and what its nodes mean."""

    opsets: Mapping[str, int]
    outer: Scope | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        raise GradgenError(f"the model uses {name!r}, which nothing makes", hint="onnx.checker.check_model says more")


class Run:
    """One reading of a model.

    `floats` replaces the dtype of all floating values, None leaves them; `train` is from_onnx's; `missing` collects
    what there is no rule for.
    """

    def __init__(self, model: Any, folder: Path | None, floats: DType | None, train: bool | None) -> None:
        self.model, self.folder, self.floats, self.train = model, folder, floats, train
        self.missing: dict[str, list[str]] = {}
        self._roots: dict[int, tuple[Any, frozenset[str]]] = {}
        self._constants: dict[int, tuple[np.ndarray, Tensor]] = {}

    @cached_property
    def functions(self) -> dict[tuple[str, str, str], Any]:
        return {(f.domain, f.name, getattr(f, "overload", "")): f for f in self.model.functions}

    # --- values ---------------------------------------------------------------------------------------------------------

    def kind(self, element_type: int) -> DType:
        """gradgen's dtype for one of ONNX's."""
        name = package().TensorProto.DataType.Name(element_type)
        found = KINDS.get(name)
        if found is None:
            raise refuse(f"values of type {name.lower()}", "gradgen has float32, float64, int32, int64 and bool")
        return self.floats if self.floats is not None and found.is_floating_point else found

    def tensor(self, value: Any) -> Tensor:
        """A value as a tensor; what is known becomes a constant."""
        if isinstance(value, Tensor):
            return value
        if isinstance(value, list):
            raise refuse("a sequence in place of a tensor")
        if id(value) not in self._constants:
            self._constants[id(value)] = value, self._constant(np.asarray(value))
        return self._constants[id(value)][1]

    def _constant(self, array: np.ndarray) -> Tensor:
        if array.dtype == object:
            parts = [generated((), dtypes.int64, e) for e in array.reshape(-1)]
            return lib.stack(parts).reshape(array.shape) if array.ndim else parts[0]
        kind = self.kind(package().helper.np_dtype_to_tensor_dtype(array.dtype))
        if array.size == 1 and self.floats is not None and array.dtype == np.float32:
            return from_numpy(np.full(array.shape, decimal(array.item()), kind.numpy))
        return from_numpy(np.array(array, kind.numpy))

    def known(self, value: Any, what: str) -> np.ndarray:
        """A value that is known at import.  NotKnown for a tensor."""
        if isinstance(value, np.ndarray):
            return value
        if isinstance(value, Tensor):
            roots = self.roots(value)
            found = None if roots else host_value(value)
            if found is not None:
                return found
            raise NotKnown(f"{what} has to be known when the model is read", roots)
        raise refuse(f"a sequence as {what}")

    def rooted(self, value: Any, names: Iterable[str]) -> Any:
        """Notes which inputs and initialisers a tensor comes from."""
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Tensor):
                self._roots[id(one)] = one, self.roots(one) | frozenset(names)
        return value

    def roots(self, value: Any) -> frozenset[str]:
        if isinstance(value, list):
            return frozenset().union(*map(self.roots, value))
        return self._roots.get(id(value), (None, frozenset()))[1]

    def call(self, op: str, inputs: Sequence[Any], opset: int, attributes: Mapping[str, Any]) -> Any:
        """The first result of one of ONNX's operators."""
        names = [str(k) for k in range(len(inputs))]
        node = package().helper.make_node(op, names, ["result"], **attributes)
        return self.operator(node, Scope({"": opset}, values=dict(zip(names, inputs))))[0]

    # --- graphs ---------------------------------------------------------------------------------------------------------

    def graph(self, graph: Any, scope: Scope) -> list[Any]:
        """The outputs of a graph whose inputs stand in `scope`."""
        for proto in graph.initializer:
            if proto.name not in scope.values:
                scope.values[proto.name] = array_of(proto, self.folder)
        if graph.sparse_initializer:
            raise GradgenError("the model has sparse initialisers", hint="write them as ordinary ones")
        self.nodes(graph.node, scope)
        return [scope[o.name] for o in graph.output]

    def nodes(self, nodes: Iterable[Any], scope: Scope) -> None:
        for node in nodes:
            results = self.operator(node, scope)
            for name, value in zip(node.output, results):
                if name:
                    scope.values[name] = value

    def operator(self, node: Any, scope: Scope) -> Sequence[Any]:
        """The results of one node; errors name it."""
        inputs = [scope[n] if n else None for n in node.input]
        names = [n for n in node.output]
        if any(isinstance(v, Missing) for v in inputs):
            return [Missing()] * len(names)
        try:
            found = self._results(node, inputs, scope)
        except NotKnown:
            raise
        except UnsupportedOperationError as error:
            self.missing.setdefault(_operator(node, error), []).append(node.name or f"the node of {names[0]!r}")
            return [Missing()] * len(names)
        except Exception as error:
            error.add_note(f"in the ONNX node {node.op_type} {node.name!r} that makes {', '.join(map(repr, names))}")
            raise
        results = list(found) if isinstance(found, tuple) else [found]
        roots = frozenset().union(*map(self.roots, inputs))
        return [self.rooted(normal(v), roots) for v in results] + [Missing()] * (len(names) - len(results))

    def _results(self, node: Any, inputs: list[Any], scope: Scope) -> Any:
        onnx = package()
        domain = DOMAINS.get(node.domain, node.domain)
        own = self.functions.get((node.domain, node.op_type, getattr(node, "overload", "")))
        given = {k: scope.attributes.get(v.name) if isinstance(v, Reference) else v
                 for k, v in attributes_of(node, self.folder).items()}
        given = {k: v for k, v in given.items() if v is not None}
        if own is not None:
            return self.function(own, inputs, given, scope)
        opset = scope.opsets.get(domain)
        try:
            schema = onnx.defs.get_schema(node.op_type, opset or 1, domain)
        except onnx.defs.SchemaError:
            raise refuse(f"{node.op_type} of the domain {domain!r}" if domain else node.op_type) from None
        attributes = {n: default_of(a) for n, a in schema.attributes.items()} | given
        if self.floats is not None:
            attributes = {n: decimal(v) if isinstance(v, float) else v for n, v in attributes.items()}
        at = At(self, scope, node, max((k + 1 for k, n in enumerate(node.output) if n), default=0), tuple(inputs))
        known = [v for v in inputs if v is not None]
        if known and all(isinstance(v, np.ndarray) for v in known) and node.op_type not in _UNFOLDED and not domain:
            values = folded(node, schema, inputs, attributes, given)
            if values is not None:
                return values
        entry = entry_of(node.op_type, schema.since_version) if not domain else None
        if entry is not None:
            named = self._bound(entry, schema, inputs, attributes, given, at)
            return entry.function(*self._positional(entry, inputs), **named)
        body = self._body(node, schema, opset or 1, inputs)
        if body is None:
            if node.op_type in _OF_VALUES:
                raise refuse(f"{node.op_type}: the shape of its result depends on values")
            versioned = domain or node.op_type in ENTRIES
            raise refuse(f"{node.op_type} of opset {schema.since_version}" if versioned else node.op_type)
        return self.function(body, inputs, attributes, scope)

    # --- binding --------------------------------------------------------------------------------------------------------

    def _positional(self, entry: Entry, inputs: Sequence[Any]) -> list[Any]:
        return [self.tensor(v) for v in inputs if v is not None] if entry.positional else []

    def _bound(self, entry: Entry, schema: Any, inputs: list[Any], attributes: Mapping[str, Any], given: Mapping[str, Any],
               at: At) -> dict[str, Any]:
        """The entry's arguments by name, from the schema's names of inputs and attributes."""
        found: dict[str, Any] = dict.fromkeys(entry.optional)
        if not entry.positional:
            for k, formal in enumerate(schema.inputs):
                several = formal.option == package().defs.OpSchema.FormalParameterOption.Variadic
                value = inputs[k:] if several else inputs[k] if k < len(inputs) else None
                if formal.name in entry.kinds:
                    found[formal.name] = self._as(value, entry.kinds[formal.name], f"{formal.name!r}")
                elif value is not None:
                    raise refuse(f"{entry.name} with the input {formal.name!r}")
        for name, value in attributes.items():
            if name in entry.kinds:
                found[name] = self._as(value, entry.kinds[name], f"{name!r}")
            elif name in given and name not in entry.ignored and value != default_of(schema.attributes[name]):
                raise refuse(f"{entry.name} with the attribute {name!r}")
        if "at" in entry.kinds:
            found["at"] = at
        return found

    def _as(self, value: Any, kind: str, what: str) -> Any:
        if value is None:
            return None
        if kind == "Tensor":
            return self.tensor(value)
        if kind == "Tensors":
            return [self.tensor(v) for v in value]
        if kind in ("Ints", "Int", "Number", "Known"):
            array = self.known(np.asarray(value) if isinstance(value, (int, float, list, tuple)) else value, what)
            if kind == "Known":
                return array
            elements = array.reshape(-1).tolist()
            return tuple(elements) if kind == "Ints" else elements[0]
        return value

    # --- functions ------------------------------------------------------------------------------------------------------

    def function(self, body: Any, inputs: Sequence[Any], attributes: Mapping[str, Any], scope: Scope) -> tuple[Any, ...]:
        """The results of a function's body."""
        defaults = attributes_of(_Attributes(body.attribute_proto), self.folder)
        opsets = {**scope.opsets, **{DOMAINS.get(o.domain, o.domain): o.version for o in body.opset_import}}
        values = dict(zip(body.input, [*inputs, *[None] * (len(body.input) - len(inputs))]))
        inner = Scope(opsets, None, defaults | dict(attributes), values)
        self.nodes(body.node, inner)
        return tuple(inner[o] for o in body.output)

    def _body(self, node: Any, schema: Any, opset: int, inputs: Sequence[Any]) -> Any:
        """The FunctionProto by which the standard defines an operator, None where it does not."""
        onnx = package()
        if schema.has_function:
            return _function(schema.get_function_with_opset_version(max(
                v for v in schema.function_opset_versions if v <= opset)))
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
        if not schema.has_context_dependent_function or not versions:
            return None
        types = [onnx.TypeProto() if v is None else self._type(v) for v in inputs]
        return _function(schema.get_context_dependent_function_with_opset_version(
            max(versions), node.SerializeToString(), [t.SerializeToString() for t in types]))

    def _type(self, value: Any) -> Any:
        helper = package().helper
        if isinstance(value, np.ndarray):
            kind = np.dtype(np.int64) if value.dtype == object else value.dtype
            return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(kind), value.shape)
        shape = [str(e) if isinstance(e, sympy.Basic) else int(e) for e in value.shape]
        return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype.numpy)), shape)


def decimal(value: float) -> float:
    """The number that a float32 of the file was written for where dtype= asks for another type: 1e-05, not 9.99999974e-06."""
    return float(str(np.float32(value))) if float(np.float32(value)) == value else value


@dataclass(frozen=True)
class _Attributes:
    attribute: Any


def _function(data: bytes) -> Any:
    found = package().FunctionProto()
    found.ParseFromString(data)
    return found


def _operator(node: Any, error: UnsupportedOperationError) -> str:
    """What there is no rule for, in words: the operator, and what of it where it is not the whole."""
    return error.what if error.what.startswith(node.op_type) else f"{node.op_type}: {error.what}"

"""The five kinds of node as ONNX: what each says, by reads, bodies and sums."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import sympy

from gradgen.errors import UnsupportedOperationError
from gradgen.exporters.onnx_bodies import Scalars, plain
from gradgen.exporters.onnx_reads import Place, Symbol, Value
from gradgen.exporters.onnx_sums import (
    at_peaks,
    contracted,
    convolved,
    factors_of,
    flattened,
    layout_of,
    pooled,
    transposed,
)
from gradgen.exporters.onnx_writer import Writer, element_type, package
from gradgen.ir.draws import STATE
from gradgen.ir.dtypes import INDEX, SMALL_INDEX, DType, bool_
from gradgen.ir.evaluation import of_constants
from gradgen.ir.graph import Graph, Location
from gradgen.ir.guards import EQ, GE
from gradgen.ir.indexing import linearise, product
from gradgen.ir.nodes import ARG_REDUCERS, Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.symbols import Dim, axes, is_nothing, placeholder, same_extent

_REDUCE = {"sum": "ReduceSum", "prod": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}
_SCATTER = {"set": "none", "add": "add", "max": "max", "min": "min", "prod": "mul"}
_RANDOM = "random numbers"


class _Told(UnsupportedOperationError):
    """What is missing inside of a scan is said already."""


class Lowering:
    """Nodes to tensors; `missing` collects what there are no words for, by the user's line."""

    def __init__(
        self, writer: Writer, tensors: dict[Node, str], where: Mapping[Node, Location], missing: dict[str, None]
    ) -> None:
        self.w, self.tensors, self.where, self.missing = writer, tensors, where, missing
        self.absent: set[Node] = set()
        self.calls: dict[tuple, list[str]] = {}

    def run(self, outputs: Sequence[Node]) -> None:
        for node in _in_order(outputs, self.tensors):
            self.w.where = self.where.get(node, self.w.where)
            if any(s in self.absent for s in needed(node)):
                self.absent.add(node)
                continue
            try:
                self.tensors[node] = self.tensor(node)
            except _Told:
                self.absent.add(node)
            except UnsupportedOperationError as error:
                at = self.where.get(node)
                self.missing[f"{error.what} ({at})" if at is not None else error.what] = None
                self.absent.add(node)

    def tensor(self, node: Node) -> str:
        match node:
            case Constant():
                return self.w.constant(node.array, node.dtype)
            case Compute():
                return self.compute(node)
            case Scatter():
                return self.scatter(node)
            case Scan():
                if node.call not in self.calls:
                    self.calls[node.call] = self.scan(node)
                return self.calls[node.call][node.output]
            case Kernel():
                return self.kernel(node)
        raise UnsupportedOperationError(_RANDOM if node is STATE else f"the input {node!r}")

    # --- Compute ----------------------------------------------------------------------------------------------------------

    def compute(self, node: Compute) -> str:
        if not node.reads and all(isinstance(e, int) for e in (*node.shape, *node.reduce_shape)) and not node.body.atoms(Dim):
            return self.known(node)
        body = plain(node.body)
        node = at_peaks(node, body) or node
        node, body = flattened(node), plain(node.body)
        joined = self.joined(node, body)
        if joined is not None:
            return joined
        place = Place(self.w, layout_of(node), self.tensors)
        out, summed = place.order[:node.ndim], place.order[node.ndim:]
        if node.reducer is None:
            value = self.scalars(place, node.reads, body, node.dtype, node.dtype)
        else:
            value = self.summed(place, node, body, out, summed)
        return place.full(value, out)

    def known(self, node: Compute) -> str:
        array = of_constants(node)
        first = array.reshape(-1)[:1]
        if array.size <= 1 or not (array == first).all():
            return self.w.constant(array, node.dtype)
        return self.w.op("Expand", self.w.constant(first.reshape(()), node.dtype), self.w.sizes(node.shape))

    def scalars(self, place: Place, reads: Sequence[Read], body: sympy.Expr, target: DType, kind: DType | None) -> Value:
        """A body over a place, as `kind` or as it comes."""
        values = [self.value(place, k, r) for k, r in enumerate(reads)]
        found = Scalars(place, values, target)
        item = found.visit(body)
        return found.cast(item, kind if kind is not None else item[1] if isinstance(item[1], DType) else target)

    def value(self, place: Place, k: int, read: Read) -> Value:
        made = place.placeholders[placeholder(k)] = place.read(read)
        return made

    def joined(self, node: Compute, body: sympy.Expr) -> str | None:
        """A sum of parts that lie behind each other along one axis, by Concat."""
        if node.reducer is not None or len(node.reads) < 2 or body != sympy.Add(*map(placeholder, range(len(node.reads)))):
            return None
        own, start = axes(node.ndim), sympy.S.Zero
        at = [d for d in range(node.ndim) if any(c.expr.has(own[d]) for r in node.reads for c in r.guard)]
        if len(at) != 1 or not all(r.guard and is_nothing(r.fill) and r.dtype is node.dtype for r in node.reads):
            return None
        (d,) = at
        names = []
        for read in node.reads:
            here, shape, name = sympy.expand(own[d] - start), list(read.source.shape), self.tensors[read.source]
            if read.index == (*own[:d], *own[d + 1:]):
                shape.insert(d, 1)
                name = self.w.unsqueeze(name, [d])
            elif read.index != (*own[:d], here, *own[d + 1:]):
                return None
            bounds = (here, sympy.expand(shape[d] - 1 - here))
            kinds = (GE, EQ) if shape[d] == 1 else (GE,)
            if not all(c.kind in kinds and sympy.expand(c.expr) in bounds for c in read.guard):
                return None
            if any(not same_extent(shape[k], node.shape[k]) for k in range(node.ndim) if k != d):
                return None
            names.append(name)
            start = sympy.expand(start + shape[d])
        return self.w.op("Concat", *names, axis=d) if same_extent(start, node.shape[d]) else None

    def summed(
        self, place: Place, node: Compute, body: sympy.Expr, out: Sequence[Symbol], summed: Sequence[Symbol]
    ) -> Value:
        factors = factors_of(body) if node.reducer == "sum" else None
        if factors is not None and all(r.dtype is node.dtype for r in node.reads):
            number, places = factors
            found = None
            if len(places) == 2 and set(places) == {0, 1}:
                pairs = [node.reads, node.reads[::-1]]
                ways = (convolved, transposed)
                found = next((v for x, k in pairs for way in ways if (v := way(place, x, k, out, summed)) is not None), None)
            if found is None:
                values = [self.value(place, k, r) for k, r in enumerate(node.reads)]
                found = contracted(place, [values[k] for k in places], out, summed)
            if found is not None:
                return found if number == 1 else self.times(found, number)
        if body == placeholder(0) and len(node.reads) == 1 and node.reads[0].dtype is node.dtype:
            found = pooled(place, node, node.reads[0], out, summed)
            if found is not None:
                return found
        return self.reduced(place, node, body, out, summed)

    def times(self, value: Value, number: sympy.Expr) -> Value:
        factor = float(number) if value.dtype.is_floating_point else int(number)
        return Value(self.w.op("Mul", value.name, self.w.constant(factor, value.dtype)), value.labels, value.dtype)

    def reduced(
        self, place: Place, node: Compute, body: sympy.Expr, out: Sequence[Symbol], summed: Sequence[Symbol]
    ) -> Value:
        w, reducer = self.w, str(node.reducer)
        truth = reducer in ("any", "all")
        value = self.scalars(place, node.reads, body, node.dtype,
                             None if reducer in ARG_REDUCERS else bool_ if truth else node.dtype)
        kept = [a for a in out if a in value.axes]
        over = [*kept, *summed]
        name, kind = place.full(value, over), value.dtype
        last = list(range(len(kept), len(over)))
        if reducer in ARG_REDUCERS:
            name = w.cast(name, kind, SMALL_INDEX) if kind is bool_ else name
            op = "ArgMin" if reducer == "argmin" else "ArgMax"
            return Value(w.op(op, name, axis=last[0], keepdims=0), tuple(kept), INDEX)
        op, axes_ = _REDUCE.get(reducer, "ReduceMax"), w.constant(last)
        if truth:
            name = w.op("Not", name) if reducer == "all" else name
            count = w.op("ReduceSum", w.cast(name, bool_, SMALL_INDEX), axes_, keepdims=0)
            found = w.op("Greater", count, w.constant(0, SMALL_INDEX))
            return Value(w.op("Not", found) if reducer == "all" else found, tuple(kept), bool_)
        if kind is bool_:
            name = w.cast(w.op(op, w.cast(name, bool_, SMALL_INDEX), axes_, keepdims=0), SMALL_INDEX, bool_)
        else:
            name = w.op(op, name, axes_, keepdims=0)
        return Value(name, tuple(kept), kind)

    # --- Scatter ----------------------------------------------------------------------------------------------------------

    def scatter(self, node: Scatter) -> str:
        """By position in the flat tensor; what a guard keeps out goes to a place behind it, which is cut off."""
        w = self.w
        place = Place(w, dict(zip(axes(len(node.update_shape)), node.update_shape)), self.tensors)
        body = self.scalars(place, node.reads, plain(node.body), node.dtype, node.dtype)
        updates = w.reshape(place.full(body, place.order), [product(node.update_shape)])
        where = sympy.expand(linearise(node.index, node.shape))
        count = product(node.shape)
        index = Value(place.index(where), place.pattern(place.axes_of(where)), INDEX)
        if node.base is None:
            flat = w.op("Expand", w.constant(0, node.dtype), w.sizes([count]))
        else:
            flat = w.reshape(w.cast(self.tensors[node.base], node.base.dtype, node.dtype), [count])
        if node.guard:
            flat = w.op("Concat", flat, w.constant([0], node.dtype), axis=0)
            index = place.where(place.mask(node.guard), index, w.size(count))
        flat_index = w.reshape(place.full(index, place.order), [product(node.update_shape)])
        flat = w.op("ScatterElements", flat, flat_index, updates, axis=0, reduction=_SCATTER[node.mode])
        if node.guard:
            flat = w.op("Slice", flat, w.constant([0]), w.sizes([count]), w.constant([0]))
        return w.reshape(flat, node.shape)

    # --- Scan -------------------------------------------------------------------------------------------------------------

    def scan(self, node: Scan) -> list[str]:
        """The results of all outputs of a recurrence, by ONNX's Scan; its body sees the constants by their names outside."""
        if node.length == 0:  # runtimes do not take it
            rows = [self.w.op("Expand", self.w.constant(0, o.dtype), self.w.sizes((0, *o.shape)))
                    for o in node.step.outputs[len(node.init):]]
            return [*(self.tensors[n] for n in node.init), *rows]
        step: Graph = node.step
        inner = Writer(self.w)
        carries, slices = len(node.init), len(node.sequences)
        head = carries + slices + len(node.constants)
        counted = len(step.inputs) > head
        tensors: dict[Node, str] = {}
        sequences = [self.tensors[n] for n in node.sequences]
        if counted or not sequences:
            sequences.append(self.w.op("Range", self.w.constant(0), self.w.size(node.length), self.w.constant(1)))
        formal: list[Any] = []
        for given in step.inputs[:carries + slices + counted]:
            tensors[given] = inner.name(given.name)
            formal.append(value_info(tensors[given], given))
        if len(sequences) > slices + counted:
            formal.append(package().helper.make_tensor_value_info(inner.name("step"), element_type(INDEX), []))
        tensors |= dict(zip(step.inputs[carries + slices + counted:], (self.tensors[n] for n in node.constants)))
        lowering = Lowering(inner, tensors, step.where, self.missing)
        lowering.run(step.outputs)
        if any(o in lowering.absent for o in step.outputs):
            raise _Told("said already")
        results = [_own(inner, tensors[o]) for o in step.outputs]
        formal_results = [value_info(name, o) for name, o in zip(results, step.outputs)]
        body = package().helper.make_graph(inner.nodes, inner.name("step"), formal, formal_results)
        rows = len(step.outputs) - carries
        directions = {"scan_output_directions": [int(node.reverse)] * rows} if rows else {}
        return self.w.results(
            "Scan", [*(self.tensors[n] for n in node.init), *sequences], len(step.outputs), body=body,
            num_scan_inputs=len(sequences), scan_input_directions=[int(node.reverse)] * len(sequences), **directions,
        )

    # --- Kernel -----------------------------------------------------------------------------------------------------------

    def kernel(self, node: Kernel) -> str:
        source = node.operands[_OPERAND.get(node.name, 0)]
        name = self.tensors[source]
        if node.name in _OPERAND:
            return self.w.op("Det", name) if node.name == "det" else name
        if node.name == "argsort":
            name = self.w.cast(name, source.dtype, SMALL_INDEX) if source.dtype is bool_ else name
            return self.w.results("TopK", [name, self.w.sizes([source.shape[-1]])], 2, axis=-1,
                                  largest=int(dict(node.attributes)["descending"]))[1]
        raise UnsupportedOperationError(f"the kernel {node.name}")


_OPERAND = {"given": 0, "pseudo_inverse": 1, "det": 0}
"""Kernels of which one operand says it: the others are there for derivatives, or for how it is computed in C."""


def needed(node: Node) -> Sequence[Node]:
    """The nodes that one is made of here."""
    if isinstance(node, Kernel) and node.name in _OPERAND:
        return (node.operands[_OPERAND[node.name]],)
    return node.sources


def _in_order(outputs: Sequence[Node], known: Container[Node]) -> list[Node]:
    """What has to be made, sources first."""
    order: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(n, False) for n in reversed(outputs)]
    while stack:
        node, expanded = stack.pop()
        if node in order or node in known:
            continue
        if expanded:
            order[node] = None
            continue
        stack.append((node, True))
        stack.extend((s, False) for s in reversed(needed(node)))
    return list(order)


def _own(inner: Writer, name: str) -> str:
    """A name that nothing else is called by: results of a graph are made in it, each once."""
    made = package().helper.make_node("Identity", [name], [inner.name(f"{name}_out")])
    inner.nodes.append(made)
    found: str = made.output[0]
    return found


def value_info(name: str, node: Node) -> Any:
    """The type of a tensor; open dimensions by their names."""
    shape = [e if isinstance(e, int) else int(e) if e.is_Integer else str(e) for e in node.shape]
    return package().helper.make_tensor_value_info(name, element_type(node.dtype), shape)


def dims_of(inputs: Iterable[Input], tensors: Mapping[Node, str]) -> dict[Dim, tuple[str, int | None]]:
    """Where each named dimension is read: a tensor and its axis."""
    found: dict[Dim, tuple[str, int | None]] = {}
    for node in inputs:
        for k, extent in enumerate(node.shape):
            if isinstance(extent, Dim):
                found.setdefault(extent, (tensors[node], k))
    return found

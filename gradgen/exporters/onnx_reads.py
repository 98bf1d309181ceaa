"""Reads of a node as ONNX tensors: where axes are named, reshaped, cut, padded or gathered by an index.

A node's `Place` has its axes in order, output axes first; every tensor over it is a `Value`, whose dimensions are labelled by
those axes, or are aligned to their end with 1 for what is missing, as broadcasting wants them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sympy

from gradgen.exporters.onnx_writer import LAST, Writer
from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.evaluation import integer
from gradgen.ir.guards import EQ, GE, NE, Condition
from gradgen.ir.indexing import delinearise, linearise, modulo, product, recombined
from gradgen.ir.nodes import Node, Read
from gradgen.ir.symbols import Axis, Dim, Extent, Placeholder, ReduceAxis, same_extent

Symbol = sympy.Symbol


@dataclass(frozen=True)
class Value:
    """A tensor `name` whose dimensions are `labels`, axes of the place; None is a dimension of 1."""

    name: str
    labels: tuple[Symbol | None, ...]
    dtype: DType

    @property
    def axes(self) -> tuple[Symbol, ...]:
        return tuple(a for a in self.labels if a is not None)


class Place:
    """The axes of one node, their extents, and what its placeholders are."""

    def __init__(self, writer: Writer, layout: Mapping[Symbol, Extent], tensors: Mapping[Node, str]) -> None:
        self.w, self.layout, self.tensors = writer, dict(layout), tensors
        self.order = list(layout)
        self.placeholders: dict[Placeholder, Value] = {}

    # --- axes and indices -------------------------------------------------------------------------------------------------

    def axes_of(self, e: sympy.Basic) -> tuple[Symbol, ...]:
        """The axes that an index depends on, in the place's order."""
        found: set[Symbol] = set()
        for s in e.free_symbols:
            if isinstance(s, Placeholder):
                found |= set(self.placeholders[s].axes)
            elif isinstance(s, (Axis, ReduceAxis)):
                found.add(s)
        return tuple(a for a in self.order if a in found)

    def aligned(self, value: Value) -> str:
        """With a dimension for every axis of the place from the first that it has on, in their order."""
        wanted = self.pattern(value.axes)
        if value.labels == wanted:
            return value.name
        added = _added(value.labels, wanted)
        if added is not None:
            return self.w.unsqueeze(value.name, added)
        found = self.ordered(value, [a for a in wanted if a is not None])
        return self.w.unsqueeze(found, [k for k, a in enumerate(wanted) if a is None])

    def pattern(self, axes: Collection[Symbol]) -> tuple[Symbol | None, ...]:
        """The dimensions of an aligned tensor that has these axes."""
        found = [a if a in axes else None for a in self.order]
        return tuple(found[next((k for k, a in enumerate(found) if a is not None), len(found)):])

    def ordered(self, value: Value, axes: Sequence[Symbol]) -> str:
        """With its axes in this order, and no other dimension."""
        name = self.w.squeeze(value.name, [k for k, a in enumerate(value.labels) if a is None])
        return self.w.transpose(name, [value.axes.index(a) for a in axes])

    def is_static(self, e: sympy.Basic) -> bool:
        return all(isinstance(self.layout.get(s), int) for s in e.free_symbols)

    def index(self, e: sympy.Expr) -> str:
        """An index expression over the place: int64, aligned."""
        if self.is_static(e):
            return self.w.constant(integer(e, self.grid(self.axes_of(e))))
        env: dict[sympy.Basic, str] = {}
        for s in e.free_symbols:
            if isinstance(s, Placeholder):
                env[s] = self.aligned(self.whole_number(s))
            elif isinstance(s, (Axis, ReduceAxis)):
                env[s] = self.iota(s)
        return self.w.integer(e, env)

    def index_value(self, e: sympy.Expr) -> Value:
        """Likewise, as a Value."""
        if isinstance(e, Placeholder):
            return self.whole_number(e)
        return Value(self.index(e), self.pattern(self.axes_of(e)), INDEX)

    def whole_number(self, s: Placeholder) -> Value:
        value = self.placeholders[s]
        return Value(self.w.cast(value.name, value.dtype, INDEX), value.labels, INDEX)

    def grid(self, axes: Sequence[Symbol]) -> dict[Symbol, np.ndarray]:
        return {a: np.arange(self.layout[a]).reshape(-1, *(1 for _ in self.order[self.order.index(a) + 1:])) for a in axes}

    def iota(self, a: Symbol) -> str:
        """0, 1, 2, ... along an axis, aligned."""
        extent = self.layout[a]
        if isinstance(extent, int):
            return self.w.constant(self.grid([a])[a])
        counted = self.w.op("Range", self.w.constant(0), self.w.size(extent), self.w.constant(1))
        after = len(self.order) - 1 - self.order.index(a)
        return self.w.unsqueeze(counted, range(1, after + 1))

    def condition(self, c: Condition) -> str:
        """A condition over the place: bool, aligned."""
        if self.is_static(c.expr) and isinstance(c.modulus, int):
            value = integer(c.expr, self.grid(self.axes_of(c.expr)))
            found = value >= 0 if c.kind == GE else value == 0 if c.kind == EQ else value != 0 if c.kind == NE else (
                value % c.modulus == 0)
            return self.w.constant(found, bool_)
        value, zero = self.index(c.expr), self.w.constant(0)
        if c.kind == GE:
            return self.w.op("GreaterOrEqual", value, zero)
        if c.kind not in (EQ, NE):
            value = self.w.op("Mod", value, self.w.size(c.modulus))
        holds = self.w.op("Equal", value, zero)
        return self.w.op("Not", holds) if c.kind == NE else holds

    def mask(self, conditions: Sequence[Condition]) -> tuple[str, tuple[Symbol, ...]]:
        """Where all of them hold, and the axes of that."""
        found = [self.condition(c) for c in conditions]
        name = found[0]
        for one in found[1:]:
            name = self.w.op("And", name, one)
        axes = {a for c in conditions for a in self.axes_of(c.expr)}
        return name, tuple(a for a in self.order if a in axes)

    def full(self, value: Value, axes: Sequence[Symbol]) -> str:
        """Over all of these axes, repeated along those that it does not have."""
        if value.labels == tuple(axes):
            return value.name
        shape = [self.layout[a] for a in axes]
        missing = [k for k, a in enumerate(axes) if a not in value.axes]
        name = self.ordered(value, [a for a in axes if a in value.axes])
        if all(shape[k] == 1 for k in missing):
            return self.w.unsqueeze(name, missing)
        first = next((k for k in range(len(axes)) if k not in missing), len(axes))
        return self.w.op("Expand", self.w.unsqueeze(name, [k - first for k in missing if k > first]), self.w.sizes(shape))

    def where(self, mask: tuple[str, tuple[Symbol, ...]], yes: Value, no: str) -> Value:
        name = self.w.where_(mask[0], self.aligned(yes), no, yes.dtype)
        return Value(name, self.pattern({*yes.axes, *mask[1]}), yes.dtype)

    # --- reads ------------------------------------------------------------------------------------------------------------

    def read(self, read: Read) -> Value:
        """What a read says, over the axes that it depends on."""
        source = read.source
        fill = self.w.constant(float(read.fill) if source.dtype.is_floating_point else int(read.fill), source.dtype)
        if read.guard and any(e == 0 for e in source.shape):
            return Value(fill, (), source.dtype)
        elements = self._elements(read)
        if elements is not None:
            return self.where(self.mask(read.guard), elements, fill) if read.guard else elements
        parts, name = self._merged(read)
        left = list(read.guard)
        dims: list[tuple[tuple[Symbol, ...], bool]] = []
        for d in reversed(range(len(parts))):
            part = parts[d]
            name, labels, as_one, done = self._along(name, d, part, left, fill)
            left = [c for c in left if c not in done]
            dims.insert(0, (labels, as_one))
        labels: list[Symbol | None] = [a for axes, as_one in dims for a in (axes or [None] * as_one)]
        if any(as_one and len(axes) > 1 for axes, as_one in dims):
            labels = [a for a in labels if a is not None]
            name = self.w.reshape(name, [self.layout[a] for a in labels])
        value = Value(name, tuple(labels), source.dtype)
        return self.where(self.mask(left), value, fill) if left else value

    def _elements(self, read: Read) -> Value | None:
        """x[i, j, index(i, j, k)] by GatherElements: where one index is data and the others are axes that it has."""
        shape = read.source.shape
        places = [d for d, e in enumerate(read.index) if any(isinstance(s, Placeholder) for s in e.free_symbols)]
        if len(places) != 1 or len(shape) < 2:
            return None
        (d,) = places
        others = [e for k, e in enumerate(read.index) if k != d]
        if len(set(others)) != len(others) or not all(
                e in self.layout and same_extent(self.layout[e], n) for e, n in zip(others, (*shape[:d], *shape[d + 1:]))):
            return None
        index = read.index[d] if not read.guard else _clipped(read.index[d], shape[d])
        axes = self.axes_of(index)
        new = [a for a in axes if a not in others]
        if len(new) > 1 or len(new) == len(axes):
            return None
        value = self.index_value(index)
        if not new:
            value = Value(self.full(value, others), tuple(others), INDEX)
            index_name = self.w.unsqueeze(value.name, [d])
        else:
            index_name = self.full(value, [*others[:d], *new, *others[d:]])
        name = self.w.op("GatherElements", self.tensors[read.source], index_name, axis=d)
        return Value(name, (*others[:d], new[0] if new else None, *others[d:]), read.dtype)

    def _merged(self, read: Read) -> tuple[list[Part], str]:
        """The axes of the source, those made one whose indices share axes of the place; and the tensor so."""
        shape, index = read.source.shape, [sympy.expand(e) for e in read.index]
        groups: list[tuple[set[Symbol], list[int]]] = []
        for d, e in enumerate(index):
            axes, places = set(self.axes_of(e)), [d]
            for group in [g for g in groups if g[0] & axes]:
                groups.remove(group)
                axes, places = axes | group[0], group[1] + places
            groups.append((axes, sorted(places)))
        groups.sort(key=lambda g: g[1][0])
        order = [d for _, places in groups for d in places]
        name = self.w.transpose(self.tensors[read.source], order)
        parts = []
        for _, places in groups:
            own = [Part(shape[d], index[d], ((index[d], shape[d]),)) for d in places]
            parts.append(own[0] if len(own) == 1 else _one_axis(own))
        if len(parts) < len(shape):
            name = self.w.reshape(name, [p.extent for p in parts])
        return parts, name

    def _along(
        self, name: str, d: int, part: Part, guard: Sequence[Condition], fill: str
    ) -> tuple[str, tuple[Symbol, ...], bool, list[Condition]]:
        """The tensor with axis d indexed; the axes that it has there, whether they are one dimension still, and the
        conditions that need no more attention."""
        e, n = part.index, part.extent
        variables = self.axes_of(e)
        own = [c for c in guard if part.inside(c)]
        whole = None if own else self._whole(e, variables, n)
        if whole is not None:
            return name, whole, True, []
        if not variables and e.is_Integer and same_extent(n, 1):
            return name, (), True, []
        affine = self._affine(e) if len(part.pieces) == 1 else None
        if affine is not None:
            return self._cut(name, d, n, *affine, bool(guard), fill), (affine[0],), True, own
        index = e
        if guard:  # outside of it the index may be anything
            index = linearise([_clipped(i, m) for i, m in part.pieces], [m for _, m in part.pieces])
        value = self.index_value(index)
        return self.w.op("Gather", name, self.ordered(value, variables), axis=d), variables, False, []

    def _whole(self, e: sympy.Expr, variables: Sequence[Symbol], n: Extent) -> tuple[Symbol, ...] | None:
        """The axes, outer ones first, with which an index runs over all of an axis of n in order; None where it does not."""
        waiting = [a for a in variables if self.layout[a] != 1]
        if not variables or any(isinstance(s, Placeholder) for s in e.free_symbols):
            return None
        rest = e.xreplace({a: sympy.S.Zero for a in variables if a not in waiting})
        found: list[Symbol] = [a for a in variables if a not in waiting]
        stride: sympy.Expr = sympy.S.One
        while waiting:
            inner = next((a for a in waiting if sympy.expand(rest.coeff(a, 1) - stride) == 0), None)
            if inner is None:
                return None
            waiting.remove(inner)
            found.insert(0, inner)
            rest, stride = sympy.expand(rest - stride * inner), sympy.expand(stride * self.layout[inner])
        return tuple(found) if rest == 0 and same_extent(stride, n) else None

    def _affine(self, e: sympy.Expr) -> tuple[Symbol, int, sympy.Expr] | None:
        """(axis, step, start) of step*axis + start."""
        axes = [s for s in e.free_symbols if isinstance(s, (Axis, ReduceAxis))]
        others = [s for s in e.free_symbols if s not in axes]
        if len(axes) != 1 or not all(isinstance(s, Dim) for s in others) or not e.is_polynomial(*axes):
            return None
        step = e.coeff(axes[0], 1)
        start = sympy.expand(e - step * axes[0])
        if not step.is_Integer or step == 0 or start.has(axes[0]):
            return None
        return axes[0], int(step), start

    def _cut(self, name: str, d: int, n: Extent, a: Symbol, step: int, start: sympy.Expr, guarded: bool,
             fill: str) -> str:
        """Axis d cut to step*a + start, padded first where that leaves it."""
        w, span = self.w, sympy.sympify(self.layout[a]) - 1
        low, high = (start, start + step * span) if step > 0 else (start + step * span, start)
        if guarded:
            before, after = sympy.expand(-low), sympy.expand(high - (n - 1))
            pads = [self._at_least_0(before), self._at_least_0(after)]
            if pads != [0, 0]:
                name = w.op("Pad", name, w.sizes(pads), fill, w.constant([d]))
                low, high, n = low + pads[0], high + pads[0], sympy.expand(n + pads[0] + pads[1])
        if not (low == 0 and abs(step) == 1 and same_extent(sympy.expand(high + 1), n)):
            name = w.op("Slice", name, w.sizes([sympy.expand(low)]), w.sizes([sympy.expand(high + 1)]), w.constant([d]),
                        w.constant([abs(step)]))
        if step < 0:
            name = w.op("Slice", name, w.constant([-1]), w.constant([LAST]), w.constant([d]), w.constant([-1]))
        return name

    def _at_least_0(self, e: sympy.Expr) -> Extent:
        return max(0, int(e)) if e.is_Integer else sympy.Integer(0) if e.is_nonpositive else e if e.is_nonnegative else (
            sympy.Max(e, 0))


@dataclass(frozen=True)
class Part:
    """An axis of a read tensor, or several made one: its extent and index, and those of the `pieces`."""

    extent: Extent
    index: sympy.Expr
    pieces: tuple[tuple[sympy.Expr, Extent], ...]

    def inside(self, c: Condition) -> bool:
        """Whether a condition only says that the index is inside of the tensor."""
        if c.kind != GE or len(self.pieces) > 1:
            return False
        return sympy.expand(c.expr - self.index) == 0 or sympy.expand(c.expr - (self.extent - 1 - self.index)) == 0


def _added(labels: Sequence[Symbol | None], wanted: Sequence[Symbol | None]) -> list[int] | None:
    """The dimensions of 1 to add to have the wanted ones."""
    added, k = [], 0
    for place, label in enumerate(wanted):
        if k < len(labels) and labels[k] is label:
            k += 1
        elif label is None:
            added.append(place)
        else:
            return None
    return added if k == len(labels) else None


def _one_axis(parts: Sequence[Part]) -> Part:
    """Axes that are read by one number: x[i / 3, i mod 3] is the flat x at i."""
    index, shape = [p.index for p in parts], [p.extent for p in parts]
    flat = next((e.args[0] for e in reversed(index) if isinstance(e, modulo)), None)
    wide = [k for k, n in enumerate(shape) if n != 1]
    if flat is None or [index[k] for k in wide] != list(delinearise(flat, [shape[k] for k in wide])):
        flat = recombined(sympy.expand(linearise(index, shape)))
    return Part(product(shape), sympy.expand(flat), tuple(zip(index, shape)))


def _clipped(e: sympy.Expr, n: Extent) -> sympy.Expr:
    return e if e.is_Integer else sympy.Max(0, sympy.Min(e, n - 1, evaluate=False), evaluate=False)

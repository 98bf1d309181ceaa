"""Sums of products as MatMul, Einsum and Conv, windows as pools: what a node reduces, without its terms in memory."""

from __future__ import annotations

import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sympy

from gradgen.exporters.onnx_reads import Place, Symbol, Value
from gradgen.ir import functions as fn
from gradgen.ir.guards import GE
from gradgen.ir.indexing import modulo, product, quotient
from gradgen.ir.nodes import ARG_REDUCERS, Compute, Read
from gradgen.ir.symbols import (
    Extent,
    Placeholder,
    axes,
    placeholder,
    placeholder_place,
    reduce_axes,
    reduce_axis,
    same_extent,
)


def factors_of(body: sympy.Expr) -> tuple[sympy.Expr, list[int]] | None:
    """(number, the reads) of a product of several reads, each once."""
    if not isinstance(body, sympy.Mul):
        return None
    number, rest = body.as_coeff_mul()
    places = [placeholder_place(f) for f in rest if isinstance(f, Placeholder)]
    return (number, places) if len(places) == len(rest) > 1 else None


def contracted(place: Place, values: Sequence[Value], out: Sequence[Symbol], summed: Sequence[Symbol]) -> Value | None:
    """The sum of a product of tensors; None where an axis of the sum is in none of them."""
    w, kind = place.w, values[0].dtype
    if not all(any(a in v.axes for v in values) for a in summed):
        return None
    result = tuple(a for a in out if any(a in v.axes for v in values))
    if len(values) == 2:
        a, b = values
        both = [x for x in result if x in a.axes and x in b.axes]
        m, n = ([x for x in result if x in v.axes and x not in both] for v in (a, b))
        k = [x for x in summed if x in a.axes and x in b.axes]
        if len(m) == len(n) == len(k) == len(summed) == 1:
            name = w.op("MatMul", place.ordered(a, [*both, *m, *k]), place.ordered(b, [*both, *k, *n]))
            return Value(name, (*both, *m, *n), kind)
    letters = dict(zip(place.order, string.ascii_letters))
    if len(place.order) > len(letters):
        return None
    terms = ["".join(letters[a] for a in v.axes) for v in values]
    equation = f"{','.join(terms)}->{''.join(letters[a] for a in result)}"
    return Value(w.op("Einsum", *(place.ordered(v, v.axes) for v in values), equation=equation), result, kind)


# --- windows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """An axis that is read at stride*out + dilation*tap - before."""

    axis: int
    out: Symbol
    tap: Symbol | None
    stride: int
    dilation: int
    before: int
    after: int


def windows_of(place: Place, read: Read, out: Sequence[Symbol], summed: Sequence[Symbol],
               shared: Collection[sympy.Basic] = ()) -> dict[int, Window] | None:
    """The axes of a read that are windows, by their number; None where one is none that ONNX has.

    No window runs along an axis in `shared`.
    """
    found: dict[int, Window] = {}
    conditions = list(read.guard)
    for d, (e, n) in enumerate(zip(read.index, read.source.shape)):
        e = sympy.expand(e)
        taps = [a for a in e.free_symbols if a in summed]
        outs = [a for a in e.free_symbols if a in out]
        own = [c for c in conditions if c.kind == GE and any(
            sympy.expand(c.expr - x) == 0 for x in (e, sympy.sympify(n) - 1 - e))]
        if len(outs) != 1 or outs[0] in shared or len(taps) > 1 or len(e.free_symbols) != 1 + len(taps):
            continue
        stride, dilation = e.coeff(outs[0], 1), e.coeff(taps[0], 1) if taps else sympy.S.One
        start = sympy.expand(e - stride * outs[0] - (dilation * taps[0] if taps else 0))
        if not all(x.is_Integer for x in (stride, dilation, start)) or (not taps and e == outs[0]):
            continue
        size = place.layout[taps[0]] if taps else 1
        if stride < 1 or dilation < 1 or start > 0 or not isinstance(size, int):
            return None
        after = _pad_after(int(stride), int(dilation) * (size - 1) + 1, int(-start), n, place.layout[outs[0]])
        if after is None or ((after or start) and not own):
            return None
        conditions = [c for c in conditions if c not in own]
        found[d] = Window(d, outs[0], taps[0] if taps else None, int(stride), int(dilation), int(-start), after)
    used = [w.out for w in found.values()]
    once = len(set(used)) == len(used) and not any(
        e.has(a) for a in used for d, e in enumerate(read.index) if d not in found)
    return found if once and not conditions else None


def _pad_after(stride: int, span: int, before: int, n: Extent, out: Extent) -> int | None:
    """How much is padded behind so that there are `out` windows."""
    for after in sorted(range(span + stride), key=lambda k: abs(k - before)):
        rest = sympy.sympify(n) + before + after - span
        count = rest // stride + 1 if rest.is_Integer else sympy.floor(rest / stride) + 1 if stride > 1 else rest + 1
        if same_extent(count, out):
            return after
    return None


def _window_attributes(place: Place, windows: Sequence[Window]) -> dict[str, list[int]]:
    return {
        "kernel_shape": [int(place.layout[w.tap]) if w.tap is not None else 1 for w in windows],
        "strides": [w.stride for w in windows], "dilations": [w.dilation for w in windows],
        "pads": [*(w.before for w in windows), *(w.after for w in windows)],
    }


def pooled(place: Place, node: Compute, read: Read, out: Sequence[Symbol], summed: Sequence[Symbol]) -> Value | None:
    """The sum or maximum over windows of one tensor, by AveragePool or MaxPool."""
    w, source = place.w, read.source
    found = windows_of(place, read, out, summed)
    if not found or node.reducer not in ("max", "sum") or not source.dtype.is_floating_point:
        return None
    windows = list(found.values())
    rest = [d for d in range(source.ndim) if d not in found]
    labels = [read.index[d] for d in rest]
    right = read.fill == (-sympy.oo if node.reducer == "max" else 0) or not read.guard
    plain = all(e in out and same_extent(place.layout[e], source.shape[d]) for d, e in zip(rest, labels))
    taps = [v.tap for v in windows if v.tap is not None]
    if not right or not plain or len(set(labels)) != len(labels) or {*taps} != {*summed} or len(taps) != len(summed):
        return None
    name = w.transpose(place.tensors[source], [*rest, *found])
    if len(rest) != 2:
        lead = [source.shape[d] for d in rest]
        name = w.reshape(name, [1, product(lead), *(source.shape[d] for d in found)])
    attributes = _window_attributes(place, windows)
    if node.reducer == "max":
        name = w.op("MaxPool", name, **attributes)
    else:
        plain_step = all(v.dilation == 1 for v in windows)
        if not plain_step:  # a later version of AveragePool has dilations
            return None
        del attributes["dilations"]
        name = w.op("AveragePool", name, count_include_pad=1, **attributes)
        count = 1
        for size in attributes["kernel_shape"]:
            count *= size
        name = w.op("Mul", name, w.constant(count, source.dtype))
    if len(rest) != 2:
        name = w.reshape(name, [*(place.layout[a] for a in labels), *(place.layout[v.out] for v in windows)])
    return Value(name, (*labels, *(v.out for v in windows)), source.dtype)


def convolved(place: Place, x: Read, kernel: Read, out: Sequence[Symbol], summed: Sequence[Symbol]) -> Value | None:
    """The sum over channels and windows of x times kernel, by Conv."""
    w = place.w
    found = windows_of(place, x, out, summed, {s for e in kernel.index for s in e.free_symbols})
    if not found or (x.guard and x.fill != 0) or not x.source.dtype.is_floating_point:
        return None
    if kernel.guard and (kernel.fill != 0 or kernel.guard != x.guard):  # both may be 0 where the window is outside
        return None
    windows = list(found.values())
    rest = {d: x.index[d] for d in range(x.source.ndim) if d not in found}
    channel = [d for d, e in rest.items() if any(a in summed for a in e.free_symbols)]
    batch = [d for d in rest if d not in channel]
    taps = {v.tap for v in windows if v.tap is not None}
    inner = [a for a in summed if a not in taps]
    if len(channel) != 1 or len(batch) > 1 or len(inner) != 1 or any(rest[d] not in out for d in batch):
        return None
    (c,), (d,) = inner, channel
    per_group = place.layout[c]
    group, count = _group(place, rest[d], c, per_group, x.source.shape[d], out)
    if count is None:
        return None
    where = {e: k for k, e in enumerate(kernel.index)}
    spatial = [where.get(v.tap) if v.tap is not None else None for v in windows]
    outputs = [k for k, e in enumerate(kernel.index) if e.free_symbols & {*out}]
    if c not in where or len(outputs) != 1 or any(
            s is None and v.tap is not None for s, v in zip(spatial, windows)):
        return None
    (o,) = outputs
    named = {o, where[c], *(s for s in spatial if s is not None)}
    if any(kernel.index[k] != 0 or kernel.source.shape[k] != 1 for k in range(kernel.source.ndim) if k not in named):
        return None
    if not all(same_extent(kernel.source.shape[where[a]], place.layout[a]) for a in (c, *taps)):
        return None
    own = _outputs(place, kernel.index[o], group, kernel.source.shape[o], out)
    labels = [rest[k] for k in batch]
    if own is None or len({*labels, *own, *(v.out for v in windows)}) != len(labels) + len(own) + len(windows):
        return None
    if any(a in kernel.index[o].free_symbols for a in labels):
        return None
    data = w.transpose(place.tensors[x.source], [*batch, d, *found])
    data = data if batch else w.unsqueeze(data, [0])
    order = [o, where[c], *(s for s in spatial if s is not None)]
    weights = w.transpose(place.tensors[kernel.source], [*order, *(k for k in range(kernel.source.ndim) if k not in order)])
    if len(order) < kernel.source.ndim or None in spatial:
        weights = w.reshape(weights, [kernel.source.shape[o], per_group, *(
            place.layout[v.tap] if v.tap is not None else 1 for v in windows)])
    name = w.op("Conv", data, weights, group=count, **_window_attributes(place, windows))
    shape = [*labels, *own, *(v.out for v in windows)]
    if len(own) != 1 or not batch:
        name = w.reshape(name, [place.layout[a] for a in shape])
    return Value(name, tuple(shape), x.source.dtype)


def transposed(place: Place, x: Read, kernel: Read, out: Sequence[Symbol], summed: Sequence[Symbol]) -> Value | None:
    """The sum over channels and windows of x, spread by a stride, times kernel, by ConvTranspose."""
    w, rank = place.w, x.source.ndim
    spread = {d: _spread(place, e, n, out, summed) for d, (e, n) in enumerate(zip(x.index, x.source.shape))}
    found = {d: v for d, v in spread.items() if v is not None}
    rest = [d for d in range(rank) if d not in found]
    batch = [d for d in rest if x.index[d] in out]
    channel = [d for d in rest if x.index[d] in summed]
    if not found or len(batch) != 1 or len(channel) != 1 or len(rest) != 2 or not x.source.dtype.is_floating_point:
        return None
    allowed = {c for v in found.values() for c in v.conditions}
    said = {(c.kind, sympy.expand(c.expr), c.modulus) for c in (*x.guard, *kernel.guard)}
    whole = {v.conditions[0] for v in found.values() if v.stride > 1}  # without them every x counts several times
    own = {(c.kind, sympy.expand(c.expr), c.modulus) for c in x.guard}
    if not said <= allowed or not whole <= own or any(r.guard and r.fill != 0 for r in (x, kernel)):
        return None
    inner, where = x.index[channel[0]], {e: k for k, e in enumerate(kernel.index)}
    taps = [v.tap for v in found.values()]
    outer = [e for e in kernel.index if e in out]
    if {*taps, inner} != {*summed} or len(summed) != len(taps) + 1 or len(outer) != 1 or kernel.source.ndim != rank:
        return None
    if not all(t in where and same_extent(kernel.source.shape[where[t]], place.layout[t]) for t in (*taps, inner, *outer)):
        return None
    labels = (x.index[batch[0]], outer[0], *(v.out for v in found.values()))
    if len(set(labels)) != rank or not same_extent(place.layout[labels[0]], x.source.shape[batch[0]]):
        return None
    data = w.transpose(place.tensors[x.source], [*batch, *channel, *found])
    weights = w.transpose(place.tensors[kernel.source], [where[inner], where[outer[0]], *(where[t] for t in taps)])
    all_ = list(found.values())
    name = w.op("ConvTranspose", data, weights, strides=[v.stride for v in all_], dilations=[v.dilation for v in all_],
                kernel_shape=[int(place.layout[t]) for t in taps],
                pads=[*(v.before for v in all_), *(max(v.after, 0) for v in all_)],
                output_padding=[max(-v.after, 0) for v in all_])
    return Value(name, labels, x.source.dtype)


@dataclass(frozen=True)
class Spread:
    """An axis that is read at (out + before - dilation*tap) / stride, where that is whole and inside."""

    out: Symbol
    tap: Symbol
    stride: int
    dilation: int
    before: int
    after: int
    conditions: tuple[tuple[str, sympy.Expr, Extent], ...]


def _spread(place: Place, e: sympy.Expr, n: Extent, out: Sequence[Symbol], summed: Sequence[Symbol]) -> Spread | None:
    inside, stride = (e.args[0], e.args[1]) if isinstance(e, quotient) else (e, sympy.S.One)
    inside = sympy.expand(inside)
    outs, taps = ([a for a in inside.free_symbols if a in group] for group in (out, summed))
    if len(outs) != 1 or len(taps) != 1 or not stride.is_Integer or not isinstance(place.layout[taps[0]], int):
        return None
    dilation = -inside.coeff(taps[0], 1)
    before = sympy.expand(inside - outs[0] + dilation * taps[0])
    if not dilation.is_Integer or not before.is_Integer or dilation < 1 or before < 0:
        return None
    span = int(dilation) * (place.layout[taps[0]] - 1) + 1
    after = sympy.expand(stride * (sympy.sympify(n) - 1) + span - before - place.layout[outs[0]])
    if not after.is_Integer or int(after) <= -int(stride):
        return None
    conditions = (("mod", inside, int(stride)), ("ge", sympy.expand(e), 0), ("ge", sympy.expand(sympy.sympify(n) - 1 - e), 0))
    return Spread(outs[0], taps[0], int(stride), int(dilation), int(before), int(after), conditions)


def _group(place: Place, e: sympy.Expr, c: Symbol, per_group: Extent, channels: Extent, out: Sequence[Symbol]
           ) -> tuple[Symbol | None, int | None]:
    """(axis, number) of the groups, where a channel's index is c or per_group*axis + c."""
    if e == c and same_extent(per_group, channels):
        return None, 1
    groups = [a for a in e.free_symbols if a in out]
    if len(groups) != 1 or sympy.expand(e - per_group * groups[0] - c) != 0 or not isinstance(place.layout[groups[0]], int):
        return None, None
    count = int(place.layout[groups[0]])
    return (groups[0], count) if same_extent(per_group * count, channels) else (None, None)


def _outputs(place: Place, e: sympy.Expr, group: Symbol | None, n: Extent, out: Sequence[Symbol]) -> list[Symbol] | None:
    """The axes that the output channels are, groups first."""
    if e in out and same_extent(place.layout[e], n):
        return [e] if group in (None, e) else None
    own = [a for a in e.free_symbols if a in out and a is not group]
    if group is None or len(own) != 1 or sympy.expand(e - place.layout[own[0]] * group - own[0]) != 0:
        return None
    return [group, own[0]] if same_extent(place.layout[own[0]] * place.layout[group], n) else None


# --- the value at the place of the maximum ----------------------------------------------------------------------------


def at_peaks(node: Compute, body: sympy.Expr) -> Compute | None:
    """x[argmax(x)] is max(x): the node that says so."""
    for k, read in enumerate(node.reads):
        index = [e for e in read.index if any(s in e.free_symbols for s in map(placeholder, range(k)))]
        if body != placeholder(k) or not index or read.guard or node.reducer:
            continue
        (first, *others) = [j for j in range(k) if any(placeholder(j) in e.free_symbols for e in index)]
        arg = node.reads[first].source
        put_right = isinstance(arg, Compute) and _inside(arg.body)
        if put_right:
            arg = arg.reads[0].source
        if others or not isinstance(arg, Compute) or arg.reducer not in ARG_REDUCERS or len(arg.reads) != 1:
            return None
        inner = arg.reads[0]
        worst = sympy.oo if arg.reducer == "argmin" else -sympy.oo
        if (put_right or inner.guard) and inner.fill != worst:
            return None
        same = tuple(e.xreplace({placeholder(first): reduce_axis(0)}) for e in read.index) == inner.index
        if not same or inner.source is not read.source or node.reads[first].index != axes(arg.ndim) or arg.ndim != node.ndim:
            return None
        if arg.body.free_symbols != {placeholder(0)}:
            return None
        reducer = "min" if arg.reducer == "argmin" else "max"
        return Compute(node.shape, placeholder(0), [inner], node.dtype, reduce_shape=arg.reduce_shape, reducer=reducer)
    return None


def _inside(body: sympy.Expr) -> bool:
    """Whether a place in a window is put right: place 0, where it lies outside of the tensor, is the first one inside.

    A maximum is there only where all of the window is -inf, and then it is -inf at the other place, too.
    """
    if not isinstance(body, fn.select) or body.args[2] != placeholder(0) or not isinstance(body.args[0], fn.and_):
        return False
    return body.args[0].args[0] == fn.eq(placeholder(0), 0) and body.free_symbols & {placeholder(0)} == {
        s for s in body.free_symbols if isinstance(s, Placeholder)}


def flattened(node: Compute) -> Compute:
    """With a reduced axis that is only seen as quotient and modulo of a number made two, where order does not matter."""
    extents = list(node.reduce_shape)
    reads = list(node.reads)
    again = node.reducer in ("max", "min", "sum", "prod")
    while again:
        again = False
        for k, n in enumerate(extents):
            r = reduce_axis(k)
            seen = [e for read in reads for e in (*read.index, *(c.expr for c in read.guard))]
            parts = {f for e in seen for f in e.atoms(quotient, modulo) if f.args[0] == r}
            moduli = {f.args[1] for f in parts}
            if len(moduli) != 1 or not isinstance(n, int) or node.body.has(r):
                continue
            (m,) = moduli
            if not m.is_Integer or n % int(m):
                continue
            new = reduce_axis(len(extents))
            swap = {quotient(r, m): r, modulo(r, m): new}
            if any(e.xreplace(dict.fromkeys(parts, sympy.S.Zero)).has(r) for e in seen):
                continue
            reads = [Read(x.source, [e.xreplace(swap) for e in x.index], tuple(c.substitute(swap) for c in x.guard), x.fill)
                     for x in reads]
            extents[k] = n // int(m)
            extents.append(int(m))
            again = True
    if len(extents) == len(node.reduce_shape):
        return node
    return Compute(node.shape, node.body, reads, node.dtype, reduce_shape=extents, reducer=node.reducer)


def layout_of(node: Compute) -> dict[Symbol, Extent]:
    """The axes of a node, output axes first, and their extents."""
    return dict(zip((*axes(node.ndim), *reduce_axes(len(node.reduce_shape))), (*node.shape, *node.reduce_shape)))

"""Elements moved: flip, roll, repeat, triangles, diagonals, padding.  Index maps with guards, no arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir.guards import EQ, GE, Condition, conjunction, in_range
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.minima import greatest, least
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.packed import one_of
from gradgen.ir.symbols import Extent, axis, same_extent
from gradgen.ops.axis_counts import Axes
from gradgen.ops.host import repeated_places
from gradgen.ops.joining import cat, part
from gradgen.ops.registry import KEEP, PROMOTE, Op, broadcast_read, broadcast_shapes, register
from gradgen.ops.requirements import require
from gradgen.ops.samples import INF, NAN, edges, one, sample, t
from gradgen.ops.shape import view_node
from gradgen.ops.shapes import A0, A1, A2, A3, exact, known, reduce, spread, wrap_dim, wrap_dims
from gradgen.ops.table import METHODS, call, is_tensor, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

# --- flips and turns -------------------------------------------------------------------------------------------------


def _lower_flip(node: Node, *, dims: tuple[int, ...]) -> Node:
    index = [node.shape[d] - 1 - axis(d) if d in dims else axis(d) for d in range(node.ndim)]
    return view_node(node, node.shape, index)


def _lower_roll(node: Node, *, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Node:
    moved = dict.fromkeys(range(node.ndim), 0)
    for s, d in zip(shifts, dims):
        moved[d] += s
    index = []
    for d in range(node.ndim):
        n = node.shape[d]
        s = moved[d] % n if isinstance(n, int) and n else moved[d]
        index.append(modulo(axis(d) - s + n, sympy.sympify(n)) if s else axis(d))
    return view_node(node, node.shape, index)


_flip = register(Op("flip", _lower_flip, "FlipBackward0", KEEP))
_roll = register(Op("roll", _lower_roll, "RollBackward0", KEEP))
_rot90 = register(Op("rot90", lambda node, *, k, dims: _lower_rot90(node, k, dims), "Rot90Backward0", KEEP))


@public("", samples=[sample(t(2, 3), (0,)), one(t(2, 3), (0, 1)), one(t(2, 3), (-1,))])
def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The order of elements reversed along `dims`."""
    found = (dims,) if isinstance(dims, int) else tuple(dims)
    return call(_flip, input, dims=wrap_dims(found, input.ndim) if found else ())


METHODS["flip"] = spread("flip", "dims", flip)


@public("", method=True, samples=[one(t(2, 3))])
def fliplr(input: Tensor) -> Tensor:
    """Columns reversed."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


@public("", method=True, samples=[one(t(2, 3))])
def flipud(input: Tensor) -> Tensor:
    """Rows reversed."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


@public(
    "", method=True, samples=[sample(t(2, 5), 2, 1), one(t(2, 5), (1, -2), (0, 1)), one(t(2, 3), 2), one(t(5), 7, 0)]
)
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Elements shifted along `dims`, coming back in at the other end; without `dims` in the flattened tensor."""
    moves = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None or (not isinstance(dims, int) and not len(dims)):
        if len(moves) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:0")
        return roll(input.reshape(-1), moves, 0).reshape(tuple(input.shape))
    where = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(where) != len(moves):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(where)}")
    return call(_roll, input, shifts=moves, dims=tuple(wrap_dim(d, input.ndim) for d in where))


def _lower_rot90(node: Node, k: int, dims: tuple[int, int]) -> Node:
    a, b = dims
    shape = list(node.shape)
    index: list[Any] = [axis(d) for d in range(node.ndim)]
    if k % 2:
        shape[a], shape[b] = shape[b], shape[a]
    if k == 1:
        index[a], index[b] = axis(b), node.shape[b] - 1 - axis(a)
    elif k == 2:
        index[a], index[b] = node.shape[a] - 1 - axis(a), node.shape[b] - 1 - axis(b)
    elif k == 3:
        index[a], index[b] = node.shape[a] - 1 - axis(b), axis(a)
    return view_node(node, shape, index)


@public("", method=True, samples=[*(one(t(2, 3), k) for k in (0, 1, 2, 3, -1)), one(t(2, 3, 4), 1, (1, 2))],
        axes=Axes(2, None, "expected total dims >= 2, but got total dims = {n}"))
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by 90 degrees k times, from the first towards the second of `dims`."""
    a, b = (wrap_dim(d, input.ndim) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    return call(_rot90, input, k=k % 4, dims=(a, b))


# --- repetition ------------------------------------------------------------------------------------------------------


def _lower_repeat(node: Node, *, repeats: tuple[Extent, ...]) -> Node:
    lead = len(repeats) - node.ndim
    index, shape = [], list(repeats[:lead])
    for d, n in enumerate(node.shape):
        r = repeats[lead + d]
        shape.append(known(n * r))
        place = axis(lead + d)
        if same_extent(n, 1):
            index.append(sympy.Integer(0))
        else:
            index.append(place if same_extent(r, 1) else modulo(place, sympy.sympify(n)))
    return view_node(node, shape, index)


_repeat = register(Op("repeat", _lower_repeat, "RepeatBackward0", KEEP))


def _repeated(self: Tensor, repeats: Sequence[Any]) -> Tensor:
    """Copies side by side, `repeats[k]` of them along axis k."""
    counts = tuple(known(r) for r in repeats)
    if len(counts) < self.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    return call(_repeat, self, repeats=counts)


METHODS["repeat"] = spread("repeat", "repeats", _repeated)


@public("", samples=[sample(t(3), (2,)), one(t(2, 3), (2, 1)), one(t(3), (2, 2)), one(t(2, 3), (2,))])
def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Copies side by side; missing repeats are 1."""
    counts = tuple(dims)
    return _repeated(input, (1,) * max(input.ndim - len(counts), 0) + counts)


METHODS["tile"] = spread("tile", "dims", tile)


def _lower_interleave(node: Node, *, repeats: int, dim: int) -> Node:
    index = [quotient(axis(d), sympy.Integer(repeats)) if d == dim else axis(d) for d in range(node.ndim)]
    return view_node(node, [known(e * repeats) if d == dim else e for d, e in enumerate(node.shape)], index)


_interleave = register(Op("repeat_interleave", _lower_interleave, "ViewBackward0", KEEP))


@public("", method=True, samples=[one(t(3), 2), one(t(2, 3), 3, 1), one(t(2, 3), 2)])
def repeat_interleave(
    input: Tensor, repeats: Tensor | int | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Every element `repeats` times in a row, or each as often as `repeats` says; of one tensor, its places so repeated."""
    if repeats is None:
        return repeated_places(input, None, output_size)
    if is_tensor(repeats):
        if dim is None:
            input, dim = input.reshape(-1), 0
        at = wrap_dim(dim, input.ndim)
        return input.index_select(at, repeated_places(repeats, input.shape[at], output_size))
    if repeats < 0:
        raise RuntimeError("Repeats must be non-negative")
    if dim is None:
        return repeat_interleave(input.reshape(-1), repeats, 0)
    if repeats == 0:
        return input.narrow(dim, 0, 0)
    return call(_interleave, input, repeats=int(repeats), dim=wrap_dim(dim, input.ndim))


# --- triangles and diagonals -----------------------------------------------------------------------------------------


def triangle_of(lower_part: bool) -> Any:
    def lower(node: Node, *, diagonal: int) -> Node:
        i, j = axis(node.ndim - 2), axis(node.ndim - 1)
        inside = i + diagonal - j if lower_part else j - i - diagonal
        return Compute(
            node.shape, A0, [Read(node, [axis(d) for d in range(node.ndim)], (Condition(GE, inside),))], node.dtype
        )

    return lower


_tril = register(Op("tril", triangle_of(True), "TrilBackward0", KEEP))
_triu = register(Op("triu", triangle_of(False), "TriuBackward0", KEEP))
TRIANGLES = [
    sample(t(3, 3)),
    one(t(2, 4), 1),
    one(t(4, 2), -1),
    one(t(2, 3, 3), 0),
    one(edges(((NAN, INF), (INF, NAN)))),
]


@public("", method=True, inplace=True, samples=TRIANGLES)
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The part on and below a diagonal, 0 elsewhere."""
    return _cut(_tril, input, diagonal, "tril")


@public("", method=True, inplace=True, samples=TRIANGLES)
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The part on and above a diagonal, 0 elsewhere."""
    return _cut(_triu, input, diagonal, "triu")


def _cut(op: Op, input: Tensor, diagonal: int, name: str) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    return call(op, input, diagonal=int(diagonal))


def _diagonal_length(rows: Extent, columns: Extent, offset: int) -> Extent:
    a = rows + min(offset, 0)
    b = columns - max(offset, 0)
    if isinstance(a, int) and isinstance(b, int):
        return max(min(a, b), 0)
    return greatest(0, a if same_extent(a, b) else least(a, b))


def _lower_diagonal(node: Node, *, offset: int, dims: tuple[int, int]) -> Node:
    rest = [d for d in range(node.ndim) if d not in dims]
    index: list[Any] = [0] * node.ndim
    for new, old in enumerate(rest):
        index[old] = axis(new)
    along = axis(len(rest))
    index[dims[0]], index[dims[1]] = along - min(offset, 0), along + max(offset, 0)
    length = _diagonal_length(node.shape[dims[0]], node.shape[dims[1]], offset)
    return view_node(node, (*(node.shape[d] for d in rest), length), index)


_diagonal = register(Op("diagonal", _lower_diagonal, "DiagonalBackward0", KEEP, view=True))
_trace = register(Op("trace", lambda node: _lower_trace(node), "TraceBackward0", KEEP))


@public("", method=True, samples=[sample(t(3, 3)), one(t(2, 4), 1), one(t(4, 2), -1), one(t(2, 3, 4), 0, 0, 2)])
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements on a diagonal of two axes, as the last axis."""
    a, b = wrap_dim(dim1, input.ndim), wrap_dim(dim2, input.ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return call(_diagonal, input, offset=int(offset), dims=(a, b))


@public("linalg", name="diagonal", samples=[one(t(2, 3, 4)), one(t(3, 3, 2), dim1=0, dim2=1), one(t(2, 3, 4), offset=1)])
def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Those of matrices, the last two axes, unless said otherwise."""
    return diagonal(A, offset, dim1, dim2)


def _lower_trace(node: Node) -> Node:
    if node.ndim != 2:
        raise RuntimeError("trace: expected a matrix, but got tensor with dim " + str(node.ndim))
    return reduce(_lower_diagonal(node, offset=0, dims=(0, 1)), (0,), "sum")


@public("", method=True, samples=[sample(t(3, 3)), one(t(2, 4))])
def trace(input: Tensor) -> Tensor:
    """Sum of the diagonal."""
    return call(_trace, input)


def _lower_diag_embed(node: Node, *, offset: int, dims: tuple[int, int]) -> Node:
    rank = node.ndim + 1
    size = node.shape[-1] + abs(offset)
    rest = [d for d in range(rank) if d not in dims]
    shape: list[Any] = [size] * rank
    index: list[Any] = [0] * node.ndim
    for old, new in enumerate(rest):
        shape[new] = node.shape[old]
        index[old] = axis(new)
    row, column = axis(dims[0]), axis(dims[1])
    index[-1] = row + min(offset, 0) if offset <= 0 else row
    guard = conjunction(Condition(EQ, column - row - offset), *in_range(index[-1], node.shape[-1]))
    if guard is None:  # nothing to put anywhere
        return Compute(shape, sympy.Integer(0), [], node.dtype)
    return Compute(shape, A0, [Read(node, index, guard)], node.dtype)


_diag_embed = register(Op("diag_embed", _lower_diag_embed, "DiagEmbedBackward0", KEEP))


@public("", method=True, samples=[sample(t(3)), one(t(2, 3)), one(t(3), 1), one(t(3), -2), one(t(2, 3), 0, 0, 2)])
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last axis on a diagonal of two axes, 0 elsewhere."""
    a, b = wrap_dim(dim1, input.ndim + 1), wrap_dim(dim2, input.ndim + 1)
    return call(_diag_embed, input, offset=int(offset), dims=(a, b))


@public("", method=True, samples=[one(t(3)), one(t(3, 3)), one(t(2), 1), one(t(2, 3), -1)])
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A vector as a diagonal matrix, or the diagonal of a matrix."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return call(_diagonal_copy, input, offset=int(diagonal), dims=(0, 1))


_diagonal_copy = register(Op("diagonal_copy", _lower_diagonal, "DiagonalBackward0_copy", KEEP))


@public("", method=True, samples=[one(t(3)), one(t(2, 2), 0)])
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The flattened elements on a diagonal."""
    return diag_embed(input.reshape(-1), offset)


# --- padding ---------------------------------------------------------------------------------------------------------


def _lower_pad(node: Node, *, pads: tuple[tuple[Extent, Extent], ...], value: sympy.Expr) -> Node:
    index, shape, conditions = [], [], []
    lead = node.ndim - len(pads)
    for d, n in enumerate(node.shape):
        before, after = pads[d - lead] if d >= lead else (0, 0)
        place = axis(d) - before
        index.append(place)
        size = known(n + before + after)
        if isinstance(size, int) and size < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {before} and {after} resulted in a negative output "
                f"size, which "
                f"is invalid. Check dimension {d} of your input."
            )
        shape.append(size)
        conditions.extend(in_range(place, n) if not (same_extent(before, 0) and same_extent(after, 0)) else ())
    guard = conjunction(*conditions)
    if guard is None:
        return Compute(shape, value, [], node.dtype)
    return Compute(shape, A0, [Read(node, index, guard, value)], node.dtype)


def _lower_pad_mode(node: Node, *, pads: tuple[tuple[int, int], ...], mode: str) -> Node:
    lead = node.ndim - len(pads)
    for k, (before, after) in enumerate(pads):
        if before or after:
            node = _extended(node, lead + k, before, after, mode)
    return node


def _extended(node: Node, dim: int, before: int, after: int, mode: str) -> Node:
    """One axis padded from the tensor itself: three guarded reads, each where the others are not."""
    n = node.shape[dim]
    place = axis(dim) - before
    left, right = {
        "reflect": (-place, 2 * (n - 1) - place), "replicate": (sympy.Integer(0), sympy.sympify(n - 1)),
        "circular": (place + n, place - n),
    }[mode]
    parts = [(place, in_range(place, n)), (left, (Condition(GE, -1 - place),)), (right, (Condition(GE, place - n),))]
    if mode == "circular" and (before < 0 or after < 0):  # what is cut off does not come back at the other end
        node = _cropped(node, dim, min(before, 0), min(after, 0))
        return _extended(node, dim, max(before, 0), max(after, 0), mode) if before > 0 or after > 0 else node
    reads = []
    for position, conditions in parts:
        guard = conjunction(*conditions)
        if guard is not None:
            reads.append(Read(node, [position if d == dim else axis(d) for d in range(node.ndim)], guard))
    shape = [known(e + before + after) if d == dim else e for d, e in enumerate(node.shape)]
    return one_of(shape, reads, node.dtype)


def _cropped(node: Node, dim: int, before: int, after: int) -> Node:
    """The axis without its first -before and last -after elements."""
    shape = [known(e + before + after) if d == dim else e for d, e in enumerate(node.shape)]
    return Compute(shape, A0, [Read(node, [axis(d) - before if d == dim else axis(d) for d in range(node.ndim)])],
                   node.dtype)


_pad = register(Op("pad", _lower_pad, "ConstantPadNdBackward0", KEEP))
_PAD_MODES = {
    (mode, rank): register(Op(f"pad_{mode}{rank}d", _lower_pad_mode, grad, KEEP))
    for mode, word in (("reflect", "Reflection"), ("replicate", "Replication"), ("circular", "Circular"))
    for rank, grad in ((k, f"{word}Pad{k}DBackward0") for k in (1, 2, 3))
}


@public("nn.functional", samples=[
    sample(t(2, 3), (1, 2)), one(t(2, 3), (1, 0, 2, 1)), one(t(2, 3), (-1, 1)), one(t(2, 3), (1, 1), "constant", 1.5),
    *(one(t(1, 2, 4), (2, 1), m) for m in ("reflect", "replicate", "circular")),
    *(one(t(1, 1, 3, 4), (2, 1, 1, 2), m) for m in ("reflect", "replicate", "circular")),
    one(t(3), (1, 1), "constant", -INF),
])
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """More elements before and after, last axis first: `pad` = (before, after, before, after, ...).

    mode: constant (`value`, 0), reflect, replicate or circular.
    """
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) > 2 * input.ndim:
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} "
            f"and input of dimension {input.ndim}"
        )
    pairs = tuple((known(pad[k]), known(pad[k + 1])) for k in range(len(pad) - 2, -1, -2))
    if mode == "constant":
        for k, pair in enumerate(pairs):
            n = input.shape[input.ndim - len(pairs) + k]
            require(n + sum(min(p, 0) for p in pair), RuntimeError, "narrow(): length must be non-negative.")
        return call(_pad, input, pads=pairs, value=exact(0 if value is None else value))
    if value not in (None, 0):
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if len(pairs) not in (1, 2, 3) or input.ndim not in (len(pairs) + 1, len(pairs) + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    _check_reach(input, pairs, mode)
    return call(_PAD_MODES[mode, len(pairs)], input, pads=pairs, mode=mode)


def _check_reach(input: Tensor, pairs: tuple[tuple[int, int], ...], mode: str) -> None:
    rank = len(pairs)
    shape = list(input.shape)
    for extent in shape[input.ndim - rank - 1:] if mode != "circular" else ():
        require(extent - 1, RuntimeError,
                "Expected {low}D or {high}D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
                "input, but got: {shape}", low=rank + 1, high=rank + 2, shape=shape)
    for k, (before, after) in enumerate(pairs):
        n = shape[input.ndim - rank + k]
        most = max(before, after)
        if mode == "circular":
            require(n - most, RuntimeError, "Padding value causes wrapping around more than once.")
        elif mode == "reflect":
            require(n - 1 - most, RuntimeError,
                    "Argument #{number}: Padding size should be less than the corresponding input dimension, but got: "
                    "padding ({before}, {after}) at dimension {at} of input {shape}",
                    number=2 + 2 * (rank - k), before=before, after=after, at=input.ndim - rank + k, shape=shape)
        letter = "DHW"[3 - rank + k]
        require(n + before + after - 1, RuntimeError,
                "input ({letter}: {n}) is too small. Calculated output {letter}: {out}", letter=letter, n=n,
                out=n + before + after)


# --- sums of products over moved elements ----------------------------------------------------------------------------


def _lower_kron(a: Node, b: Node) -> Node:
    rank = max(a.ndim, b.ndim)
    at_a, at_b, shape = [], [], []
    for d in range(rank):
        da, db = d - (rank - a.ndim), d - (rank - b.ndim)
        n = a.shape[da] if da >= 0 else 1
        m = b.shape[db] if db >= 0 else 1
        shape.append(known(n * m))
        if da >= 0:
            at_a.append(quotient(axis(d), sympy.sympify(m)))
        if db >= 0:
            at_b.append(modulo(axis(d), sympy.sympify(m)) if not same_extent(n, 1) else axis(d))
    return Compute(shape, A0 * A1, [Read(a, at_a), Read(b, at_b)], a.dtype)


_kron = register(Op("kron", _lower_kron, "UnsafeViewBackward0", PROMOTE))


@public("", method=True, samples=[one(t(2, 2), t(3, 2, seed=1)), one(t(2), t(3, seed=1))])
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker product."""
    return call(_kron, input, other)


def _lower_cross(a: Node, b: Node, *, dim: int) -> Node:
    shape = broadcast_shapes(a.shape, b.shape)
    if not same_extent(shape[dim], 3):
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {a.shape[dim]} and {b.shape[dim]}"
        )

    def shifted(node: Node, by: int) -> Read:
        read = broadcast_read(node, shape)
        return Read(node, [modulo(e + by, sympy.Integer(3)) if d == dim else e for d, e in enumerate(read.index)])

    reads = [shifted(a, 1), shifted(b, 2), shifted(a, 2), shifted(b, 1)]
    return Compute(shape, A0 * A1 - A2 * A3, reads, a.dtype)


_cross = register(Op("linalg_cross", _lower_cross, "LinalgCrossBackward0", PROMOTE))


@public("linalg", name="cross", samples=[one(t(2, 3), t(2, 3, seed=1)), one(t(3, 2), t(3, 2, seed=1), dim=0)])
def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Vector product along an axis of extent 3."""
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    return call(_cross, input, other, dim=wrap_dim(dim, input.ndim))


@public("", method=True, samples=[one(t(2, 3), t(2, 3, seed=1), dim=1)])
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Vector product along `dim`, or the first axis of extent 3."""
    if dim is None and input.ndim == other.ndim:
        found = [d for d, e in enumerate(input.shape) if same_extent(e, 3)]
        if not found:
            raise RuntimeError("no dimension of size 3 in input")
        dim = found[0]
    return linalg_cross(input, other, dim=dim)  # type: ignore[arg-type]


@public("", method=True, samples=[sample(t(5)), one(t(2, 5), 2), one(t(3, 4), 1, 0)])
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """n-th differences of neighbours along `dim`."""
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n == 0:
        return input.clone()
    parts = [x for x in (prepend, input, append) if x is not None]
    x = cat(parts, dim) if len(parts) > 1 else input
    at = wrap_dim(dim, x.ndim)
    for _ in range(min(n, x.shape[at]) if isinstance(x.shape[at], int) else n):
        length = known(greatest(0, x.shape[at] - 1))
        x = part(x, at, 1, length) - part(x, at, 0, length)
    return x



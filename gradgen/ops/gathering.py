"""Reading and writing at indices held in tensors: gather, index_select, scatter, index_add, embedding, one_hot."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.indexing import product, reshape_index
from gradgen.ir.nodes import Compute, Node, Read, Scatter, identity_read
from gradgen.ir.symbols import Extent, axes, axis, same_extent
from gradgen.ops.arithmetic import Number
from gradgen.ops.axis_counts import Axes, Reaching
from gradgen.ops.host import check_indices, host_value
from gradgen.ops.registry import KEEP, Op, Saves, broadcast_read, broadcast_shapes, register
from gradgen.ops.requirements import require_equal
from gradgen.ops.samples import edges, index, one, plain, sample, t
from gradgen.ops.shape import to_dtype
from gradgen.ops.shapes import A0, A1, A2, TORCH_NAMES, extreme, numel, shape_text, wrap_dim
from gradgen.ops.table import call, is_tensor, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def _require_index(tensor: Any, name: str, argument: str = "index") -> None:
    require_tensor(tensor, name, argument, 3)
    if tensor.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def _at(index: Sequence[Any], dim: int, place: Any) -> list[Any]:
    return [place if d == dim else e for d, e in enumerate(index)]


# --- gather ----------------------------------------------------------------------------------------------------------


def _within(small: Extent, large: Extent) -> bool:
    """Whether one extent is at most the other, as far as that is known before there are values."""
    return small <= large if isinstance(small, int) and isinstance(large, int) else same_extent(small, large)


def _check_update(node: Node, index: Node, source: Node, dim: int) -> None:
    """RuntimeError where the index reaches beyond what is written to, or what is written."""
    if source.ndim not in (0, index.ndim):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    if not all(d == dim or _within(index.shape[d], node.shape[d]) for d in range(node.ndim)) or (
        source.ndim and not all(_within(e, source.shape[d]) for d, e in enumerate(index.shape))
    ):
        raise RuntimeError(
            f"Expected index {shape_text(index.shape)} to be no larger than self {shape_text(node.shape)} apart from "
            f"dimension {dim} and to be no larger size than src {shape_text(source.shape)}"
        )


def _lower_gather(node: Node, index: Node, *, dim: int) -> Node:
    if node.ndim == 0:
        return Compute(index.shape, A1, [identity_read(index), Read(node, ())], node.dtype)
    if index.ndim != node.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d in range(node.ndim):
        if d != dim and not _within(index.shape[d], node.shape[d]):
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {shape_text(index.shape)} to be no larger than self "
                f"{shape_text(node.shape)} apart from dimension {dim}"
            )
    place = _at(axes(node.ndim), dim, A0)
    return Compute(index.shape, A1, [identity_read(index), Read(node, place)], node.dtype)


_gather = register(Op("gather", _lower_gather, "GatherBackward0", KEEP, saves=Saves((0,))))


@public("", method=True, samples=[
    sample(t(3, 4), 1, index(3, 2, high=4)), one(t(3, 4), 0, index(2, 4, high=3)), one(t(3, 4), 1, index(2, 2, high=4)),
    plain(t(3, 4), 1, index(3, 0, high=4)), plain(t(3, 4), 1, index(3, 2, high=4), dtypes=("int64", "int32", "bool")),
])
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """result[i][j] = input[i][index[i][j]] for dim 1, and so on."""
    _require_index(index, "gather")
    at = wrap_dim(dim, input.ndim)
    if max(index.ndim, 1) != max(input.ndim, 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    if input.ndim:
        n = input.shape[at]
        check_indices(index, n, f"index {{}} is out of bounds for dimension {at} with size {n}", error=RuntimeError)
    return call(_gather, input, index, dim=at)


@public("", method=True, samples=[one(t(3, 4), index(3, 2, high=4), 1), one(t(3, 4), index(1, 4, high=3), 0),
                                one(t(2, 3), index(4, high=6))])
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather with the other axes broadcast; without `dim` on the flattened tensor."""
    if dim is None:
        return gather(input.reshape(-1), 0, _wrapped(indices.reshape(-1), input.numel()))
    if input.ndim != indices.ndim:
        raise RuntimeError("torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
                           f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices")
    at = wrap_dim(dim, input.ndim)
    lead = broadcast_shapes(_at(input.shape, at, 1), _at(indices.shape, at, 1))
    wide = input.expand(*_at(lead, at, input.shape[at]))
    return gather(wide, at, _wrapped(indices, input.shape[at]).expand(*_at(lead, at, indices.shape[at])))


def _wrapped(indices: Tensor, extent: Extent) -> Tensor:
    """Negative indices counted from the end."""
    _require_index(indices, "take_along_dim")
    known = host_value(indices)
    if known is not None and (not known.size or known.min() >= 0):
        return indices
    return call(_wrap, indices, extent=extent)


_wrap = register(Op(
    "wrap_index", lambda node, *, extent: Compute(
        node.shape, fn.select(fn.lt(A0, 0), A0 + extent, A0), [identity_read(node)], node.dtype
    ), "NotDifferentiable", KEEP,
))


def _lower_index_select(node: Node, index: Node, *, dim: int) -> Node:
    count = index.shape[0] if index.ndim else 1
    where = [axis(dim)] if index.ndim else []
    place = _at(axes(node.ndim), dim, A0)
    return Compute(_at(node.shape, dim, count), A1, [Read(index, where), Read(node, place)], node.dtype)


_index_select = register(Op("index_select", _lower_index_select, "IndexSelectBackward0", KEEP))


@public("", method=True, samples=[sample(t(3, 4), 1, index(5, high=4)), one(t(3, 4), 0, index(2, high=3))])
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices along `dim` whose numbers are in `index`."""
    _require_index(index, "index_select")
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    at = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        require_equal(count := numel(tuple(index.shape)), 1, RuntimeError,
                      "index_select(): Index to scalar can have only 1 value, got {count} value(s)", count=count)
        return input.reshape(1)[0]
    check_indices(index, input.shape[at], "index out of range in self")
    return call(_index_select, input, index, dim=at)


def _lower_take(node: Node, index: Node) -> Node:
    size = product(node.shape)
    wrapped = fn.select(fn.lt(A0, 0), A0 + size, A0)
    flat = Compute((size,), A0, [Read(node, reshape_index((axis(0),), (size,), node.shape))], node.dtype)
    place = Compute(index.shape, wrapped, [identity_read(index)], index.dtype)
    return Compute(index.shape, A1, [identity_read(place), Read(flat, (A0,))], node.dtype)


_take = register(Op("take", _lower_take, "TakeBackward0", KEEP))


@public("", method=True, samples=[one(t(2, 3), index(2, 2, high=6)), one(t(2, 3), edges((-1, 0), "int64", False))])
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flattened tensor."""
    _require_index(index, "take")
    size = product(tuple(input.shape))
    if isinstance(size, int):
        check_indices(
            index, size, "out of range: tried to access index {} on a tensor of " + f"{size} elements.", low=-size
        )
    return call(_take, input, index)


def _lower_embedding(weight: Node, index: Node) -> Node:
    n = index.ndim
    reads = [identity_read(index), Read(weight, [A0, *(axis(n + d) for d in range(weight.ndim - 1))])]
    return Compute((*index.shape, *weight.shape[1:]), A1, reads, weight.dtype)


def _lower_embedding_padded(weight: Node, index: Node, *, padding: int) -> Node:
    n = index.ndim
    rows = weight.shape[0]
    reads = [identity_read(index), Read(weight, [A0, *(axis(n + d) for d in range(weight.ndim - 1))])]
    skipped = sympy.Integer(padding) if padding >= 0 else padding + sympy.sympify(rows)
    body = fn.select(fn.eq(A0, skipped), fn.stop(A1), A1)
    return Compute((*index.shape, *weight.shape[1:]), body, reads, weight.dtype)


_embedding = register(Op("embedding", _lower_embedding, "EmbeddingBackward0", KEEP))
_embedding_padded = register(Op("embedding_padded", _lower_embedding_padded, "EmbeddingBackward0", KEEP))


@public("nn.functional", samples=[
    sample(index(2, 3, high=5), t(5, 4)), one(index(high=5), t(5, 4)), one(index(6, high=3), t(3, 2), padding_idx=1),
], axes={"weight": Axes(2, 2, "'weight' must be 2-D")})
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` by number; the row `padding_idx` takes no gradient."""
    if max_norm is not None or scale_grad_by_freq:
        raise NotImplementedError("embedding: max_norm and scale_grad_by_freq are not offered")
    if not is_tensor(input) or input.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{input.dtype.name} instead (while checking arguments for embedding)"
        )
    check_indices(input, weight.shape[0], "index out of range in self")
    if padding_idx is None:
        return call(_embedding, weight, input)
    return call(_embedding_padded, weight, input, padding=int(padding_idx))


def _lower_one_hot(index: Node, *, classes: int) -> Node:
    body = fn.select(fn.eq(A0, axis(index.ndim)), 1, 0)
    return Compute((*index.shape, classes), body, [Read(index, axes(index.ndim))], dtypes.int64)


_one_hot = register(Op("one_hot", _lower_one_hot, "NotDifferentiable", KEEP))


@public("nn.functional", samples=[plain(index(2, 3, high=4), 4), plain(index(3, high=3), num_classes=5)])
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the class, 0 elsewhere, along a new last axis; without `num_classes` as many as the largest index asks
    for."""
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    check_indices(tensor, sys.maxsize, "Class values must be non-negative.", error=RuntimeError)
    if num_classes == -1:
        values = host_value(tensor)
        if values is None or not values.size:
            raise RuntimeError("Can not infer total number of classes from empty tensor." if values is not None else
                               "one_hot: num_classes must be given in a trace")
        num_classes = int(values.max()) + 1
    check_indices(tensor, num_classes, "Class values must be smaller than num_classes.", error=RuntimeError)
    return call(_one_hot, tensor, classes=int(num_classes))


# --- scatter ---------------------------------------------------------------------------------------------------------


def _scalars_as_vectors(function: F) -> F:
    """A 0-d input takes part as a vector of one element, and so do the index and the source that go with it."""

    @functools.wraps(function)
    def wider(input: Tensor, dim: int, index: Tensor, source: Any = None, *args: Any, **kwargs: Any) -> Any:
        named = next((k for k in ("src", "source", "value") if k in kwargs), None)
        value = kwargs.pop(named) if named else source
        if not is_tensor(input) or input.ndim or not is_tensor(index):
            return function(input, dim, index, value, *args, **kwargs)
        wrap_dim(dim, 0)
        if index.ndim > 1 and function.__name__.startswith("scatter"):
            raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
        if is_tensor(value) and function.__name__ != "index_fill":
            value = value.reshape(-1)
        return function(input.reshape(1), 0, index.reshape(-1), value, *args, **kwargs).reshape(())

    return cast(F, wider)


def _lower_scatter(node: Node, index: Node, source: Node, *, dim: int, mode: str) -> Node:
    _check_update(node, index, source, dim)
    reads = [
        identity_read(index),
        broadcast_read(source, index.shape) if source.ndim == 0 else Read(source, axes(index.ndim)),
    ]
    place = _at(axes(index.ndim), dim, A0)
    return Scatter(node.shape, node, index.shape, place, A1, reads, node.dtype, mode=mode)


def _scatter_op(name: str, grad_name: str) -> Op:
    return register(Op(name, _lower_scatter, grad_name, KEEP))


_scatter_tensor = _scatter_op("scatter", "ScatterBackward0")
_scatter_number = _scatter_op("scatter_number", "ScatterBackward1")
_scatter_add = _scatter_op("scatter_add", "ScatterAddBackward0")
UNIQUE = edges(((0, 2), (1, 3), (3, 0)), "int64", False)


def _checked(input: Tensor, dim: int, index: Tensor, name: str, source: Any) -> int:
    _require_index(index, name)
    at = wrap_dim(dim, input.ndim)
    if index.ndim != input.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if is_tensor(source) and source.ndim != index.ndim:
        if source.ndim:
            Reaching(at).check(name, source.shape)
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    n = input.shape[at]
    check_indices(index, n, f"index {{}} is out of bounds for dimension {at} with size {n}", error=RuntimeError)
    if is_tensor(source) and source.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    return at


@public("", method=True, inplace=True, samples=[
    sample(t(3, 4), 1, UNIQUE, t(3, 2, seed=1)), one(t(3, 4), 1, UNIQUE, 1.5), one(t(3, 4), 1, UNIQUE, t(3, 4, seed=1)),
])
@_scalars_as_vectors
def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | Number, *, reduce: str | None = None) -> Tensor:
    """A copy of `input` with src[i][j] at [i][index[i][j]] (dim 1); of several writes to one place the last stays."""
    at = _checked(input, dim, index, "scatter", src)
    if reduce is not None:
        return scatter_reduce(input, dim, index, src, {"add": "sum", "multiply": "prod"}[reduce])  # type: ignore[arg-type]
    if is_tensor(src):
        return call(_scatter_tensor, input, index, src, dim=at, mode="set")
    return call(_scatter_number, input, index, as_tensor_like(src, input), dim=at, mode="set")


def as_tensor_like(value: Number, input: Tensor) -> Any:
    """A number as a 0-d tensor of the input's dtype."""
    return to_dtype(call(_number, input.detach(), value), input.dtype)


def _lower_number(node: Node, value: Node) -> Node:
    return Compute((), A0, [Read(value, ())], value.dtype)


_number = register(Op("number_like", _lower_number, "NotDifferentiable", "promote"))


@public("", method=True, inplace=True, samples=[sample(t(3, 4), 1, index(3, 6, high=4), t(3, 6, seed=1)),
                                              one(t(3, 4), 0, index(2, 4, high=3), t(2, 4, seed=1))])
@_scalars_as_vectors
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of `input` with src[i][j] added at [i][index[i][j]] (dim 1)."""
    at = _checked(input, dim, index, "scatter_add", src)
    return call(_scatter_add, input, index, src, dim=at, mode="add")


def _lower_scatter_reduce(node: Node, index: Node, source: Node, *, dim: int, mode: str, include: bool) -> Node:
    _check_update(node, index, source, dim)
    place = _at(axes(index.ndim), dim, A0)
    reads = [identity_read(index), Read(source, axes(index.ndim))]
    base: Node = node
    if not include:  # touched places start from the identity
        start = {"sum": 0, "mean": 0, "prod": 1, "amax": extreme(node.dtype, -1), "amin": extreme(node.dtype, 1)}[mode]
        base = Scatter(node.shape, node, index.shape, place, sympy.sympify(start), reads[:1], node.dtype, mode="set")
    how = {"sum": "add", "mean": "add", "prod": "prod", "amax": "max", "amin": "min"}[mode]
    total = Scatter(node.shape, base, index.shape, place, A1, reads, node.dtype, mode=how)
    if mode != "mean":
        return total
    counts = Scatter(node.shape, None, index.shape, place, sympy.Integer(1), reads[:1], node.dtype, mode="add")
    body = fn.div(A0, fn.maximum(A1, 1) if not include else A1 + 1)
    return Compute(node.shape, body, [identity_read(total), identity_read(counts)], node.dtype)


_scatter_reduce = register(Op("scatter_reduce", _lower_scatter_reduce, "ScatterReduceBackward0", KEEP))


@public("", method=True, inplace=True, samples=[
    *(one(t(3, 4), 1, index(3, 6, high=4), t(3, 6, seed=1), r) for r in ("sum", "mean")),
    *(plain(t(3, 4), 1, index(3, 6, high=4), t(3, 6, seed=1), r) for r in ("prod", "amax", "amin")),
    *(plain(t(3, 4), 1, index(3, 6, high=4), t(3, 6, seed=1), r, include_self=False)
      for r in ("sum", "mean", "prod", "amax", "amin")),
])
@_scalars_as_vectors
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """src combined into `input` at the indices: sum, mean, prod, amax or amin."""
    if reduce not in ("sum", "mean", "prod", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    at = _checked(input, dim, index, "scatter_reduce", src)
    return call(_scatter_reduce, input, index, src, dim=at, mode=reduce, include=bool(include_self))


def _lower_index_write(node: Node, index: Node, source: Node, *, dim: int, mode: str) -> Node:
    count: Extent = index.shape[0] if index.ndim else 1
    where = [axis(dim)] if index.ndim else []
    shape = _at(node.shape, dim, count)
    if source.ndim == 0:
        read = Read(source, ())
    else:
        read = Read(source, axes(node.ndim))
    place = _at(axes(node.ndim), dim, A0)
    return Scatter(node.shape, node, shape, place, A1, [Read(index, where), read], node.dtype, mode=mode)


_index_add = register(Op("index_add", _lower_index_write, "IndexAddBackward0", KEEP))
_index_copy = register(Op("index_copy", _lower_index_write, "IndexCopyBackward0", KEEP))


def _lower_index_fill(node: Node, index: Node, value: Node, *, dim: int) -> Node:
    """A choice per slice, so that a slice named twice counts once in the derivative of the value."""
    place = [Read(index, axes(index.ndim))]
    named = Scatter((node.shape[dim],), None, index.shape, [A0], sympy.Integer(1), place, dtypes.int64, mode="set")
    reads = [Read(named, [axis(dim)]), Read(value, ()), identity_read(node)]
    return Compute(node.shape, fn.select(fn.ne(A0, 0), A1, A2), reads, node.dtype)


_index_fill = register(Op("index_fill", _lower_index_fill, "IndexFillBackward0", KEEP))
ROWS = edges((2, 0), "int64", False)


def _sourced(check: Callable[..., None], function: F) -> F:
    """The function, which looks at the source's shape first."""
    @functools.wraps(function)
    def checked(input: Tensor, dim: int, index: Tensor, source: Tensor, *args: Any, **kwargs: Any) -> Any:
        if is_tensor(input) and is_tensor(index) and is_tensor(source) and index.ndim < 2:
            at = wrap_dim(dim, input.ndim)
            check(tuple(input.shape), at, numel(tuple(index.shape)), tuple(source.shape))
        return function(input, dim, index, source, *args, **kwargs)

    return cast(F, checked)


def _beside(shape: tuple[Extent, ...], at: int) -> tuple[Extent, ...]:
    return (*shape[:at], *shape[at + 1:])


def require_source(name: str, shape: tuple[Extent, ...], at: int, count: Extent, source: tuple[Extent, ...]) -> None:
    """One slice of the source for each index, of the shape of the input's, in the words of index_add and index_reduce."""
    if source or count != 1:
        Reaching(at).check(name, source)
        require_equal(count, source[at], RuntimeError, "{name}_(): Number of indices ({count}) should be equal to "
                      "source.size(dim): ({size}), for dim: {at}", name=name, count=count, size=source[at], at=at)
    mine, theirs = _beside(shape, at), _beside(source, at)
    if len(shape) != len(source) or not all(same_extent(a, b) for a, b in zip(mine, theirs)):
        raise RuntimeError("source tensor shape must match self tensor shape, excluding the specified dimension. Got "
                           f"self.shape = {list(shape)} source.shape = {list(source)}")


def _require_copied(shape: tuple[Extent, ...], at: int, count: Extent, source: tuple[Extent, ...]) -> None:
    """Likewise, in index_copy's words."""
    if not source and count != 1:
        raise IndexError(f"index_copy_(): When source is scalar, index should have one element (got {count})")
    if source and shape and len(source) != len(shape):
        raise IndexError("index_copy_(): When source and destination are not scalars, their dimensionality must match. "
                         f"Source dimensionality ({len(source)}), destination dimensionality ({len(shape)})")
    mine, theirs = _beside(shape, at), _beside(source, at)
    if len(mine) != len(theirs) or not all(same_extent(a, b) for a, b in zip(mine, theirs)):
        slices = [" ".join(map(str, s)) for s in (mine, theirs)]
        raise RuntimeError("index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
                           f"{slices[0]} at dimension {at} and source slice shape: {slices[1]} at dimension 0.")
    size = source[at] if source else 1
    require_equal(count, size, IndexError, "index_copy_(): Number of indices ({count}) should be equal to source.size(dim) "
                  "({size})", count=count, size=size)


def _index_dim(input: Tensor, dim: int, index: Tensor, name: str) -> int:
    _require_index(index, name)
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index should have dimension 1 or 0 (got {index.ndim})")
    at = wrap_dim(dim, input.ndim)
    check_indices(index, input.shape[at], "index out of range in self")
    return at


@public("", method=True, inplace=True, samples=[sample(t(3, 4), 0, index(5, high=3), t(5, 4, seed=1)),
                                              one(t(3, 4), 1, index(2, high=4), t(3, 2, seed=1), alpha=2.0)])
@functools.partial(_sourced, functools.partial(require_source, "index_add"))
@_scalars_as_vectors
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Tensor:
    """A copy of `input` with alpha * source added to the slices numbered `index`."""
    at = _index_dim(input, dim, index, "index_add")
    if is_tensor(source) and source.dtype is not input.dtype:
        mine, theirs = TORCH_NAMES[input.dtype.name], TORCH_NAMES[source.dtype.name]
        raise RuntimeError(f"index_add_(): self ({mine}) and source ({theirs}) must have the same scalar type")
    scaled = source if alpha == 1 else source * alpha
    return call(_index_add, input, index, scaled, dim=at, mode="add")


@public("", method=True, inplace=True, samples=[sample(t(3, 4), 0, ROWS, t(2, 4, seed=1))])
@functools.partial(_sourced, _require_copied)
@_scalars_as_vectors
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of `input` with the slices numbered `index` taken from `source`."""
    at = _index_dim(input, dim, index, "index_copy")
    if is_tensor(source) and source.dtype is not input.dtype:
        mine, theirs = TORCH_NAMES[input.dtype.name], TORCH_NAMES[source.dtype.name]
        raise RuntimeError(
            f"index_copy_(): self and source expected to have the same dtype, but got (self) {mine} and (source) {theirs}"
        )
    return call(_index_copy, input, index, source, dim=at, mode="set")


@public("", method=True, inplace=True, samples=[sample(t(3, 4), 0, ROWS, 1.5), one(t(3, 4), 1, ROWS, t(seed=1))])
@_scalars_as_vectors
def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Number) -> Tensor:
    """A copy of `input` with `value` in the slices numbered `index`."""
    at = _index_dim(input, dim, index, "index_fill")
    if is_tensor(value) and value.ndim:
        raise RuntimeError("index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value.ndim} dimension(s).")
    filler = value if is_tensor(value) else as_tensor_like(value, input)  # type: ignore[arg-type]
    return call(_index_fill, input, index, filler, dim=at)



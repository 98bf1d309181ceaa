"""Views of shape: reshape, permute, squeeze, expand, and what is made of them.  Index maps only, no arithmetic."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir import functions as fn
from gradgen.ir.dtypes import DType
from gradgen.ir.dtypes import dtype as as_dtype
from gradgen.ir.indexing import reshape_index
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Extent, axes, axis, same_extent
from gradgen.ops.registry import KEEP, Op, broadcast_read, register
from gradgen.ops.registry import broadcast_shapes as shapes_of
from gradgen.ops.requirements import dim_hint, is_whole, possible_sizes, require_different, settled
from gradgen.ops.samples import one, plain, sample, t
from gradgen.ops.shapes import A0, known, numel, require_sizes, shape_text, spread, wrap_dim, wrap_dims
from gradgen.ops.size import Size
from gradgen.ops.table import METHODS, PROPERTIES, call, public, require_tensor
from gradgen.ops.tensors import current

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Shape = tuple[Extent, ...]
ALL_TYPES = ("float32", "float64", "int32", "int64", "bool")


def view_node(node: Node, shape: Sequence[Extent], index: Sequence[Any]) -> Compute:
    """`node[index]` over `shape`: a copy of elements, moved."""
    return Compute(shape, A0, [Read(node, index)], node.dtype)


def taken(part: Compute, *operation: object) -> Compute:
    """`part` as what an operation takes from places of which it takes none twice, in any of its results: PyTorch's backward
    copies the cotangent there.  `operation` tells it from others."""
    if not part.dtype.is_floating_point:
        return part
    number = int.from_bytes(hashlib.sha256(repr(operation).encode()).digest()[:3], "big")
    return Compute(part.shape, fn.apart(part.body, number), part.reads, part.dtype)


# --- reshape ---------------------------------------------------------------------------------------------------------


def inferred_shape(shape: Sequence[Any], size: Extent) -> Shape:
    """`shape` with its -1 filled in; RuntimeError in PyTorch's words where the sizes do not fit."""
    wanted = tuple(settled(known(e)) for e in shape)
    holes = [d for d, e in enumerate(wanted) if isinstance(e, int) and e == -1]
    if len(holes) > 1:
        raise RuntimeError("only one dimension can be inferred")
    bad = next((e for e in wanted if isinstance(e, int) and e < -1), None)
    if bad is not None:
        raise RuntimeError(f"invalid shape dimension {bad} at index {list(wanted).index(bad)} of shape {list(wanted)}")
    rest = numel([e for d, e in enumerate(wanted) if d not in holes])
    if not holes:
        if not same_extent(rest, size):
            raise RuntimeError(f"shape '{shape_text(wanted)}' is invalid for input of size {size}{dim_hint(size, *wanted)}")
        return wanted
    if same_extent(rest, 0):
        raise RuntimeError(
            f"cannot reshape tensor of {size} elements into shape {shape_text(wanted)} because the unspecified "
            f"dimension "
            "size -1 can be any value and is ambiguous"
        )
    if isinstance(rest, int) and isinstance(size, int):
        if size % rest:
            raise RuntimeError(f"shape '{shape_text(wanted)}' is invalid for input of size {size}")
        hole: Extent = size // rest
    else:
        quotient = sympy.cancel(sympy.sympify(size) / rest)
        if sympy.denom(quotient) != 1 and not is_whole(quotient):
            raise RuntimeError(
                f"shape '{shape_text(wanted)}' is invalid for input of size {size}{dim_hint(quotient)}"
            )
        hole = known(quotient)
    return tuple(hole if d in holes else e for d, e in enumerate(wanted))


def _lower_view(node: Node, *, shape: Shape) -> Node:
    target = inferred_shape(shape, numel(node.shape))
    if 0 in target:
        return Compute(target, sympy.Integer(0), [], node.dtype)  # no element to read
    return view_node(node, target, reshape_index(axes(len(target)), target, node.shape))


_view = register(Op("view", _lower_view, "ViewBackward0", KEEP, view=True))
_reshape_alias = register(Op("reshape_alias", _lower_view, "ReshapeAliasBackward0", KEEP, view=True))
_unsafe_view = register(Op("unsafe_view", _lower_view, "UnsafeViewBackward0", KEEP))

RESHAPES = [
    sample(t(2, 3), (3, 2), dtypes=ALL_TYPES), one(t(2, 3), (-1,)), one(t(2, 3, 4), (4, -1, 2)), one(t(), (1, 1)),
    plain(t(0, 3), (3, 0)), one(t(2, 1, 3), (6,)), one(t(2, 6), (2, 2, 3)), one(t(1), ()),
]


@public("", samples=RESHAPES)
def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """The elements in row-major order under another shape; one extent may be -1."""
    require_tensor(input, "reshape")
    return _reshaped(input, tuple(shape) if isinstance(shape, (tuple, list)) else (shape,))


def with_decided(input: Tensor, *dims: int) -> Tensor:
    """The tensor with numbers for those extents, of `dims` or of all axes, of which what is stated leaves one value."""
    for d in dims or range(input.ndim):
        sizes = possible_sizes(input.shape[d])
        if not isinstance(input.shape[d], int) and sizes is not None and len(sizes) == 1:
            input = input.narrow(d, 0, sizes[0])  # type: ignore[attr-defined]
    return input


def _fitting(input: Tensor, shape: Sequence[Any]) -> tuple[Tensor, Shape]:
    """The tensor, and `shape` with its -1 filled in."""
    try:
        return input, inferred_shape(shape, numel(input.shape))
    except RuntimeError:
        decided = with_decided(input)
        if decided is input:
            raise
        return decided, inferred_shape(shape, numel(decided.shape))


def _reshaped(input: Tensor, shape: tuple[Any, ...]) -> Tensor:
    input, wanted = _fitting(input, shape)
    alias = current.tensors.aliases(input, wanted)
    return call(_view if alias is None else _reshape_alias if alias else _unsafe_view, input, shape=wanted)


METHODS["reshape"] = spread("reshape", "shape", _reshaped)


def _view_method(self: Tensor, shape: Sequence[Any] = (), dtype: Any = None) -> Tensor:
    """The elements under another shape, sharing storage."""
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], DType)):
        if as_dtype(dtype or shape[0]) is self.dtype:
            return self
        raise NotImplementedError("view(dtype) reinterprets bytes, which gradgen does not do; use .to(dtype)")
    viewed, wanted = _fitting(self, shape)
    return call(_view, viewed, shape=wanted)


METHODS["view"] = spread("view", "size", _view_method)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """reshape to the shape of `other`."""
    return _reshaped(input, tuple(other.shape))


METHODS["reshape_as"] = reshape_as
METHODS["view_as"] = lambda self, other: _view_method(self, tuple(other.shape))


@public(
    "", method=True, samples=[one(t(2, 3, 4)), one(t(2, 3, 4), 1), one(t(2, 3, 4, 2), start_dim=1, end_dim=2), one(t())]
)
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes start_dim to end_dim as one."""
    start, end = wrap_dim(start_dim, input.ndim), wrap_dim(end_dim, input.ndim)
    if input.ndim == 0:
        return _reshaped(input, (1,))
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if start == end:
        return input
    shape = tuple(input.shape)
    return _reshaped(input, (*shape[:start], numel(shape[start:end + 1]), *shape[end + 1:]))


@public("", method=True, samples=[one(t(2, 3))])
def ravel(input: Tensor) -> Tensor:
    """One axis."""
    return _reshaped(input, (-1,)) if input.ndim != 1 else input


@public("", method=True, samples=[one(t(2, 6), 1, (2, 3)), one(t(6, 2), 0, (-1, 3))])
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Axis `dim` as several."""
    wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        raise RuntimeError(f"unflatten got an unexpected error:\nDimension specified as {dim} but tensor has no dimensions")
    at = wrap_dim(dim, input.ndim)
    shape = tuple(input.shape)
    try:
        inner = inferred_shape(tuple(sizes), shape[at])
    except RuntimeError as error:
        decided = with_decided(input, at)
        if decided is not input:
            return unflatten(decided, at, sizes)
        _, line, hint = str(error).partition("\n")
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {at} ({shape[at]}) in the input "
            f"tensor{line}{hint}"
        ) from None
    return call(_view, input, shape=(*shape[:at], *inner, *shape[at + 1:]))


# --- permutations ----------------------------------------------------------------------------------------------------


def _lower_permute(node: Node, *, dims: tuple[int, ...]) -> Node:
    index: list[Any] = [0] * node.ndim
    for new, old in enumerate(dims):
        index[old] = axis(new)
    return view_node(node, [node.shape[d] for d in dims], index)


_permute = register(Op("permute", _lower_permute, "PermuteBackward0", KEEP, view=True))
_transpose = register(Op("transpose", _lower_permute, "TransposeBackward0", KEEP, view=True))
_t = register(Op("t", _lower_permute, "TBackward0", KEEP, view=True))


@public("", samples=[sample(t(2, 3, 4), (2, 0, 1)), one(t(2, 3), (-1, 0)), one(t(), ())])
def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Axes in the order of `dims`."""
    if len(dims) != input.ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) = {len(dims)}"
        )
    found = tuple(wrap_dim(d, input.ndim) for d in dims)
    if len(set(found)) != len(found):
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return call(_permute, input, dims=found)


METHODS["permute"] = spread("permute", "dims", permute)


def _swapped(ndim: int, a: int, b: int) -> tuple[int, ...]:
    order = list(range(ndim))
    order[a], order[b] = order[b], order[a]
    return tuple(order)


@public("", method=True, aliases=["swapaxes", "swapdims"], samples=[sample(t(2, 3), 0, 1), one(t(2, 3, 4), -1, 0)])
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
    return call(_transpose, input, dims=_swapped(input.ndim, a, b) if input.ndim else ())


@public("", method=True, samples=[one(t(2, 3)), one(t(3))])
def t_(input: Tensor) -> Tensor:
    """A matrix transposed; vectors and scalars as they are."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return call(_t, input, dims=tuple(reversed(range(input.ndim))))


def _reversed_axes(self: Tensor) -> Tensor:
    """All axes in reverse order."""
    return call(_permute, self, dims=tuple(reversed(range(self.ndim))))


def _matrix_transposed(self: Tensor) -> Tensor:
    """The last two axes exchanged."""
    if self.ndim < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {self.ndim}-D tensor."
        )
    return transpose(self, -2, -1)


PROPERTIES["T"], PROPERTIES["mT"], PROPERTIES["H"], PROPERTIES["mH"] = (
    _reversed_axes, _matrix_transposed, _matrix_transposed, _matrix_transposed,
)


@public("", method=True, samples=[one(t(2, 3))])
def adjoint(input: Tensor) -> Tensor:
    """The last two axes exchanged: real matrices are their own conjugates.  A scalar stays what it is."""
    return input if input.ndim == 0 else _matrix_transposed(input)



@public("", method=True, aliases=["moveaxis"], samples=[one(t(2, 3, 4), 0, 2), one(t(2, 3, 4), (0, 1), (2, 0))])
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes `source` at the places `destination`, the others in order."""
    from_ = [source] if isinstance(source, int) else list(source)
    to = [destination] if isinstance(destination, int) else list(destination)
    if len(from_) != len(to):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({from_} dims) should contain the same number "
            f"of dims as "
            f"destination ({to} dims)"
        )
    placed = dict(zip((wrap_dim(d, input.ndim) for d in to), (wrap_dim(d, input.ndim) for d in from_)))
    rest = iter(d for d in range(input.ndim) if d not in placed.values())
    return call(_permute, input, dims=tuple(placed[d] if d in placed else next(rest) for d in range(input.ndim)))


# --- axes of extent 1 ------------------------------------------------------------------------------------------------


def _lower_squeeze(node: Node, *, dims: tuple[int, ...]) -> Node:
    gone = [d for d in dims if same_extent(node.shape[d], 1)]
    kept = [d for d in range(node.ndim) if d not in gone]
    index: list[Any] = [0] * node.ndim
    for new, old in enumerate(kept):
        index[old] = axis(new)
    return view_node(node, [node.shape[d] for d in kept], index)


_squeezes = [register(Op(name, _lower_squeeze, grad, KEEP, view=True)) for name, grad in (
    ("squeeze", "SqueezeBackward0"), ("squeeze_dim", "SqueezeBackward1"), ("squeeze_dims", "SqueezeBackward2"))]


def require_not_one(input: Any, d: int, name: str) -> None:
    """Asks that a named axis, which the trace keeps, is none that the operation would drop."""
    extent = input.shape[d]
    if not isinstance(extent, int):
        require_different(extent, 1, RuntimeError, "{name}() would drop axis {d}, whose extent was a name when the function "
                          "was traced and is {extent}", name=name, d=d, extent=extent)


@public("", method=True, samples=[one(t(1, 3, 1)), one(t(1, 3, 1), 0), one(t(1, 3, 1), 1), one(t(1, 3, 1), (0, 2))])
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the axes of extent 1 (among `dim`); of named axes, which must then not be 1, none is dropped."""
    for d in range(input.ndim) if dim is None else wrap_dims(dim, input.ndim) if input.ndim and dim != () else ():
        require_not_one(input, d, "squeeze")
    if dim is None:
        return call(_squeezes[0], input, dims=tuple(range(input.ndim)))
    if isinstance(dim, int):
        at = wrap_dim(dim, input.ndim)
        return call(_squeezes[1], input, dims=(at,) if input.ndim else ())
    return call(_squeezes[2], input, dims=wrap_dims(dim, input.ndim) if dim else ())


def _lower_unsqueeze(node: Node, *, dim: int) -> Node:
    index = [axis(d if d < dim else d + 1) for d in range(node.ndim)]
    return view_node(node, (*node.shape[:dim], 1, *node.shape[dim:]), index)


_unsqueeze = register(Op("unsqueeze", _lower_unsqueeze, "UnsqueezeBackward0", KEEP, view=True))


@public("", method=True, samples=[sample(t(2, 3), 0), one(t(2, 3), -1), one(t(), 0)])
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With one more axis, of extent 1, at `dim`."""
    return call(_unsqueeze, input, dim=wrap_dim(dim, input.ndim + 1))


def _at_least(rank: int) -> Any:
    def function(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
            tensors = tuple(tensors[0])
        results = tuple(_raised(x, rank) for x in tensors)
        return results if len(results) > 1 else results[0]

    function.__name__ = function.__qualname__ = f"atleast_{rank}d"
    function.__doc__ = f"With at least {rank} axes."
    public("", samples=[one(t(3)), one(t())], name=f"atleast_{rank}d")(function)
    return function


def _raised(tensor: Tensor, rank: int) -> Tensor:
    if rank == 3 and tensor.ndim == 2:
        return unsqueeze(tensor, -1)
    if rank == 3 and tensor.ndim == 1:
        return unsqueeze(unsqueeze(tensor, 0), -1)
    if tensor.ndim == 0 and rank:
        return _reshaped(tensor, (1,) * rank)
    return unsqueeze(tensor, 0) if tensor.ndim < rank else tensor


atleast_1d, atleast_2d, atleast_3d = (_at_least(k) for k in (1, 2, 3))


# --- expansion -------------------------------------------------------------------------------------------------------


def expanded_shape(shape: Shape, target: Sequence[Any], dtype: DType) -> Shape:
    """`target` with -1 filled from `shape`; RuntimeError in PyTorch's words."""
    wanted = tuple(known(e) for e in target)
    require_sizes(dtype, shape, wanted)
    offset = len(wanted) - len(shape)
    result: list[Extent] = []
    for k, e in enumerate(wanted):
        own = shape[k - offset] if k >= offset else None
        if isinstance(e, int) and e == -1:
            if own is None:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {k}"
                )
            e = own
        elif own is not None and not same_extent(own, 1) and not same_extent(own, e):
            raise RuntimeError(
                f"The expanded size of the tensor ({e}) must match the existing size ({own}) at non-singleton "
                f"dimension "
                f"{k}.  Target sizes: {shape_text(wanted)}.  Tensor sizes: {shape_text(shape)}{dim_hint(e, own)}"
            )
        result.append(e)
    return tuple(result)


def _lower_expand(node: Node, *, shape: Shape) -> Node:
    target = expanded_shape(node.shape, shape, node.dtype)
    return Compute(target, A0, [broadcast_read(node, target)], node.dtype)


_expand = register(Op("expand", _lower_expand, "ExpandBackward0", KEEP, view=True))


@public("", samples=[sample(t(1, 3), (2, 3)), one(t(3), (2, 3)), one(t(), (2,)), plain(t(1), (0,))])
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Axes of extent 1 repeated to `size`, without copying."""
    return call(_expand, input, shape=expanded_shape(tuple(input.shape), tuple(size), input.dtype))


def _expand_method(self: Tensor, size: Sequence[Any], implicit: bool = False) -> Tensor:
    """Axes of extent 1 repeated; -1 keeps an axis."""
    return broadcast_to(self, size)


METHODS["expand"] = spread("expand", "size", _expand_method)
METHODS["broadcast_to"] = spread("broadcast_to", "size", lambda self, size: broadcast_to(self, size))
METHODS["expand_as"] = lambda self, other: broadcast_to(self, tuple(other.shape))


@public("", name="broadcast_shapes")
def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The common shape."""
    return Size(shapes_of(*((s,) if isinstance(s, int) else tuple(s) for s in shapes)))


# --- copies and conversions ------------------------------------------------------------------------------------------


def _lower_same(node: Node) -> Node:
    return view_node(node, node.shape, axes(node.ndim))


_clone = register(Op("clone", _lower_same, "CloneBackward0", KEEP))
_alias = register(Op("alias", _lower_same, "AliasBackward0", KEEP, view=True))


@public("", method=True, samples=[one(t(2, 3))])
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy through which gradients pass."""
    return call(_clone, input)


def alias(input: Tensor) -> Tensor:
    """Another view of the same storage."""
    return call(_alias, input)


def _lower_cast(node: Node, *, dtype: DType) -> Node:
    body = fn.ne(A0, 0) if dtype.name == "bool" else A0
    return Compute(node.shape, body, [Read(node, axes(node.ndim))], dtype)


_to = register(Op("to_dtype", _lower_cast, "ToCopyBackward0", KEEP))


def to_dtype(input: Tensor, dtype: Any) -> Tensor:
    """Converted elements, by C's rules; to bool: not equal to 0.  The tensor itself where it has the dtype already."""
    wanted = as_dtype(dtype)
    return input if input.dtype is wanted else call(_to, input, dtype=wanted)

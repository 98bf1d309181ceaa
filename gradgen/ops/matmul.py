"""Products of matrices and vectors: sums of products, one Compute each, whatever the rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy

from gradgen.ir import dtypes
from gradgen.ir import functions as fn
from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Extent, axis, reduce_axis, same_extent
from gradgen.ops.arithmetic import Number
from gradgen.ops.axis_counts import Axes, Reaching
from gradgen.ops.registry import KEEP, PROMOTE, Op, broadcast_shapes, register
from gradgen.ops.requirements import require_equal
from gradgen.ops.samples import NAN, edges, one, plain, sample, t
from gradgen.ops.shapes import A0, A1, A2, A3, over, require_sizes, shape_text, wrap_dim
from gradgen.ops.table import call, operator, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Shape = Sequence[Extent]


def _same_dtype(a: Any, b: Any, what: str = "m1 and m2") -> None:
    if a.dtype is not b.dtype:
        names = {"float32": "float", "float64": "double", "int32": "int", "int64": "long int", "bool": "bool"}
        raise RuntimeError(
            f"expected {what} to have the same dtype, but got: {names[a.dtype.name]} != {names[b.dtype.name]}"
        )


def contract(a: Node, b: Node) -> Node:
    """The matrix product over the last axis of a and the last but one of b (the only one of a vector).

    Batch axes broadcast.  Raises RuntimeError in PyTorch's words.
    """
    inner_b = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if not same_extent(a.shape[-1], inner_b):
        _mismatch(a, b)
    rows = a.shape[-2:-1] if a.ndim > 1 else ()
    columns = b.shape[-1:] if b.ndim > 1 else ()
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    n = len(lead)
    index_a = [*_batch_index(a.shape[:-2], lead), *([axis(n)] if rows else []), reduce_axis(0)]
    index_b = [*_batch_index(b.shape[:-2], lead), reduce_axis(0), *([axis(n + len(rows))] if columns else [])]
    return Compute(
        (*lead, *rows, *columns), A0 * A1, [Read(a, index_a), Read(b, index_b)], a.dtype, reduce_shape=(a.shape[-1],),
        reducer="sum",
    )


def _batch_index(shape: Shape, lead: Shape) -> list[Any]:
    offset = len(lead) - len(shape)
    return [
        0 if same_extent(e, 1) and not same_extent(lead[offset + d], 1) else axis(offset + d)
        for d, e in enumerate(shape)
    ]


def _dims(shape: Shape) -> str:
    return "x".join(str(e) for e in shape)


def _mismatch(a: Node, b: Node) -> None:
    if a.ndim == 1 and b.ndim == 1:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to have the same "
            f"number of "
            f"elements, but got {a.shape[0]} and {b.shape[0]} elements respectively"
        )
    if a.ndim == 2 and b.ndim == 1:
        raise RuntimeError(f"size mismatch, got input ({a.shape[0]}), mat ({_dims(a.shape)}), vec ({b.shape[0]})")
    if a.ndim > 2 and b.ndim > 2:
        want = [a.shape[0], a.shape[-1]]
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{want[0]}, {want[1]}] but got: "
            f"[{b.shape[0]}, {b.shape[-2]}]."
        )
    rows: Extent = 1
    for e in a.shape[:-1]:
        rows = rows * e
    right = _dims(b.shape) if b.ndim > 1 else f"{b.shape[0]}x1"
    raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a.shape[-1]} and {right})")


def _lower_product(a: Node, b: Node) -> Node:
    _same_dtype(a, b)
    return contract(a, b)


def _product(name: str, grad_name: str) -> Op:
    return register(Op(name, _lower_product, grad_name, KEEP))


_mm = _product("mm", "MmBackward0")
_mv = _product("mv", "MvBackward0")
_dot = _product("dot", "DotBackward0")
_bmm = _product("bmm", "BmmBackward0")
_vector_matrix = _product("matmul_vector_matrix", "SqueezeBackward4")
_batched = _product("matmul_batched", "UnsafeViewBackward0")


def _require_ndim(tensor: Tensor, ndim: int, name: str) -> None:
    if tensor.ndim != ndim:
        raise RuntimeError(f"{name} must be a {'matrix' if ndim == 2 else 'vector' if ndim == 1 else '3D tensor'}")


@public(
    "", method=True, samples=[sample(t(2, 3), t(3, 4, seed=1)), plain(t(2, 0), t(0, 3, seed=1)), one(t(1, 1), t(1, 1))]
)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Matrix product [n, k] x [k, m]."""
    require_tensor(mat2, "mm", "mat2", 2)
    _require_ndim(input, 2, "self")
    _require_ndim(mat2, 2, "mat2")
    return call(_mm, input, mat2)


@public("", method=True, samples=[sample(t(2, 3), t(3, seed=1))], axes=Reaching(0))
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Matrix times vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {vec.ndim}, {input.ndim}, {vec.ndim}")
    return call(_mv, input, vec)


@public("", method=True, samples=[sample(t(3), t(3, seed=1)), plain(t(0), t(0)),
                                 plain(edges((1, 2)), edges((3, 4)), dtypes=("int64",))])
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Inner product of two vectors."""
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    return call(_dot, input, tensor)


@public("", method=True, samples=[one(t(3), t(3, seed=1))])
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """Inner product of two vectors: real ones are their own conjugates."""
    return dot(input, other)


@public("", method=True, samples=[sample(t(2, 2, 3), t(2, 3, 4, seed=1))])
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Batched matrix product [b, n, k] x [b, k, m]; the batch does not broadcast."""
    _require_ndim(input, 3, "batch1")
    _require_ndim(mat2, 3, "batch2")
    if not same_extent(input.shape[0], mat2.shape[0]):
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{input.shape[0]}, {input.shape[2]}] "
            f"but got: "
            f"[{mat2.shape[0]}, {mat2.shape[1]}]."
        )
    return call(_bmm, input, mat2)


MATMULS = [
    sample(t(3), t(3, seed=1)),
    sample(t(2, 3), t(3, seed=1)),
    sample(t(3), t(3, 2, seed=1)),
    sample(t(2, 3), t(3, 4, seed=1)),
    one(t(2, 2, 3), t(2, 3, 4, seed=1)),
    one(t(2, 2, 3), t(3, 4, seed=1)),
    one(t(2, 3), t(2, 3, 4, seed=1)),
    one(t(2, 2, 3), t(3, seed=1)),
    one(t(3), t(2, 3, 4, seed=1)),
    one(t(3, 1, 2, 3), t(2, 3, 2, seed=1)),
    plain(t(0, 3), t(3, 2)),
    plain(edges(((1, 2), (3, 4))), edges(((1, 0), (2, 1))), dtypes=("int32", "int64")),
]


@public("", method=True, samples=MATMULS)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product of torch.matmul: vectors, matrices, or broadcast batches of them."""
    require_tensor(other, "matmul", "other", 2)
    ranks = (input.ndim, other.ndim)
    op = _BY_RANKS.get(ranks)
    if op is None:
        if 0 in ranks:
            raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {ranks[0]}D and {ranks[1]}D")
        op = _batched
    return call(op, input, other)


_BY_RANKS = {(1, 1): _dot, (2, 1): _mv, (1, 2): _vector_matrix, (2, 2): _mm}


operator("__matmul__", lambda a, b: matmul(a, b))
operator("__rmatmul__", lambda a, b: matmul(b, a))


# --- with addition ---------------------------------------------------------------------------------------------------


def _require_expandable(input: Node, shape: tuple[Extent, ...]) -> None:
    """RuntimeError in the words of expand() where `input` does not broadcast to `shape`."""
    lead = len(shape) - input.ndim
    require_sizes(input.dtype, input.shape, shape)
    for d in range(len(shape) - 1, lead - 1, -1):
        own = input.shape[d - lead]
        if not same_extent(own, 1) and not same_extent(own, shape[d]):
            raise RuntimeError(
                f"The expanded size of the tensor ({shape[d]}) must match the existing size ({own}) at non-singleton "
                f"dimension {d}.  Target sizes: {shape_text(shape)}.  Tensor sizes: {shape_text(input.shape)}"
            )


def _affine(product: Node, input: Node, beta: Node | None, alpha: Node | None, blas: bool = False) -> Node:
    """beta * input + alpha * product; `None` is 1.  With beta = 0 the input does not count, nan and inf in it neither;
    where `blas` does it, nor does the product with alpha = 0."""
    shape = product.shape
    operands = [input, product, *(x for x in (beta, alpha) if x is not None)]
    left = A0 if beta is None else fn.select(fn.eq(A2, 0), 0, A0 * A2)
    factor = A2 if beta is None else A3
    right = A1 if alpha is None else fn.select(fn.eq(factor, 0), 0, A1 * factor) if blas else A1 * factor
    _require_expandable(input, shape)
    return over(left + right, shape, operands, product.dtype)


def _lower_addmm(input: Node, a: Node, b: Node) -> Node:
    _same_dtype(a, b, "mat1 and mat2")
    return _affine(contract(a, b), input, None, None)


def _lower_addmm_scaled(input: Node, a: Node, b: Node, beta: Node, alpha: Node) -> Node:
    return _affine(contract(a, b), input, beta, alpha, blas=True)


def _adding(name: str, grad_name: str) -> tuple[Op, Op]:
    return (
        register(Op(name, _lower_addmm, grad_name, KEEP)),
        register(Op(f"{name}_scaled", _lower_addmm_scaled, grad_name, PROMOTE)),
    )


_addmm, _addmm_scaled = _adding("addmm", "AddmmBackward0")
_addmv, _addmv_scaled = _adding("addmv", "AddmvBackward0")
_baddbmm, _baddbmm_scaled = _adding("baddbmm", "BaddbmmBackward0")


def _call_scaled(ops: tuple[Op, Op], input: Any, a: Any, b: Any, beta: Number, alpha: Number) -> Any:
    if beta == 1 and alpha == 1:
        return call(ops[0], input, a, b)
    _same_dtype(a, b, "mat1 and mat2")
    return call(ops[1], input, a, b, *_own_kind((input, a, b), beta, alpha))


@public("", method=True, inplace=True, samples=[one(t(4), t(2, 3, seed=1), t(3, 4, seed=2)),
                                              one(t(2, 4), t(2, 3, seed=1), t(3, 4, seed=2), beta=0.5, alpha=2.0),
                                              one(edges((NAN,)), t(2, 3, seed=1), t(3, 4, seed=2), beta=0.0)])
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2); input broadcasts."""
    _require_ndim(mat1, 2, "mat1")
    _require_ndim(mat2, 2, "mat2")
    return _call_scaled((_addmm, _addmm_scaled), input, mat1, mat2, beta, alpha)


@public("", method=True, inplace=True, samples=[one(t(2), t(2, 3, seed=1), t(3, seed=2)),
                                              one(t(2), t(2, 3, seed=1), t(3, seed=2), beta=0.5, alpha=2.0)])
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    if mat.ndim != 2 or vec.ndim != 1 or input.ndim > 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.ndim}, {mat.ndim}, {vec.ndim}")
    return _call_scaled((_addmv, _addmv_scaled), input, mat, vec, beta, alpha)


@public(
    "",
    method=True,
    inplace=True,
    samples=[
        one(t(2, 4), t(2, 2, 3, seed=1), t(2, 3, 4, seed=2)),
        one(t(2, 2, 4), t(2, 2, 3, seed=1), t(2, 3, 4, seed=2), beta=0.5, alpha=2.0),
    ],
    axes={f"batch{k}": (Reaching(k), Axes(3, 3, f"batch{k} must be a 3D tensor")) for k in (1, 2)},
)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * bmm(batch1, batch2)."""
    return _call_scaled((_baddbmm, _baddbmm_scaled), input, batch1, batch2, beta, alpha)


# --- linear ----------------------------------------------------------------------------------------------------------


def _lower_linear(input: Node, weight: Node, bias: Node | None = None) -> Node:
    if not (input.ndim and weight.ndim):
        raise RuntimeError(f"both arguments to linear need to be at least 1D, but they are {input.ndim}D and {weight.ndim}D")
    if weight.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {weight.ndim}D")
    _same_dtype(input, weight)
    if not same_extent(input.shape[-1], weight.shape[-1]):
        rows: Extent = 1
        for e in input.shape[:-1]:
            rows = rows * e
        swapped = f"{weight.shape[1]}x{weight.shape[0]}" if weight.ndim > 1 else f"{weight.shape[0]}x1"
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1]} and {swapped})"
        )
    n = input.ndim - 1
    lead = input.shape[:-1]
    columns = weight.shape[:1] if weight.ndim == 2 else ()
    reads = [Read(input, [*(axis(d) for d in range(n)), reduce_axis(0)]),
             Read(weight, [*([axis(n)] if columns else []), reduce_axis(0)])]
    product = Compute((*lead, *columns), A0 * A1, reads, input.dtype, reduce_shape=input.shape[-1:], reducer="sum")
    return product if bias is None else _affine(product, bias, None, None)


_linear = register(Op("linear", _lower_linear, "AddmmBackward0", KEEP))
_linear_plain = register(Op("linear_without_bias", _lower_linear, "MmBackward0", KEEP))
_linear_batched = register(Op("linear_batched", _lower_linear, "ViewBackward0", KEEP))
_linear_batched_plain = register(Op("linear_batched_without_bias", _lower_linear, "UnsafeViewBackward0", KEEP))
_linear_vector_plain = register(Op("linear_vector_without_bias", _lower_linear, "SqueezeBackward4", KEEP))


@public(
    "nn.functional",
    samples=[
        sample(t(2, 3), t(4, 3, seed=1), t(4, seed=2)),
        sample(t(2, 3), t(4, 3, seed=1)),
        one(t(3), t(4, 3, seed=1), t(4, seed=2)),
        one(t(2, 2, 3), t(4, 3, seed=1), t(4, seed=2)),
        one(t(2, 2, 3), t(4, 3, seed=1)),
        one(t(3), t(4, 3, seed=1)),
    ],
)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias: [..., in], [out, in], [out] -> [..., out]."""
    require_tensor(input, "linear")
    require_tensor(weight, "linear", "weight", 2)
    if bias is None:
        op = {1: _linear_vector_plain, 2: _linear_plain}.get(input.ndim, _linear_batched_plain)
        return call(op, input, weight)
    return call(_linear if input.ndim == 2 else _linear_batched, input, weight, bias)


def _lower_bilinear(x1: Node, x2: Node, weight: Node, bias: Node | None = None) -> Node:
    n = x1.ndim - 1
    lead = [axis(d) for d in range(n)]
    r0, r1 = reduce_axis(0), reduce_axis(1)
    reads = [Read(x1, [*lead, r0]), Read(x2, [*lead, r1]), Read(weight, [axis(n), r0, r1])]
    product = Compute((*x1.shape[:-1], weight.shape[0]), A0 * A1 * A2, reads, x1.dtype, reduce_shape=weight.shape[1:],
                      reducer="sum")
    return product if bias is None else _affine(product, bias, None, None)


_bilinear = register(Op("bilinear", _lower_bilinear, "ViewBackward0", KEEP))
_bilinear_bias = register(Op("bilinear_with_bias", _lower_bilinear, "AddBackward0", KEEP))


@public("nn.functional", "", samples=[one(t(2, 3), t(2, 4, seed=1), t(5, 3, 4, seed=2), t(5, seed=3))],
        axes={"weight": Axes(3, 3, "number of dimensions must match")})
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """sum_ij input1_i weight_kij input2_j + bias_k."""
    if input1.ndim != input2.ndim:
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {input1.ndim} and {input2.ndim}")
    for k, (a, b) in enumerate(zip(input1.shape[:-1], input2.shape[:-1])):
        require_equal(a, b, RuntimeError, "bilinear(): input batch dimensions do not match at dim {k}: got {a} and {b}", k=k,
                      a=a, b=b)
    wanted = [("input1", input1.shape[-1], weight.shape[1]), ("input2", input2.shape[-1], weight.shape[2])]
    wanted += [("bias", bias.shape[0], weight.shape[0])] if bias is not None else []
    for name, a, b in wanted:
        require_equal(a, b, RuntimeError, "bilinear(): {name} size does not match weight size: got {a} but expected {b}",
                      name=name, a=a, b=b)
    if bias is None:
        return call(_bilinear, input1, input2, weight)
    return call(_bilinear_bias, input1, input2, weight, bias)


# --- outer products, tensordot ---------------------------------------------------------------------------------------


@public("", method=True, aliases=["ger"], samples=[one(t(2), t(3, seed=1))])
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """input_i * vec2_j."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer: Expected 1-D argument self, but got {input.ndim}-D")
    return input.reshape(-1, 1) * vec2


_VECTOR = Axes(1, 1, "addr: Expected 1-D argument {name}, but got {n}-D")


def _lower_addr(input: Node, x: Node, y: Node, beta: Node, alpha: Node) -> Node:
    product = Compute((x.shape[0], y.shape[0]), A0 * A1, [Read(x, (axis(0),)), Read(y, (axis(1),))], x.dtype)
    return _affine(product, input, beta, alpha)


_addr = register(Op("addr", _lower_addr, "AddrBackward0", PROMOTE))


@public("", method=True, inplace=True, samples=[one(t(2, 3), t(2, seed=1), t(3, seed=2)),
                                              one(edges((NAN,)), t(2, seed=1), t(3, seed=2), beta=0.0, alpha=0.5)])
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2)."""
    for name, x in (("vec1", vec1), ("vec2", vec2)):
        _VECTOR.check(name, x.shape)
    if all(x.dtype is dtypes.bool_ for x in (input, vec1, vec2)):
        return (input & bool(beta)) | (outer(vec1, vec2) & bool(alpha))
    return call(_addr, input, vec1, vec2, *_own_kind((input, vec1, vec2), beta, alpha))


def _own_kind(tensors: Sequence[Any], *numbers: Number) -> tuple[Number, ...]:
    """Factors of integer tensors lose their fractions, as in PyTorch."""
    if any(x.dtype.is_floating_point for x in tensors):
        return numbers
    return tuple(int(x) for x in numbers)


@public("", method=True, samples=[one(t(3), t(3, seed=1)), one(t(2, 3), t(4, 3, seed=1)), one(t(2, 2, 3), t(3, seed=1)),
                                one(t(), t(3))])
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sum of products over the last axes."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if not same_extent(input.shape[-1], other.shape[-1]):
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{shape_text(input.shape)} and {shape_text(other.shape)}"
        )
    if input.ndim == 1 and other.ndim == 1:
        return call(_tensordot, input, other, left=(0,), right=(0,))
    return tensordot(input, other, dims=([-1], [-1]))


def _lower_tensordot(a: Node, b: Node, *, left: tuple[int, ...], right: tuple[int, ...]) -> Node:
    free_a = [d for d in range(a.ndim) if d not in left]
    free_b = [d for d in range(b.ndim) if d not in right]
    at_a: dict[int, sympy.Expr] = {d: reduce_axis(k) for k, d in enumerate(left)}
    at_b: dict[int, sympy.Expr] = {d: reduce_axis(k) for k, d in enumerate(right)}
    at_a |= {d: axis(k) for k, d in enumerate(free_a)}
    at_b |= {d: axis(len(free_a) + k) for k, d in enumerate(free_b)}
    lengths: list[Extent] = []
    for i, j in zip(left, right):
        lengths.append(b.shape[j] if same_extent(a.shape[i], 1) else a.shape[i])
        if same_extent(a.shape[i], b.shape[j]):
            continue
        if same_extent(a.shape[i], 1):  # one element stands for all of the other's, as PyTorch has it
            at_a[i] = sympy.Integer(0)
        elif same_extent(b.shape[j], 1):
            at_b[j] = sympy.Integer(0)
        else:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and second has size "
                f"{b.shape[j]} in dim {j}"
            )
    reads = [Read(a, [at_a[d] for d in range(a.ndim)]), Read(b, [at_b[d] for d in range(b.ndim)])]
    shape = (*(a.shape[d] for d in free_a), *(b.shape[d] for d in free_b))
    if not left:
        return Compute(shape, A0 * A1, reads, a.dtype)
    return Compute(shape, A0 * A1, reads, a.dtype, reduce_shape=lengths, reducer="sum")


_tensordot = register(Op("tensordot", _lower_tensordot, "ViewBackward0", KEEP))


@public(
    "",
    samples=[
        one(t(2, 3, 4), t(3, 4, 2, seed=1)),
        one(t(2, 3), t(3, 4, seed=1), dims=1),
        one(t(2), t(3), dims=0),
        one(t(2, 3, 4), t(4, 5, 3, seed=1), dims=((1, 2), (2, 0))),
    ],
)
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2, out: None = None) -> Tensor:
    """Contracts the last `dims` axes of a with the first of b, or the axes listed for each."""
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = (list(d) if isinstance(d, (list, tuple)) else [d] for d in dims)
    if len(left) != len(right):
        raise RuntimeError("both dimension lists should have same length")
    wrapped = tuple(wrap_dim(d, a.ndim) for d in left), tuple(wrap_dim(d, b.ndim) for d in right)
    return call(_tensordot, a, b, left=wrapped[0], right=wrapped[1])



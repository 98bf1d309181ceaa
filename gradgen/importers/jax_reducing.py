"""JAX's primitives that reduce: sums, extremes, windows, products of matrices, convolutions, sorting, factorisations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradgen.eager.creation import arange, full
from gradgen.importers.jax_moving import padded
from gradgen.importers.jax_table import At, Tensor, entry, lib, refuse

_REDUCTIONS = {"reduce_sum": "sum", "reduce_max": "amax", "reduce_min": "amin", "reduce_and": "all", "reduce_or": "any"}


def _reduction(name: str) -> Callable[..., Any]:
    def call(at: At, x: Tensor) -> Tensor:
        return lib(name)(x, tuple(at.axes)).to(at.kind()) if at.axes else x

    return call


for _op, _name in _REDUCTIONS.items():
    entry(_op)(_reduction(_name))


@entry("reduce_prod")
def _reduce_prod(at: At, x: Tensor) -> Tensor:
    for d in sorted(at.axes, reverse=True):
        x = lib.prod(x, d)
    return x


@entry("argmax", "argmin")
def _arg(at: At, x: Tensor) -> Tensor:
    (d,) = at.axes
    return lib(at.eqn.primitive.name)(x, d).to(at.kind())


def _cumulative(name: str) -> Callable[..., Any]:
    def call(at: At, x: Tensor) -> Tensor:
        x = lib.flip(x, (at.axis,)) if at.reverse else x
        found = lib(name)(x, at.axis)
        found = found[0] if isinstance(found, tuple) else found
        return lib.flip(found, (at.axis,)) if at.reverse else found

    return call


for _op, _name in {"cumsum": "cumsum", "cumprod": "cumprod", "cummax": "cummax", "cummin": "cummin",
                   "cumlogsumexp": "logcumsumexp"}.items():
    entry(_op)(_cumulative(_name))


# --- sorting ------------------------------------------------------------------------------------------------------------


@entry("sort")
def _sort(at: At, *operands: Tensor) -> Any:
    """By the first `num_keys` operands, the last key first, each time in a stable order."""
    order = None
    for key in reversed(operands[:at.num_keys]):
        key = key if order is None else lib.take_along_dim(key, order, at.dimension)
        found = lib.argsort(key, dim=at.dimension, stable=True)
        order = found if order is None else lib.take_along_dim(order, found, at.dimension)
    return tuple(lib.take_along_dim(x, order, at.dimension) for x in operands)


@entry("top_k")
def _top_k(at: At, x: Tensor) -> tuple[Tensor, Tensor]:
    d = at.eqn.params.get("axis", len(x.shape) - 1)
    order = lib.narrow(lib.argsort(x, dim=d, descending=True, stable=True), d, 0, at.k)
    return lib.take_along_dim(x, order, d), order.to(at.kind(1))


# --- products -----------------------------------------------------------------------------------------------------------


@entry("dot_general")
def _dot_general(at: At, a: Tensor, b: Tensor) -> Tensor:
    (left, right), (left_batch, right_batch) = at.dimension_numbers
    a, b = a.to(at.kind()), b.to(at.kind())
    free_a = [d for d in range(len(a.shape)) if d not in (*left, *left_batch)]
    free_b = [d for d in range(len(b.shape)) if d not in (*right, *right_batch)]
    x = a.permute([*left_batch, *free_a, *left])
    y = b.permute([*right_batch, *right, *free_b])
    batch, k = list(x.shape[:len(left_batch)]), list(left)
    rows, columns = [a.shape[d] for d in free_a], [b.shape[d] for d in free_b]
    if len(k) == len(rows) == len(columns) == 1:
        return lib.matmul(x, y)
    names = [chr(97 + n) for n in range(len(batch) + len(rows) + len(k) + len(columns))]
    if len(names) > 26:
        raise refuse("dot_general over more than 26 axes")
    of_batch, of_rows = names[:len(batch)], names[len(batch):len(batch) + len(rows)]
    of_k = names[len(batch) + len(rows):len(batch) + len(rows) + len(k)]
    of_columns = names[len(batch) + len(rows) + len(k):]
    left_text, right_text = "".join([*of_batch, *of_rows, *of_k]), "".join([*of_batch, *of_k, *of_columns])
    return lib.einsum(f"{left_text},{right_text}->{''.join([*of_batch, *of_rows, *of_columns])}", x, y)


@entry("conv_general_dilated")
def _conv(at: At, x: Tensor, kernel: Tensor) -> Tensor:
    d, spatial = at.dimension_numbers, len(x.shape) - 2
    if at.batch_group_count != 1:
        raise refuse("conv_general_dilated with batch_group_count")
    if not 1 <= spatial <= 3:
        raise refuse(f"conv_general_dilated over {spatial} axes")
    x, kernel = x.permute(d.lhs_spec), kernel.permute(d.rhs_spec)
    zero = full((), 0, dtype=x.dtype)
    pads = [tuple(map(at.size, p)) for p in at.padding]
    plain = all(low == high and isinstance(low, int) and low >= 0 for low, high in pads)
    for k in range(spatial):
        low, high = (0, 0) if plain else pads[k]
        x = padded(x, k + 2, low, high, at.size(at.lhs_dilation[k]) - 1, zero)
    padding = tuple(low for low, _ in pads) if plain else 0
    found = lib(f"nn.functional.conv{spatial}d")(
        x, kernel, None, tuple(at.window_strides), padding, tuple(at.rhs_dilation), at.feature_group_count)
    return found.permute([list(d.out_spec).index(k) for k in range(spatial + 2)])


# --- windows ------------------------------------------------------------------------------------------------------------


def _windows(at: At, x: Tensor, fill: float) -> Tensor:
    """The elements of every window along one further axis, row-major."""
    rank = len(x.shape)
    value = full((), fill, dtype=x.dtype) if x.dtype.is_floating_point else None
    for d in range(rank):
        low, high = map(at.size, at.padding[d])
        inner = at.base_dilation[d] - 1
        if low or high or inner:
            if value is None:
                raise refuse(f"{at.eqn.primitive.name} of padded integers")
            x = padded(x, d, low, high, inner, value)
    taken = []
    for d in range(rank):
        size, step, dilation = at.window_dimensions[d], at.window_strides[d], at.window_dilation[d]
        if size == 1:
            x = x[(slice(None),) * d + (slice(None, None, step),)] if step > 1 else x
            continue
        x = x.unfold(d, (size - 1) * dilation + 1, step)
        x = x[..., ::dilation] if dilation > 1 else x
        taken.append(size)
    return x.flatten(rank, -1) if len(taken) > 1 else x if taken else x.unsqueeze(rank)


@entry("reduce_window_sum")
def _window_sum(at: At, x: Tensor) -> Tensor:
    return lib.sum(_windows(at, x, 0.0), -1)


@entry("reduce_window_max")
def _window_max(at: At, x: Tensor) -> Tensor:
    """The first of several maxima has the derivative."""
    return lib.max(_windows(at, x, -math.inf), -1)[0]


@entry("reduce_window_min")
def _window_min(at: At, x: Tensor) -> Tensor:
    return lib.min(_windows(at, x, math.inf), -1)[0]


# --- matrices -----------------------------------------------------------------------------------------------------------


@entry("cholesky")
def _cholesky(at: At, x: Tensor) -> Tensor:
    if at.eqn.params.get("symmetrize_input"):
        x = (x + x.transpose(-1, -2)) / 2
    return lib("linalg.cholesky")(x)


@entry("triangular_solve")
def _triangular_solve(at: At, a: Tensor, b: Tensor) -> Tensor:
    upper = not at.lower
    if at.transpose_a:
        a, upper = a.transpose(-1, -2), not upper
    return lib("linalg.solve_triangular")(a, b, upper=upper, left=at.left_side, unitriangular=at.unit_diagonal)


@entry("lu")
def _lu(at: At, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The factors in one matrix, the exchanges of rows one after the other, and the order of the rows that they make."""
    n, rows = x.shape[-1], x.shape[-2]
    if not isinstance(n, int) or n != rows:
        raise refuse("lu of other than square matrices of known size")
    p, low, up = lib("linalg.lu")(x)
    order = lib.argmax(p, -2)
    return lib.tril(low, -1) + up, _exchanges(order, n), order


def _exchanges(order: Tensor, n: int) -> Tensor:
    """With which row row k changes places, so that the rows come in this order."""
    row = arange(n)
    held, found = row.expand(order.shape), []
    for k in range(n):
        wanted, here = lib.narrow(order, -1, k, 1), lib.narrow(held, -1, k, 1)
        place = lib.argmax((held == wanted).to(order.dtype), -1).unsqueeze(-1)
        held = lib.where(row == k, wanted, lib.where(row == place, here, held))
        found.append(place)
    return lib.cat(found, -1)


@entry("eigh")
def _eigh(at: At, x: Tensor) -> tuple[Tensor, Tensor]:
    if at.eqn.params.get("subset_by_index") is not None:
        raise refuse("eigh of some eigenvalues")
    x = x if at.lower else x.transpose(-1, -2)
    values, vectors = lib("linalg.eigh")(x)
    return vectors, values


@entry("svd")
def _svd(at: At, x: Tensor) -> tuple[Tensor, ...]:
    if at.eqn.params.get("subset_by_index") is not None:
        raise refuse("svd of some singular values")
    if not at.compute_uv:
        return (lib("linalg.svdvals")(x),)
    u, values, vh = lib("linalg.svd")(x, full_matrices=at.full_matrices)
    return values, u, vh


@entry("qr")
def _qr(at: At, x: Tensor) -> tuple[Tensor, Tensor]:
    if at.eqn.params.get("pivoting") or at.eqn.params.get("full_matrices"):
        raise refuse("qr with pivots or full matrices")
    q, r = lib("linalg.qr")(x)
    return q, r

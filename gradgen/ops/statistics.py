"""Statistics and numerical tables: quantiles, histograms, counts, covariances, modes, integrals, differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from gradgen.ir import dtypes
from gradgen.ir.nodes import Compute
from gradgen.ops.comparison import where
from gradgen.ops.gathering import as_tensor_like, gather, scatter_add
from gradgen.ops.host import indices_of, made, required_value
from gradgen.ops.joining import cat, narrow, part
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.requirements import require
from gradgen.ops.samples import NAN, edges, one, plain, sample, t
from gradgen.ops.shape import require_not_one, to_dtype
from gradgen.ops.shapes import known, return_text, wrap_dim
from gradgen.ops.sorting import selected, sort, sort_result
from gradgen.ops.table import call, is_tensor, public, require_tensor

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

_zeros = register(
    Op("zeros_for", lambda node, *, shape, dtype: Compute(shape, sympy.Integer(0), [], dtype), "NotDifferentiable", KEEP)
)

# --- quantiles --------------------------------------------------------------------------------------------------------

HOLES = edges(((NAN, 1.0, 3.0, 2.0), (4.0, -1.0, 2.5, 1.0)))
HOW = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(name: str, input: Any, q: Any, dim: int | None, keepdim: bool, how: str) -> Tensor:
    require_tensor(input, name)
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if how not in HOW:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {how}"
        )
    if not is_tensor(q) and not 0 <= q <= 1:
        raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
    weights: Any = q if is_tensor(q) else as_tensor_like(q, input)
    if weights.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if weights.dtype is not input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    at = 0 if dim is None else wrap_dim(dim, input.ndim)
    flat = input.reshape(-1) if dim is None or not input.ndim else input.movedim(at, -1)
    require(flat.shape[-1] - 1, RuntimeError, "{name}() input tensor must be non-empty", name="quantile")
    found = _at_ranks(flat, weights.reshape(-1), how, name == "nanquantile").movedim(-1, 0)
    if keepdim and input.ndim:
        found = found.reshape(-1, *([1] * input.ndim)) if dim is None else found.unsqueeze(at + 1)
    return found if weights.ndim else found.squeeze(0)  # type: ignore[no-any-return]


def _at_ranks(x: Any, q: Any, how: str, ignore_nan: bool) -> Any:
    """[..., n] at fractions q [Q] of the order of its last axis: [..., Q]; a nan makes its row nan unless ignored."""
    ordered = sort(x, -1)[0]
    holes = ordered.isnan()
    last = x.shape[-1] - 1
    if ignore_nan:
        top = ((~holes).sum(-1, keepdim=True) - 1).clamp(min=0)
        ranks = q * top
    else:
        ranks = where(holes.any(-1, keepdim=True), float(last), q * last)
    if how == "nearest":
        ranks = ranks.round()
    elif how == "lower":
        ranks = ranks.floor()
    elif how == "higher":
        ranks = ranks.ceil()
    below = to_dtype(ranks.floor(), dtypes.int64)
    lower = gather(ordered, -1, below)
    if how not in ("linear", "midpoint"):
        return lower
    upper = gather(ordered, -1, to_dtype(ranks.ceil(), dtypes.int64))
    part = ranks - ranks.floor() if how == "linear" else 0.5
    return lower.lerp(upper, part)


QUANTILES = [
    sample(t(2, 5), 0.3), one(t(2, 5), 0.3, 1), one(t(4, 3), 0.75, 0, True), one(HOLES, 0.3, 1),
    *(one(t(2, 5), 0.33, 1, interpolation=how) for how in HOW[1:]),
    one(t(2, 5), edges((0.0, 0.4, 1.0), grad=False), 1), one(t(2, 5), edges((0.2, 0.5), grad=False), keepdim=True),
    one(t(2, 3, 4), edges((0.2, 0.5), grad=False), 1, True), one(t(5), 0.5), one(t(2, 1), 0.5, 1),
]


@public("", method=True, samples=QUANTILES)
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear",
    out: None = None,
) -> Tensor:
    """The value below which a part q of the elements lies, of all or along `dim`; for a vector q along a first axis."""
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@public("", method=True, samples=QUANTILES)
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear",
    out: None = None,
) -> Tensor:
    """As quantile, of the elements that are not nan."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


# --- counts -----------------------------------------------------------------------------------------------------------


@public("", method=True, samples=[
    plain(t(20), 5, -2, 2, dtypes=("float32", "float64")), plain(t(3, 4), 4, -1, 1),
    plain(edges((0.0, 0.5, 1.0, 1.0, 0.25), grad=False), 4, 0, 1),
])
def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0, *, out: None = None) -> Tensor:
    """How many elements lie in each of `bins` equal parts of [min, max]; of the elements' own range for equal bounds."""
    require_tensor(input, "histc")
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f'"histogram_cpu" not implemented for \'{_NAMES[input.dtype.name]}\'')
    if bins <= 0:
        raise RuntimeError("torch.histc(): bins must be > 0")
    x = input.detach().reshape(-1)
    low, high = float(min), float(max)
    if low == high and isinstance(x.shape[0], int) and x.shape[0]:
        values = required_value(x, "histc", "min= and max=")
        low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.histc: range of [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    inside = (x >= low) & (x <= high)
    places = to_dtype(((x - low) * bins / (high - low)).floor().clamp(0, bins - 1).masked_fill(~inside, 0.0), dtypes.int64)
    return scatter_add(call(_zeros, x, shape=(int(bins),), dtype=x.dtype), 0, places, to_dtype(inside, x.dtype))


_NAMES = {"float32": "Float", "float64": "Double", "int64": "Long", "int32": "Int", "bool": "Bool"}


@public("", method=True)
def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often each number occurs (or the sum of its weights), from 0 to the largest."""
    require_tensor(input, "bincount")
    if input.dtype.is_floating_point or input.dtype is dtypes.bool_:
        raise NotImplementedError(f'"bincount_cpu" not implemented for \'{_NAMES[input.dtype.name]}\'')
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    values = required_value(input, "bincount", "scatter_add into zeros of a known size")
    if values.ndim != 1 or (values.size and values.min() < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and tuple(weights.shape) != tuple(input.shape):
        raise RuntimeError("weights should be 1-d and have the same length as input")
    size = max(int(values.max()) + 1 if values.size else 0, minlength)
    if weights is None:
        return indices_of(np.bincount(values, minlength=size))
    amounts = weights.detach() if weights.dtype.is_floating_point else to_dtype(weights, dtypes.float64)
    return scatter_add(call(_zeros, amounts, shape=(size,), dtype=amounts.dtype), 0, to_dtype(input, dtypes.int64), amounts)


@public("", samples=[
    plain(edges((1, 2, 3, 4), dtype="int64"), edges((2, 4, 9), dtype="int64")), plain(t(3), t(2)),
    plain(edges((1.0, 2.0, NAN)), edges((2.0, NAN)), invert=True), plain(edges((1, 2), dtype="int64"), 2),
    plain(t(2, 2), edges(())),
])
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Which elements are among the test elements."""
    if not is_tensor(elements) and not is_tensor(test_elements):
        raise TypeError(
            "isin() received an invalid combination of arguments: one of elements and test_elements must be a Tensor"
        )
    x = elements if is_tensor(elements) else as_tensor_like(elements, test_elements)
    among = test_elements if is_tensor(test_elements) else as_tensor_like(test_elements, elements)
    found = (x.unsqueeze(-1) == among.reshape(-1)).any(-1)
    return ~found if invert else found  # type: ignore[no-any-return]


@public("", method=True)
def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements (or slices along `dim`) without those that equal the one before."""
    values = required_value(input, "unique_consecutive", "a fixed set of values")
    rows = values.reshape(-1) if dim is None else np.moveaxis(values, wrap_dim(dim, values.ndim), 0)
    flat = rows.reshape(len(rows), -1) if rows.ndim > 1 else rows.reshape(-1, 1)
    new = np.ones(len(rows), bool)
    new[1:] = (flat[1:] != flat[:-1]).any(1)
    kept = rows[new] if dim is None else np.moveaxis(rows[new], 0, wrap_dim(dim, values.ndim))
    found: list[Any] = [made(kept, input.dtype)]
    if return_inverse:
        inverse = np.cumsum(new) - 1
        found.append(indices_of(inverse.reshape(values.shape) if dim is None else inverse))
    if return_counts:
        found.append(indices_of(np.diff(np.flatnonzero(np.append(new, True)))))
    return tuple(found) if len(found) > 1 else found[0]


class mode_result(sort_result):
    __slots__ = ()
    __repr__ = return_text


@public("", method=True, samples=[
    sample(edges(((1.0, 2.0, 2.0, 1.0, 3.0), (3.0, 3.0, 1.0, 1.0, 0.0)))), one(t(3, 4), 0, True), one(t(4)), one(t()),
    plain(edges((3, 1, 3, 2)), dtypes=("int64",)),
])
def mode(input: Any, dim: int = -1, keepdim: bool = False, *, out: None = None) -> mode_result:
    """The most frequent value along `dim` (of equally frequent ones the smallest), and its last place."""
    require_tensor(input, "mode")
    at = wrap_dim(dim, input.ndim)
    if not input.ndim:
        return mode_result(input + 0, to_dtype(input.detach() * 0, dtypes.int64))
    x = input.movedim(at, -1)
    fixed = x.detach()
    ordered, places = sort(fixed, -1)
    counts = (ordered.unsqueeze(-1) == ordered.unsqueeze(-2)).sum(-1).clamp(min=1)  # a nan is like no other
    first = counts.argmax(-1, keepdim=True)
    size = gather(counts, -1, first)
    index = gather(places, -1, first + size - 1)
    values = call(selected, x, index, dim=x.ndim - 1)
    if keepdim:
        return mode_result(values.movedim(-1, at), index.movedim(-1, at))
    return mode_result(values.squeeze(-1), index.squeeze(-1))


# --- covariances ------------------------------------------------------------------------------------------------------


@public("", method=True, samples=[
    sample(t(3, 5)), one(t(3, 5), correction=0), one(t(5)), one(t(2, 4), fweights=edges((1, 2, 1, 3), "int64", False)),
    one(t(2, 4), aweights=edges((0.5, 0.2, 1.0, 0.7), grad=False)), one(t(1, 3)),
])
def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Tensor:
    """The covariance matrix of variables (rows), 0-d for one; weights by repetition and by importance."""
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    x = input if input.ndim == 2 else input.reshape(1, -1)
    w = fweights
    if aweights is not None:
        w = aweights if w is None else w * aweights
    if w is None:
        total: Any = x.shape[1]
        mean = x.mean(1, keepdim=True)
        norm = total - correction
    else:
        w = w.to(x.dtype) if is_tensor(w) else to_dtype(w, x.dtype)
        total = w.sum()
        mean = (x * w).sum(1, keepdim=True) / total
        norm = total - correction if aweights is None or not correction else (
            total - correction * (w * aweights).sum() / total)
        norm = norm.clamp(min=0)
    centred = x - mean
    product = centred @ (centred if w is None else centred * w).transpose(0, 1)
    if w is None and isinstance(norm, int):
        norm = float(max(norm, 0)) if norm > 0 else product.detach() * 0
    elif w is None:
        norm = sympy.Max(0, norm)
    if input.ndim == 2:
        require_not_one(input, 0, "cov")
    found = product / norm
    return found if input.ndim == 2 and input.shape[0] != 1 else found.squeeze()  # type: ignore[no-any-return]


@public("", method=True, samples=[sample(t(3, 5)), one(t(5)), one(t(1, 4))])
def corrcoef(input: Any) -> Tensor:
    """Pearson's correlation coefficients of variables (rows)."""
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    c: Any = cov(input)
    if c.ndim == 0:
        return c / c  # type: ignore[no-any-return]
    deviation = c.diagonal().sqrt()
    return (c / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clamp(-1, 1)  # type: ignore[no-any-return]


@public("", method=True, inplace=True, samples=[
    sample(t(3, 4), 2, 0, 1.0), one(t(2, 3, 2), 1, 1, 0.5), one(t(3, 4), 3.0, -1, 2.0),
])
def renorm(input: Any, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along `dim` whose p-norm exceeds maxnorm scaled down to it."""
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    at = wrap_dim(dim, input.ndim)
    norms = input.norm(p, tuple(d for d in range(input.ndim) if d != at), keepdim=True)
    return input * where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)  # type: ignore[no-any-return]


# --- integrals and differences ----------------------------------------------------------------------------------------


def _trapezia(name: str, y: Any, x: Any, dx: float, dim: int) -> tuple[Any, int]:
    """Twice the areas between neighbours along `dim`."""
    if y.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    at = wrap_dim(dim, y.ndim)
    n = y.shape[at]
    length = known(sympy.Max(0, n - 1))
    if x is None:
        return (part(y, at, 1, length) + part(y, at, 0, length)) * dx, at
    if x.ndim == 1:
        if x.shape[0] != n:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        x = x.reshape([-1 if d == at else 1 for d in range(y.ndim)])
    along = wrap_dim(dim, x.ndim) if x.ndim != y.ndim else at
    rest = known(sympy.Max(0, x.shape[along] - 1))
    steps = part(x, along, 1, rest) - part(x, along, 0, rest)
    return (part(y, at, 1, length) + part(y, at, 0, length)) * steps, at


AREAS = [
    sample(t(2, 5)), one(t(2, 5), dx=0.5, dim=0), one(t(2, 5), t(5, seed=1)), one(t(2, 5), t(2, 5, seed=1)),
    one(t(5), dim=0),
]


@public("", aliases=["trapz"], samples=AREAS)
def trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integral along `dim` by the trapezoidal rule, over places x or steps dx."""
    areas, at = _trapezia("trapezoid", y, x, dx, dim)
    return areas.sum(at) / 2.0  # type: ignore[no-any-return]


@public("", samples=AREAS)
def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Tensor:
    """The integrals from the first place to every other one."""
    areas, at = _trapezia("cumulative_trapezoid", y, x, dx, dim)
    return areas.cumsum(at) / 2.0  # type: ignore[no-any-return]


@public("", samples=[
    sample(t(5)), one(t(4, 5)), one(t(4, 5), dim=1), one(t(5), spacing=0.5), one(t(4, 5), spacing=(0.5, 2.0)),
    one(t(4), spacing=(edges((0.0, 0.5, 1.5, 1.7), grad=False),)), one(t(5), edge_order=2),
    one(t(4), spacing=(edges((0.0, 0.5, 1.5, 1.7), grad=False),), edge_order=2),
])
def gradient(input: Any, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Derivatives along the axes by differences: central inside (of second order also for uneven places), one-sided at
    the ends."""
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    dims = tuple(range(input.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    several = isinstance(spacing, (tuple, list))
    if several and len(spacing) != len(dims):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'self.dim() = "
            f"{input.ndim}', since dim argument is not given, but got a list of length {len(spacing)}"
        )
    found = []
    for k, d in enumerate(dims):
        at = wrap_dim(d, input.ndim)
        step = spacing[k] if several else 1.0 if spacing is None else spacing
        if input.shape[at] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
        found.append(_difference(input, at, step, edge_order))
    return tuple(found)


def _difference(y: Any, at: int, step: Any, order: int) -> Any:
    n = y.shape[at]

    def part(start: int, count: int) -> Any:
        return narrow(y, at, start, count)

    if not is_tensor(step):
        h = float(step)
        inner = (part(2, n - 2) - part(0, n - 2)) / (2 * h)
        if order == 1:
            first, last = (part(1, 1) - part(0, 1)) / h, (part(n - 1, 1) - part(n - 2, 1)) / h
        else:
            first = (-1.5 * part(0, 1) + 2 * part(1, 1) - 0.5 * part(2, 1)) / h
            last = (1.5 * part(n - 1, 1) - 2 * part(n - 2, 1) + 0.5 * part(n - 3, 1)) / h
        return cat([first, inner, last], at)
    shape = [-1 if d == at else 1 for d in range(y.ndim)]
    gaps: Any = (step[1:] - step[:-1]) if is_tensor(step) else narrow(step, 0, 1, n - 1) - narrow(step, 0, 0, n - 1)
    gaps = gaps.reshape(shape)

    def gap(start: int, count: int) -> Any:
        return narrow(gaps, at, start, count)

    a, b = gap(0, n - 2), gap(1, n - 2)
    inner = -b / (a * (a + b)) * part(0, n - 2) + (b - a) / (a * b) * part(1, n - 2) + a / (b * (a + b)) * part(2, n - 2)
    if order == 1:
        first, last = (part(1, 1) - part(0, 1)) / gap(0, 1), (part(n - 1, 1) - part(n - 2, 1)) / gap(n - 2, 1)
    else:
        a, b = gap(0, 1), gap(1, 1)
        first = -(2 * a + b) / (a * (a + b)) * part(0, 1) + (a + b) / (a * b) * part(1, 1) - a / (b * (a + b)) * part(2, 1)
        a, b = gap(n - 3, 1), gap(n - 2, 1)
        last = b / (a * (a + b)) * part(n - 3, 1) - (a + b) / (a * b) * part(n - 2, 1)
        last = last + (a + 2 * b) / (b * (a + b)) * part(n - 1, 1)
    return cat([first, inner, last], at)


# --- numbers of triangles ---------------------------------------------------------------------------------------------


def _triangle_indices(name: str, choose: Any) -> None:
    def indices(
        row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None
    ) -> Tensor:
        if row < 0 or col < 0:
            what = "row" if row < 0 else "col"
            raise RuntimeError(f"{what} must be non-negative, got {row if row < 0 else col}")
        kind = dtypes.int64 if dtype is None else dtypes.dtype(dtype)
        return made(np.stack(choose(row, offset, col)), kind, device)

    indices.__name__ = indices.__qualname__ = name
    indices.__doc__ = "Rows and columns of the elements of a triangle of [row, col]: [2, count]."
    public("", name=name)(indices)


_triangle_indices("tril_indices", np.tril_indices)
_triangle_indices("triu_indices", np.triu_indices)


@public("")
def unravel_index(indices: Any, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """Places of the flattened tensor as one index an axis."""
    rest, found = indices, []
    for n in reversed([shape] if isinstance(shape, int) else list(shape)):
        found.append(rest % n)
        rest = rest // n
    return tuple(reversed(found))

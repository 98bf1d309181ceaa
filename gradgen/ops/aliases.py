"""Further names of PyTorch for what there is: functions of other namespaces, operations of complex numbers on real ones,
small compositions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradgen.ir import dtypes
from gradgen.ops import classification, distance, gathering, joining, loss, moving, normalisation, pooling
from gradgen.ops.axis_counts import Axes, Reaching
from gradgen.ops.comparison import where
from gradgen.ops.host import made
from gradgen.ops.matmul import addmm
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.samples import edges, one, plain, sample, t
from gradgen.ops.shape import to_dtype
from gradgen.ops.shapes import spread, sum_to
from gradgen.ops.table import FUNCTIONS, METHODS, PROPERTIES, call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

# functions of torch.nn.functional that torch also lists at its top level
for _module, _names in (
    (loss, ("kl_div", "poisson_nll_loss", "hinge_embedding_loss", "margin_ranking_loss", "binary_cross_entropy_with_logits")),
    (distance, ("cosine_embedding_loss", "pairwise_distance")), (classification, ()),
    (normalisation, ("instance_norm",)), (gathering, ("embedding",)), (pooling, ()),
):
    for _name in _names:
        _found = getattr(_module, _name, None) or FUNCTIONS["nn.functional"].get(_name)
        if _found is not None:
            FUNCTIONS[""].setdefault(_name, _found)
for _name in ("adaptive_avg_pool1d", "adaptive_max_pool1d"):
    FUNCTIONS[""].setdefault(_name, FUNCTIONS["nn.functional"][_name])
for _name in ("chunk", "split", "split_with_sizes"):
    _split: Any = getattr(joining, _name)
    FUNCTIONS[""][f"unsafe_{_name}"] = METHODS[f"unsafe_{_name}"] = _split


@public("", samples=[plain(t(2, 3), (1, 2), 1.5)])
def constant_pad_nd(input: Tensor, pad: Any, value: float = 0) -> Tensor:
    """nn.functional.pad with a constant."""
    return moving.pad(input, pad, "constant", value)


# --- complex numbers' operations on real ones -------------------------------------------------------------------------


def _itself(name: str) -> None:
    def function(input: Tensor) -> Tensor:
        return input

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "The tensor itself: it is real."
    public("", method=name not in ("real",), name=name)(function)


for _name in ("conj", "conj_physical", "resolve_conj", "resolve_neg", "real"):
    _itself(_name)
PROPERTIES["real"] = lambda self: self


@public("", method=True, samples=[plain(t(2, 3))])
def isreal(input: Any) -> Tensor:
    """True everywhere."""
    return (input == input) | (input != input)  # type: ignore[no-any-return]


@public("", method=True, samples=[plain(edges((-1.0, -0.0, 0.0, 2.0, float("nan")), grad=False))])
def angle(input: Any) -> Tensor:
    """0, or pi for negative numbers, nan for nan."""
    found = where(input < 0, math.pi, input * 0)
    return where(input.isnan(), float("nan"), where(input < 0, found, 0.0))


# --- small compositions -----------------------------------------------------------------------------------------------


@public("", method=True, inplace=True, samples=[sample(t(3), t(3, seed=1)), plain(t(3), edges((1, -2, 3), "int64"))])
def ldexp(input: Any, other: Any) -> Tensor:
    """input * 2 ** other."""
    return input * (to_dtype(other, input.dtype if input.dtype.is_floating_point else dtypes.float32).exp2()
                    if not other.dtype.is_floating_point else other.exp2())  # type: ignore[no-any-return]


@public("", method=True, inplace=True, samples=[
    sample(t(2, 4), t(3, 2, 5, seed=1), t(3, 5, 4, seed=2)),
    one(t(2, 4), t(3, 2, 5, seed=1), t(3, 5, 4, seed=2), beta=0.5, alpha=2.0),
])
def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha times the sum of the matrix products."""
    Reaching(1).check("addbmm", batch1.shape)
    Reaching(2).check("addbmm", batch2.shape)
    if batch1.ndim != 3 or batch2.ndim != 3:
        raise RuntimeError("batch1 and batch2 must be 3D tensors")
    rows, columns = batch1.shape[1], batch2.shape[2]
    return addmm(input, batch1.transpose(0, 1).reshape(rows, -1), batch2.reshape(-1, columns), beta=beta, alpha=alpha)


_MATRIX = Axes(2, 2, "Tensor dimension is {n}, expected 2 instead.")


@public("", samples=[one(t(2, 3), t(3, 4, seed=1), t(4, 2, seed=2))])
def chain_matmul(*matrices: Any) -> Tensor:
    """The matrices' product, in the cheapest order."""
    found = matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (tuple, list)) else matrices
    for x in found:
        _MATRIX.check("chain_matmul", x.shape)
    return found[0] if len(found) == 1 else FUNCTIONS["linalg"]["multi_dot"](list(found))  # type: ignore[no-any-return]


def _lower_sum_to(node: Any, *, shape: tuple[Any, ...]) -> Any:
    return sum_to(node, shape)


_sum_to = register(Op("sum_to", _lower_sum_to, "SumBackward1", KEEP))


def _sum_to_size(self: Any, shape: Sequence[Any]) -> Tensor:
    """The sum over the axes that broadcasting to the tensor's shape would have expanded."""
    own = tuple(self.shape)
    lead = len(own) - len(shape)
    if lead < 0 or any(a != b and a != 1 for a, b in zip(shape, own[lead:])):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(own)}}}.")
    return call(_sum_to, self, shape=tuple(shape))  # type: ignore[no-any-return]


METHODS["sum_to_size"] = spread("sum_to_size", "size", _sum_to_size)


# --- questions and settings that have one answer here -----------------------------------------------------------------


def _method(name: str, function: Any) -> None:
    METHODS[name] = function


for _name in ("share_memory_", "pin_memory", "to_dense"):
    _method(_name, lambda self, *args, **kwargs: self)
for _name in ("is_pinned", "is_shared", "is_conj", "is_neg", "is_distributed"):
    _method(_name, lambda self, *args: False)


def _is_coalesced(self: Any) -> bool:
    raise RuntimeError("is_coalesced expected sparse coordinate tensor layout but got Strided")


_method("is_coalesced", _is_coalesced)
_method("prelu", lambda self, weight: FUNCTIONS["nn.functional"]["prelu"](self, weight))
_method("is_same_size", lambda self, other: tuple(self.shape) == tuple(other.shape))
_method("is_nonzero", lambda self: FUNCTIONS[""]["is_nonzero"](self))
PROPERTIES["is_nested"] = lambda self: False


def _mapped(self: Any, function: Any) -> Any:
    """apply_: a Python function of every element, in place."""
    values = [function(v) for v in self.detach().reshape(-1).tolist()]
    return self.copy_(made(np.asarray(values), self.dtype).reshape(tuple(self.shape)))


_method("apply_", _mapped)

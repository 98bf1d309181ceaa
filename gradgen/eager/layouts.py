"""Where elements lie in memory, as PyTorch's strides tell: of views by their index maps, of results by their operands'.

All storage here is row-major; strides decide what PyTorch lets strides decide: which views there are, which reshapes copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy

from gradgen.ir.functions import apart
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import Compute, Input
from gradgen.ir.nodes import Node as IRNode
from gradgen.ir.symbols import as_extent, axes, axis, placeholder
from gradgen.record.records import Spec

if TYPE_CHECKING:
    from gradgen.eager.apply import Plan
    from gradgen.eager.tensor import Tensor
    from gradgen.eager.views import Chain

Strides = tuple[int, ...]


@lru_cache(maxsize=4096)
def index_map(chain: Chain, base: Spec) -> tuple[sympy.Expr, ...]:
    """Where element (i0, i1, ...) of the view is in the storage: one index expression per axis of the base."""
    source = Input("base", base.shape, base.dtype)
    node: IRNode = source
    for step in chain:
        found = step.op.lower(node, **dict(step.attributes))
        node = found[step.output] if isinstance(found, tuple) else found
    index: tuple[sympy.Expr, ...] = axes(len(node.shape))
    while node is not source:
        if isinstance(node, Compute) and not node.reads and 0 in node.shape:
            return (sympy.Integer(0),) * len(base.shape)  # a reshape without elements: there is nothing to look up
        plain = isinstance(node, Compute) and node.reducer is None and len(node.reads) == 1 and not node.reads[0].guard
        body = node.body.args[0] if plain and isinstance(node.body, apart) else plain and node.body  # type: ignore[attr-defined]
        if body != placeholder(0):
            raise ValueError(f"{chain[-1].op.name} is not an index map")
        mapping = {axis(k): e for k, e in enumerate(index)}
        index = tuple(e.xreplace(mapping) for e in node.reads[0].index)  # type: ignore[attr-defined]
        node = node.sources[0]
    return index


class Layout(NamedTuple):
    """Strides and offset of a view in its row-major storage, counted in elements."""

    strides: Strides
    offset: int


def contiguous_strides(shape: Sequence[int]) -> Strides:
    """Row-major strides; an axis of extent 0 counts as 1, as in PyTorch."""
    strides = [1] * len(shape)
    for k in range(len(shape) - 2, -1, -1):
        strides[k] = strides[k + 1] * (max(shape[k + 1], 1) if isinstance(shape[k + 1], int) else shape[k + 1])
    return tuple(strides)


@lru_cache(maxsize=4096)
def layout(base: Spec, chain: Chain, own: Strides | None = None) -> Layout | None:
    """The strides of a view, step by step, `own` those of its storage; None where a reshape would need a copy."""
    if not chain:
        return Layout(own or contiguous_strides(base.shape), 0)  # type: ignore[arg-type]
    below = layout(base, chain[:-1], own)
    if below is None:
        return None
    before = chain[-2].spec if len(chain) > 1 else base
    step = chain[-1]
    index = index_map((step,), before)
    if any(e.has(modulo, quotient) for e in index) or (0 in before.shape and not any(e.free_symbols for e in index)):
        strides = reshaped_strides(before.shape, below.strides, step.spec.shape)  # type: ignore[arg-type]
        return None if strides is None else Layout(strides, below.offset)
    zero = {v: sympy.Integer(0) for v in axes(len(step.spec.shape))}
    origin = [as_extent(e.xreplace(zero)) for e in index]  # an expression where sizes are named
    offset = below.offset + sum(s * o for s, o in zip(below.strides, origin))
    strides_ = []
    for k in range(len(step.spec.shape)):
        one = zero | {axis(k): sympy.Integer(1)}
        strides_.append(sum(s * (as_extent(e.xreplace(one)) - o) for s, e, o in zip(below.strides, index, origin)))
    shape = step.spec.shape
    for k in range(len(shape) - 1, -1, -1):
        if shape[k] == 1 and strides_[k] == 0:  # an axis put in: PyTorch's convention for its stride
            strides_[k] = shape[k + 1] * strides_[k + 1] if k + 1 < len(shape) else 1  # type: ignore[operator]
    return Layout(tuple(strides_), offset)


def reshaped_strides(shape: Sequence[int], strides: Strides, new: Sequence[int]) -> Strides | None:
    """Strides of a reshape without a copy, or None: runs of axes that are contiguous in memory may be cut anew."""
    if 0 in shape:
        return contiguous_strides(new)
    if not all(type(e) is int for e in (*shape, *strides, *new)):  # named sizes: only what holds for all of them
        return contiguous_strides(new) if strides == contiguous_strides(shape) else None
    result = [0] * len(new)
    k = len(new) - 1
    run, stride = 1, strides[-1] if strides else 1
    for d in range(len(shape) - 1, -1, -1):
        run *= shape[d]
        if d > 0 and (shape[d - 1] == 1 or strides[d - 1] == run * stride):
            continue
        cut = 1
        while k >= 0 and (cut < run or new[k] == 1):
            result[k] = cut * stride
            cut *= new[k]
            k -= 1
        if cut != run:
            return None
        if d > 0:
            run, stride = 1, strides[d - 1]
    if not shape:
        return (1,) * len(new)
    return tuple(result) if k < 0 else None


def strides_of(tensor: Tensor) -> Strides:
    """The strides of a tensor, in elements."""
    found = layout(tensor._cell.spec, tensor._chain or (), tensor._cell.strides)
    return found.strides if found is not None else contiguous_strides(tensor.shape)


def is_contiguous(tensor: Tensor) -> bool:
    """Row-major without gaps; axes of extent 1 do not matter."""
    if (tensor._chain is None and tensor._cell.strides is None) or 0 in tensor.shape:
        return True
    return _row_major(tensor.shape, strides_of(tensor))


def _row_major(shape: Sequence[int], strides: Strides) -> bool:
    return all(s == w or e == 1 for s, w, e in zip(strides, contiguous_strides(shape), shape))


# --- strides of results --------------------


def of_result(plan: Plan | None, operands: Sequence[Any], shape: tuple[Any, ...]) -> Strides | None:
    """The strides that PyTorch gives the result of an operation, None for a copy; or None where it is row-major.

    Operations element by element go through memory in the order of their operands, and so their results lie; others make
    theirs row-major.
    """
    if len(shape) < 2:
        return None
    tensors = [x for x in operands if hasattr(x, "_cell")]
    key = (plan, shape, *[(t._cell.spec, t._chain, t._cell.strides) for t in tensors])
    if key in _found:
        return _found[key]
    if len(_found) > _MANY:
        _found.clear()
    found = _found[key] = _of_result(plan, tensors, shape)
    return found


_found: dict[tuple[Any, ...], Strides | None] = {}
_MANY = 1 << 12


def _of_result(plan: Plan | None, tensors: Sequence[Tensor], shape: tuple[Any, ...]) -> Strides | None:
    if 0 in shape or not _numbers(shape):
        return None
    if not all(_numbers(t._spec.shape) for t in tensors) or (plan is not None and not plan.each_alone):
        return None
    given = [(tuple(t._spec.shape), strides_of(t)) for t in tensors]
    if all(_row_major(s, strides) for s, strides in given):
        return None
    if all(g == (shape, given[0][1]) for g in given) and _dense(*given[0]):
        return given[0][1]
    return _ordered(shape, [_broadcast(s, strides, shape) for s, strides in given])


def lying_as(made: Tensor, source: Tensor) -> Tensor:
    """`made`, of the shape of `source`, with the strides of a copy of it."""
    if source._chain is not None or source._cell.strides is not None:
        made._cell.strides = of_result(None, (source,), tuple(made._spec.shape))
    return made


def _numbers(shape: Sequence[Any]) -> bool:
    return all(type(e) is int for e in shape)


def _dense(shape: tuple[int, ...], strides: Strides) -> bool:
    run = 1
    for stride, extent in sorted((s, e) for s, e in zip(strides, shape) if e != 1):
        if stride != run:
            return False
        run *= extent
    return True


def _broadcast(own: tuple[int, ...], strides: Strides, shape: tuple[int, ...]) -> Strides:
    """0 for axes that an operand lacks or repeats."""
    lead = len(shape) - len(own)
    kept = [0 if e == 1 and shape[lead + k] != 1 else s for k, (e, s) in enumerate(zip(own, strides))]
    return (*(0,) * lead, *kept)


def _ordered(shape: tuple[int, ...], operands: Sequence[Strides]) -> Strides | None:
    """A dense result whose axes follow each other as those of the operands do, the first that tells two apart deciding.

    The order is that of an insertion sort from the last axis on, as PyTorch's TensorIterator has it: where no operand
    tells, axes stay.
    """
    order = list(range(len(shape) - 1, -1, -1))
    for i in range(1, len(order)):
        at = i
        for k in range(i - 1, -1, -1):
            comparison = _after(shape, operands, order[k], order[at])
            if comparison > 0:
                order[k], order[at] = order[at], order[k]
                at = k
            elif comparison < 0:
                break
    strides, run = [0] * len(shape), 1
    for d in order:
        strides[d] = run
        run *= shape[d]
    found = tuple(strides)
    return None if found == contiguous_strides(shape) else found


def _after(shape: tuple[int, ...], operands: Sequence[Strides], a: int, b: int) -> int:
    """1 where axis `a` moves more slowly through memory than `b`, -1 where it does not, 0 where no operand tells."""
    for strides in operands:
        if strides[a] == 0 or strides[b] == 0:
            continue
        if strides[a] != strides[b]:
            return 1 if strides[a] > strides[b] else -1
        if shape[a] > shape[b]:
            return 1
    return 0

"""Dense Jacobians and Hessians, and products with them, as graphs.

A Jacobian row is a vector-Jacobian product with a unit seed; all rows at once are the batched product, the seed a delta.
Sums over deltas collapse in `simplify`, so that what is structurally diagonal costs what its diagonal costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from gradgen.autodiff.forward import tangents_alive
from gradgen.autodiff.recompute import NOMINAL_DIM
from gradgen.autodiff.reverse import gradients, gradients_alive
from gradgen.ir.batch import batched
from gradgen.ir.dtypes import DType
from gradgen.ir.guards import EQ, Condition
from gradgen.ir.indexing import product
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.rewrite import substitute
from gradgen.ir.scalar_table import NoDerivative
from gradgen.ir.symbols import Extent, axes, placeholder


def nominal(shape: Sequence[Extent]) -> int:
    """Elements of a shape."""
    size = product(tuple(shape))
    if isinstance(size, int):
        return size
    return int(size.xreplace({s: sympy.Integer(NOMINAL_DIM) for s in size.free_symbols}))


def unit_seeds(shape: Sequence[Extent], dtype: DType) -> Node:
    """[*shape, *shape]: 1 where both halves of the index agree, else 0."""
    n = len(shape)
    index = axes(2 * n)
    guard = tuple(Condition(EQ, index[n + k] - index[k]) for k in range(n))
    return Compute((*shape, *shape), placeholder(0), [Read(Constant(1, dtype), (), guard, 0)], dtype)


def one_per_element(found: Sequence[Node | None], seed: Input) -> list[Node | None]:
    """Each of `found`, which are linear in `seed`, for all unit seeds at once: [*seed.shape, *its own shape].

    One axis of the seed is batched after the other, so that a sum over a delta meets one axis at a time.
    """
    current, slot = list(found), seed
    for k, extent in reversed(list(enumerate(seed.shape))):
        wider = Input(f"{seed.name}{k}", (extent, *slot.shape), seed.dtype)
        made = batched([f for f in current if f is not None], {slot: wider}, extent)
        current, slot = [None if f is None else made.get(f) for f in current], wider
    present = [f for f in current if f is not None]
    new = dict(zip(present, substitute(present, {slot: unit_seeds(seed.shape, seed.dtype)}), strict=True))
    return [None if f is None else new[f] for f in current]


def pushed(
    outputs: Sequence[Node], directions: Mapping[Node, Node], nan_safe: bool = False,
    lives: Mapping[Node, Node] | None = None,
) -> list[Node | None]:
    """Jacobian-vector products: forward mode, or where a node has none, the adjoint of the adjoint.  `lives` says by the
    same nodes where directions are alive.

    The vector-Jacobian product is linear in its cotangent u, so its own derivative by u, along the directions, is J d.
    """
    try:
        return [moved for moved, _ in tangents_alive(outputs, directions, lives or {})]
    except NoDerivative:
        wrt = list(directions)
        seeds = [Input(f"__cotangent{k}", o.shape, o.dtype) for k, o in enumerate(outputs)]
        found = gradients(outputs, seeds, wrt, nan_safe=nan_safe)
        reached = [(g, directions[w]) for g, w in zip(found, wrt) if g is not None]
        alive = [(lives or {}).get(w) for g, w in zip(found, wrt) if g is not None]
        again = gradients_alive([g for g, _ in reached], [d for _, d in reached], alive, seeds, nan_safe)
        return [g for g, _ in again]


def products(output: Node, wrt: Sequence[Node]) -> str:
    """The mode that takes fewer products for a dense Jacobian: "reverse" one per element of the output, "forward" one
    per element of the arguments; a named dimension counts as NOMINAL_DIM."""
    return "reverse" if nominal(output.shape) <= sum(nominal(w.shape) for w in wrt) else "forward"


def jacobian(output: Node, wrt: Sequence[Node], mode: str = "auto", *, nan_safe: bool = False) -> list[Node]:
    """For each of `wrt` the array [*output.shape, *wrt.shape] of d output / d wrt; a structural zero is zeros.

    `mode` "reverse" takes one product per element of the output, "forward" one per element of the argument, "auto" the
    fewer.
    """
    if mode == "auto":
        mode = products(output, wrt)
    return _forward(output, wrt, nan_safe) if mode == "forward" else _reverse(output, wrt, nan_safe)


def _reverse(output: Node, wrt: Sequence[Node], nan_safe: bool) -> list[Node]:
    seed = Input("__seed", output.shape, output.dtype)
    found = gradients([output], [seed], wrt, nan_safe=nan_safe)
    rows = one_per_element(found, seed)
    return [r if r is not None else _zeros((*output.shape, *w.shape), w.dtype) for r, w in zip(rows, wrt, strict=True)]


def _forward(output: Node, wrt: Sequence[Node], nan_safe: bool) -> list[Node]:
    return [_transposed(_columns(output, w, nan_safe), w.ndim) for w in wrt]


def _columns(output: Node, w: Node, nan_safe: bool) -> Node:
    """[*w.shape, *output.shape]: the products with all unit directions."""
    seed = Input("__seed", w.shape, w.dtype)
    columns = one_per_element(pushed([output], {w: seed}, nan_safe), seed)[0]
    return columns if columns is not None else _zeros((*w.shape, *output.shape), output.dtype)


def hessian(output: Node, wrt: Sequence[Node], *, nan_safe: bool = False) -> list[list[Node]]:
    """Second derivatives of a scalar: entry [a][b] is the array [*a.shape, *b.shape]; forward over reverse.

    Of a block and its transpose, one is computed: the one that takes fewer products.
    """
    first = gradients([output], [Constant(1, output.dtype)], wrt, nan_safe=nan_safe)
    found: dict[tuple[int, int], Node] = {}
    for i, a in enumerate(wrt):
        for j, b in enumerate(wrt):
            if i != j and (nominal(b.shape), j) > (nominal(a.shape), i):
                continue
            gradient = first[i]
            # the products along b, one after the other, are the rows of the block [b][a]: second derivatives commute
            found[j, i] = _columns(gradient if gradient is not None else zeros_like(a), b, nan_safe)
    for j, i in list(found):
        if (i, j) not in found:
            found[i, j] = _transposed(found[j, i], wrt[j].ndim)
    return [[found[i, j] for j in range(len(wrt))] for i in range(len(wrt))]


def _transposed(block: Node, n: int) -> Node:
    """The block with its first n axes last."""
    i = axes(block.ndim)
    m = block.ndim - n
    if not n or not m:
        return block
    read = Read(block, (*i[m:], *i[:m]))
    return Compute((*block.shape[n:], *block.shape[:n]), placeholder(0), [read], block.dtype)


def hvp(
    output: Node, wrt: Sequence[Node], directions: Mapping[Node, Node], *, nan_safe: bool = False
) -> list[Node | None]:
    """The product of a scalar's Hessian with `directions`: forward over reverse, the cost of a few gradients."""
    first = gradients([output], [Constant(1, output.dtype)], wrt, nan_safe=nan_safe)
    moved = pushed([g for g in first if g is not None], directions, nan_safe)
    rest = iter(moved)
    return [next(rest) if g is not None else None for g in first]


def zeros_like(node: Node) -> Node:
    return _zeros(node.shape, node.dtype)


def _zeros(shape: Sequence[Extent], dtype: DType) -> Node:
    return Compute(shape, placeholder(0), [Read(Constant(0, dtype), ())], dtype)

"""Dense Jacobians and Hessians, and products with them, as graphs.

A Jacobian row is a vector-Jacobian product with a unit seed; all rows at once are the batched product, the seed a delta.
Sums over deltas collapse in `simplify`, so that what is structurally diagonal costs what its diagonal costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from gradgen.autodiff.forward import tangents
from gradgen.autodiff.joint import NOMINAL_DIM
from gradgen.autodiff.reverse import gradients
from gradgen.ir.batch import batched, repeated
from gradgen.ir.dtypes import DType
from gradgen.ir.functions import NoDerivative
from gradgen.ir.guards import EQ, Condition
from gradgen.ir.indexing import linearise, product, reshape_index
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.symbols import Extent, axes, placeholder


def nominal(shape: Sequence[Extent]) -> int:
    """Elements of a shape."""
    size = product(tuple(shape))
    if isinstance(size, int):
        return size
    return int(size.xreplace({s: sympy.Integer(NOMINAL_DIM) for s in size.free_symbols}))


def unit_seeds(shape: Sequence[Extent], dtype: DType) -> Node:
    """[size, *shape]: slice k is 1 at the k-th element (row-major) and 0 elsewhere."""
    size = product(tuple(shape))
    index = axes(len(shape) + 1)
    offset = linearise(index[1:], shape)
    one = Read(Constant(1, dtype), (), (Condition(EQ, sympy.expand(offset - index[0])),), 0)
    return Compute((size, *shape), placeholder(0), [one], dtype)


def reshaped(node: Node, shape: tuple[Extent, ...]) -> Node:
    """The node in another shape of as many elements."""
    index = reshape_index(axes(len(shape)), shape, node.shape)
    return Compute(shape, placeholder(0), [Read(node, index)], node.dtype)


def pushed(outputs: Sequence[Node], directions: Mapping[Node, Node]) -> list[Node | None]:
    """Jacobian-vector products: forward mode, or where a node has none, the adjoint of the adjoint.

    The vector-Jacobian product is linear in its cotangent u, so its own derivative by u, along the directions, is J d.
    """
    try:
        return tangents(outputs, directions)
    except NoDerivative:
        wrt = list(directions)
        seeds = [Input(f"__cotangent{k}", o.shape, o.dtype) for k, o in enumerate(outputs)]
        found = gradients(outputs, seeds, wrt)
        reached = [(g, directions[w]) for g, w in zip(found, wrt) if g is not None]
        return gradients([g for g, _ in reached], [d for _, d in reached], seeds)


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
    return _forward(output, wrt) if mode == "forward" else _reverse(output, wrt, nan_safe)


def _reverse(output: Node, wrt: Sequence[Node], nan_safe: bool) -> list[Node]:
    seed = Input("__seed", output.shape, output.dtype)
    found = gradients([output], [seed], wrt, nan_safe=nan_safe)
    size = product(output.shape)
    rows = batched([g for g in found if g is not None], {seed: unit_seeds(output.shape, output.dtype)}, size)
    return [_shaped(rows.get(g) if g is not None else None, output, w, size) for g, w in zip(found, wrt)]


def _shaped(rows: Node | None, output: Node, wrt: Node, size: Extent) -> Node:
    if rows is None:
        rows = repeated(zeros_like(wrt), size)
    return reshaped(rows, (*output.shape, *wrt.shape))


def _forward(output: Node, wrt: Sequence[Node]) -> list[Node]:
    result = []
    for w in wrt:
        seed = Input("__seed", w.shape, w.dtype)
        found = pushed([output], {w: seed})[0]
        size = product(w.shape)
        columns = repeated(zeros_like(output), size)
        if found is not None:
            columns = batched([found], {seed: unit_seeds(w.shape, w.dtype)}, size).get(found, columns)
        n, m = len(output.shape), len(w.shape)
        offset = linearise(axes(n + m)[n:], w.shape)
        read = Read(columns, (offset, *axes(n + m)[:n]))
        result.append(Compute((*output.shape, *w.shape), placeholder(0), [read], output.dtype))
    return result


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
            found[i, j] = _forward(gradient if gradient is not None else zeros_like(a), [b])[0]
    for i, j in list(found):
        found.setdefault((j, i), _transposed(found[i, j], len(wrt[i].shape)))
    return [[found[i, j] for j in range(len(wrt))] for i in range(len(wrt))]


def _transposed(block: Node, n: int) -> Node:
    """The block with its first n axes last."""
    i = axes(block.ndim)
    m = block.ndim - n
    read = Read(block, (*i[m:], *i[:m]))
    return Compute((*block.shape[n:], *block.shape[:n]), placeholder(0), [read], block.dtype)


def hvp(
    output: Node, wrt: Sequence[Node], directions: Mapping[Node, Node], *, nan_safe: bool = False
) -> list[Node | None]:
    """The product of a scalar's Hessian with `directions`: forward over reverse, the cost of a few gradients."""
    first = gradients([output], [Constant(1, output.dtype)], wrt, nan_safe=nan_safe)
    moved = pushed([g for g in first if g is not None], directions)
    rest = iter(moved)
    return [next(rest) if g is not None else None for g in first]


def zeros_like(node: Node) -> Node:
    return Compute(node.shape, placeholder(0), [Read(Constant(0, node.dtype), ())], node.dtype)

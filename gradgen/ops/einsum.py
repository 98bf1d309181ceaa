"""einsum: every pair of operands is one sum of products; more than two go together in the cheapest order, as in torch
with opt_einsum, or from left to right where extents are open or costs equal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gradgen.ir.nodes import Compute, Node, Read
from gradgen.ir.symbols import Extent, axis, reduce_axis, same_extent
from gradgen.ops.registry import KEEP, Op, register
from gradgen.ops.samples import one, sample, t
from gradgen.ops.shapes import A0, A1
from gradgen.ops.table import call, public

if TYPE_CHECKING:
    from gradgen.ops.tensors import Tensor

Labels = tuple[Any, ...]
MOST_ORDERED = 5
"""Operands up to which every order is tried."""


def _extents(nodes: Sequence[Node], labels: Sequence[Labels]) -> dict[Any, Extent]:
    """The extent of every label; an extent of 1 broadcasts."""
    found: dict[Any, Extent] = {}
    for k, (node, names) in enumerate(zip(nodes, labels)):
        for d, name in enumerate(names):
            e = node.shape[d]
            if name not in found or same_extent(found[name], 1):
                found[name] = e
            elif not same_extent(e, 1) and not same_extent(e, found[name]):
                raise RuntimeError(
                    f"einsum(): subscript {name} has size {e} for operand {k} which does not broadcast with "
                    f"previously seen "
                    f"size {found[name]}"
                )
    return found


def _lower_contract(*nodes: Node, labels: tuple[Labels, ...], out: Labels) -> Node:
    """One operand or two: the sum over every label that is not in `out`."""
    extents = _extents(nodes, labels)
    summed = [name for name in extents if name not in out]
    place = {name: axis(k) for k, name in enumerate(out)} | {name: reduce_axis(k) for k, name in enumerate(summed)}
    reads = []
    for node, names in zip(nodes, labels):
        index = [
            0 if same_extent(e, 1) and not same_extent(extents[n], 1) else place[n] for e, n in zip(node.shape, names)
        ]
        reads.append(Read(node, index))
    body = A0 if len(nodes) == 1 else A0 * A1
    shape = [extents[name] for name in out]
    if not summed:
        return Compute(shape, body, reads, nodes[0].dtype)
    return Compute(shape, body, reads, nodes[0].dtype, reduce_shape=[extents[n] for n in summed], reducer="sum")


_contract = register(Op("einsum", _lower_contract, "ViewBackward0", KEEP))


def _parsed(equation: str, operands: Sequence[Any]) -> tuple[list[Labels], Labels]:
    """Labels per operand and of the result; the axes under an ellipsis become numbers, counted from the end."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        more = "more" if len(terms) < len(operands) else "fewer"
        raise RuntimeError(f"einsum(): {more} operands were provided than specified in the equation")
    widest = 0
    labels: list[Labels] = []
    for k, (term, x) in enumerate(zip(terms, operands)):
        names, hidden = _term(term, x.ndim, k)
        widest = max(widest, hidden)
        labels.append(names)
    if arrow:
        out = _result(right, widest)
        known = {n for names in labels for n in names}
        for name in out:
            if name not in known and isinstance(name, str):
                raise RuntimeError(
                    f"einsum(): output subscript {name} does not appear in the equation for any input operand"
                )
    else:
        letters = [n for names in labels for n in names if isinstance(n, str)]
        out = (*range(-widest, 0), *sorted(n for n in set(letters) if letters.count(n) == 1))
    return labels, out


def _term(term: str, ndim: int, k: int) -> tuple[Labels, int]:
    if "..." in term:
        before, _, after = term.partition("...")
        hidden = ndim - len(before) - len(after)
        if hidden < 0:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(term) - 3}) is more than the number of "
                f"dimensions "
                f"({ndim}) for operand {k}"
            )
        names: Labels = (*before, *range(-hidden, 0), *after)
    else:
        hidden, names = 0, tuple(term)
        if len(names) != ndim:
            how = "more than" if len(names) > ndim else "does not match"
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(names)}) {how} the number of "
                f"dimensions ({ndim}) "
                f"for operand {k}" + ("" if len(names) > ndim else " and no ellipsis was given")
            )
    bad = next((n for n in names if isinstance(n, str) and not n.isalpha()), None)
    if bad is not None:
        raise RuntimeError(f"einsum(): invalid subscript given at index {term.index(bad)} in the equation string, "
                           "subscripts must be in [a-zA-Z]")
    return names, hidden


def _result(right: str, widest: int) -> Labels:
    before, dots, after = right.partition("...")
    out: Labels = (*before, *range(-widest, 0), *after) if dots else tuple(right)
    if len(set(out)) != len(out):
        raise RuntimeError(f"einsum(): output subscript {right} has a repeated subscript")
    return out


@public(
    "",
    samples=[
        sample("ij,jk->ik", t(2, 3), t(3, 4, seed=1)),
        one("ij,jk", t(2, 3), t(3, 4, seed=1)),
        one("ii->i", t(3, 3)),
        one("ii", t(3, 3)),
        one("bij,bjk->bik", t(2, 2, 3), t(2, 3, 2, seed=1)),
        one("...ij,...jk->...ik", t(2, 2, 3), t(3, 2, seed=1)),
        one("i,j->ij", t(2), t(3, seed=1)),
        one("ij,kj,k->i", t(2, 3), t(4, 3, seed=1), t(4, seed=2)),
        one("ij->ji", t(2, 3)),
        one("ij,ij->", t(2, 3), t(2, 3, seed=1)),
        one("bn,anm,bm->ba", t(2, 3), t(4, 3, 2, seed=1), t(2, 2, seed=2)),
        one("ij,ij->ij", t(1, 3), t(2, 3, seed=1)),
    ],
)
def einsum(equation: Any, *operands: Any) -> Tensor:
    """Sums of products in Einstein's notation: einsum("bij,bjk->bik", a, b)."""
    if not isinstance(equation, str):  # the sublist form: tensor, labels, tensor, labels, ..., result labels
        return _from_sublists((equation, *operands))
    tensors = tuple(operands[0]) if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else operands
    if not tensors:
        raise ValueError("einsum(): must provide at least one operand")
    labels, out = _parsed(equation, tensors)
    if len(tensors) == 1:
        return call(_contract, tensors[0], labels=(labels[0],), out=out)
    left = list(zip(tensors, labels, strict=True))
    for i, j in _pairs(tensors, labels, out):
        (b, b_names), (a, a_names) = left.pop(j), left.pop(i)
        later = {n for _, rest in left for n in rest} | set(out)
        kept = tuple(dict.fromkeys(n for n in (*a_names, *b_names) if n in later)) if left else out
        left.insert(i, (call(_contract, a, b, labels=(a_names, b_names), out=kept), kept))
    return left[0][0]


def _pairs(tensors: Sequence[Any], labels: Sequence[Labels], out: Labels) -> Sequence[tuple[int, int]]:
    """Which two of the operands that are left go together, step by step, the result in the place of the first."""
    extents: dict[Any, int] = {}
    for x, names in zip(tensors, labels, strict=True):
        for e, n in zip(x.shape, names, strict=True):
            if not isinstance(e, int):
                return [(0, 1)] * (len(tensors) - 1)
            extents[n] = max(e, extents.get(n, 0))
    if not 2 < len(tensors) <= MOST_ORDERED:
        return [(0, 1)] * (len(tensors) - 1)
    return _cheapest([frozenset(names) for names in labels], frozenset(out), extents)[1]


def _cheapest(
    labels: Sequence[frozenset[Any]], out: frozenset[Any], extents: dict[Any, int]
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Multiplications and pairs of the best order; of equal ones that from left to right."""
    if len(labels) == 1:
        return 0, ()
    found = []
    for i, j in itertools.combinations(range(len(labels)), 2):
        rest = [names for k, names in enumerate(labels) if k not in (i, j)]
        both = labels[i] | labels[j]
        cost, pairs = _cheapest([*rest[:i], both & out.union(*rest), *rest[i:]], out, extents)
        found.append((cost + math.prod(extents[n] for n in both), ((i, j), *pairs)))
    return min(found, key=lambda f: f[0])


def _from_sublists(arguments: tuple[Any, ...]) -> Tensor:
    pairs = [(arguments[k], arguments[k + 1]) for k in range(0, len(arguments) - 1, 2)]
    names = ["".join("..." if e is Ellipsis else _letter(e) for e in sub) for _, sub in pairs]
    equation = ",".join(names)
    if len(arguments) % 2:
        equation += "->" + "".join("..." if e is Ellipsis else _letter(e) for e in arguments[-1])
    return einsum(equation, *(x for x, _ in pairs))


def _letter(number: int) -> str:
    if not 0 <= number < 52:
        raise RuntimeError(f"einsum(): not within the valid range [0, 52): {number}")
    return chr(ord("A") + number) if number < 26 else chr(ord("a") + number - 26)

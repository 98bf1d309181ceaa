"""Reverse mode over the graph: one rule per node kind.

For a read x[f(i, r)] of y[i] = sum_r body the adjoint is x_bar[f(i, r)] += y_bar[i] * d body / d a_k; with f inverted it
is a Compute again (a gather), otherwise a Scatter.  The mathematics: Urban & van der Smagt, "Automatic Differentiation
for Tensor Algebras", 2017; Laue, Mitterreiter & Giesen, "Computing Higher Order Derivatives of Matrix and Tensor
Expressions", NeurIPS 2018.  Only nodes on a path from an output to something that wants a gradient are walked; a
structural zero is None, never an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import sympy

from gradgen.autodiff import kernel_rules, scattered
from gradgen.autodiff.beside import operation, side_by_side
from gradgen.autodiff.bodies import add, adjoint_body, compact, compute, is_polynomial, placeholders_in
from gradgen.autodiff.liveness import full, guarded, merged, of_items, one, only_alive, repeated, settled, support
from gradgen.autodiff.products import product_partials
from gradgen.autodiff.recurrences import adjoint_scan
from gradgen.errors import DerivativeError
from gradgen.ir.functions import and_, div, eq, select, stop
from gradgen.ir.graph import Location, topological
from gradgen.ir.guards import Guard, conjunction
from gradgen.ir.inversion import Inversion, Variable, invert, target
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter, identity_read
from gradgen.ir.scalar_table import NoDerivative
from gradgen.ir.symbols import (
    COTANGENT,
    LIVENESS,
    OUTPUT,
    Axis,
    Extent,
    Placeholder,
    ReduceAxis,
    axes,
    axis,
    placeholder,
    reduce_axes,
    reduce_axis,
)
from gradgen.target import NATIVE, Target


def gradients(
    outputs: Sequence[Node],
    cotangents: Sequence[Node],
    wrt: Sequence[Node],
    *,
    where: Mapping[Node, Location] | None = None,
    found: dict[Node, Location] | None = None,
    nan_safe: bool = False,
    target: Target = NATIVE,
) -> list[Node | None]:
    """The vector-Jacobian products: for each of `wrt` the node sum_o cotangent_o * d output_o / d wrt, or None.

    `cotangents[k]` has the shape and dtype of `outputs[k]`.  `where` gives user lines of forward nodes; the lines of the
    new nodes are added to `found`.  With `nan_safe` a cotangent that a condition selected away stays zero upstream,
    whatever it is multiplied with.  `target` says how much a recurrence may keep of its steps.  Raises DerivativeError
    where a node has no rule.
    """
    return _Sweep(outputs, wrt, where or {}, found if found is not None else {}, nan_safe, target).run(outputs, cotangents)


def gradients_alive(
    outputs: Sequence[Node], cotangents: Sequence[Node], lives: Sequence[Node | None], wrt: Sequence[Node], nan_safe: bool
) -> list[tuple[Node | None, Node | None]]:
    """As `gradients`, where `lives` says which cotangents are alive (see `liveness`); each gradient with its liveness."""
    sweep = _Sweep(outputs, wrt, {}, {}, nan_safe)
    found = sweep.run(outputs, cotangents, lives)
    return [(g, sweep.live.get(n)) for n, g in zip(wrt, found)]


class _Sweep:
    def __init__(
        self,
        outputs: Sequence[Node],
        wrt: Sequence[Node],
        where: Mapping[Node, Location],
        found: dict[Node, Location],
        nan_safe: bool,
        target: Target = NATIVE,
    ) -> None:
        self.order = siblings_together(topological(outputs))
        self.wrt = tuple(wrt)
        self.where, self.found, self.nan_safe, self.target = where, found, nan_safe, target
        calls = {(p.line, p.variable): n for n in self.order if (p := where.get(n)) is not None and p.variable}
        self.called = {n: variable for (_, variable), n in calls.items()}  # the value that a variable of the user's holds
        self.adjoint: dict[Node, Node] = {}
        self.live: dict[Node, Node | None] = {}
        self.beside: dict[Node, dict[sympy.Expr, list[Node]]] = {}  # parts of adjoints, by operation
        self.active = self._active(set(wrt))

    def _active(self, wanted: set[Node]) -> set[Node]:
        active: set[Node] = set()
        for node in self.order:
            if not node.dtype.is_floating_point or (isinstance(node, Compute) and isinstance(node.body, stop)):
                continue
            if node in wanted or any(s in active for s in node.sources):
                active.add(node)
        return active

    def run(
        self, outputs: Sequence[Node], cotangents: Sequence[Node], lives: Sequence[Node | None] | None = None
    ) -> list[Node | None]:
        """The adjoints of `wrt`, seeded with `cotangents`."""
        for output, cotangent, live in zip(outputs, cotangents, lives or [None] * len(outputs)):
            if output in self.active:
                self.contribute(output, cotangent, live=live)
        for node in reversed(self.order):
            self.join_parts(node)
            wanted = node in self.adjoint or isinstance(node, Scan)
            if wanted and node in self.active and not isinstance(node, (Input, Constant)):
                self.call(node)
                try:
                    self.pull(node, self.adjoint.get(node))
                except NoDerivative as error:
                    raise DerivativeError(str(error), where=self._line(node)) from None
        for n in self.wrt:
            self.join_parts(n)
        return [self.adjoint.get(n) for n in self.wrt]

    def call(self, node: Node) -> None:
        """The complete adjoint of what the user's variable z holds is called grad_z."""
        adjoint = self.adjoint.get(node)
        if node in self.called and adjoint in self.found and not self.found[adjoint].variable:
            self.found[adjoint] = replace(self.found[adjoint], variable=f"grad_{self.called[node]}")

    def _line(self, node: Node) -> str | None:
        place = self.where.get(node)
        return str(place) if place else None

    def contribute(self, source: Node, term: Node, origin: Node | None = None, live: Node | None = None) -> None:
        found = source in self.adjoint or source in self.beside
        self.live[source] = merged(self.live[source], live) if found else live
        kind = operation(origin)
        if kind is not None:
            self.beside.setdefault(source, {}).setdefault(kind, []).append(term)
            if origin is not None and origin in self.where:
                self.found.setdefault(term, self.where[origin])
            return
        total = add(self.adjoint.get(source), term)
        if origin is not None and origin in self.where:
            place = replace(self.where[origin], variable="")
            for new in (term, total):
                self.found.setdefault(new, place)
        self.adjoint[source] = total

    def join_parts(self, node: Node) -> None:
        """Adds what operations put side by side to the adjoint of `node`."""
        for terms in self.beside.pop(node, {}).values():
            joined = side_by_side(terms)
            total = add(self.adjoint.get(node), joined)
            if terms[0] in self.found:
                for new in (joined, total):
                    self.found.setdefault(new, self.found[terms[0]])
            self.adjoint[node] = total

    def pull(self, node: Node, cotangent: Node | None) -> None:
        if isinstance(node, Scan):
            self.pull_scan(node)
            return
        assert cotangent is not None
        live = self.live.get(node)
        match node:
            case Compute(reducer=None | "sum"):
                self.pull_compute(node, cotangent, live)
            case Compute(reducer="max" | "min"):
                self.pull_extremum(node, cotangent, live)
            case Compute(reducer="prod"):
                self.pull_product(node, cotangent, live)
            case Scatter():
                self.pull_scatter(node, cotangent, live)
            case Kernel():
                self.pull_kernel(node, cotangent, live)
            case _:
                raise NoDerivative(f"gradgen has no derivative of {node!r}")

    # --- Compute ----------------------------------------------------------------------------------------------------

    def pull_compute(self, node: Compute, cotangent: Node, live: Node | None) -> None:
        variables = _variables(node.shape, node.reduce_shape)
        seed = identity_read(cotangent)
        alive = None if live is None else identity_read(live)
        for k, read in enumerate(node.reads):
            if read.source in self.active:
                body = adjoint_body(node.body, k, not node.reduce_shape)
                self.pull_read(node, read, body, node.reads, seed, alive, variables)

    def pull_read(
        self,
        node: Node,
        read: Read,
        body: sympy.Expr,
        reads: Sequence[Read],
        seed: Read,
        alive: Read | None,
        variables: tuple[tuple[Variable, Extent], ...],
    ) -> None:
        """Adds to the adjoint of `read.source`: `body` holds COTANGENT for `seed` and OUTPUT for the node's value; `alive`
        is the liveness of the seed."""
        if body == 0:
            return
        found = support(body) if self.nan_safe else LIVENESS
        whole = is_polynomial(body) if alive is None else guarded(body) is not body or is_polynomial(body)
        if alive is not None:
            body = guarded(body)
        term = _pulled(node, read, body, reads, seed, alive, variables, whole)
        if term is _NOTHING:
            return
        live = None
        if self.nan_safe or alive is not None:
            all_alive = Read(one(node), (), seed.guard, 0)
            live = settled(_pulled(node, read, found, reads, seed, alive or all_alive, variables, True))
        self.contribute(read.source, term, node, live)

    # --- Scan -----------------------------------------------------------------------------------------------------------

    def pull_scan(self, node: Scan) -> None:
        """Once per call, when the first of its outputs comes up: by then all cotangents are complete."""
        siblings = {n.output: n for n in self.order if isinstance(n, Scan) and n.call == node.call}
        if next(iter(siblings.values())) is not node:
            return
        for n in siblings.values():
            self.join_parts(n)
        found = {k: self.adjoint[n] for k, n in siblings.items() if n in self.adjoint}
        lives = {k: self.live.get(n) for k, n in siblings.items()}
        careful = self.nan_safe or any(live is not None for live in lives.values())
        for source, term, live in adjoint_scan(node, found, self.active, lives if careful else None, self.of_step,
                                                self.target.most_bytes):
            self.contribute(source, term, node, live)

    def of_step(
        self, outputs: Sequence[Node], cotangents: Sequence[Node], lives: Sequence[Node] | None, wrt: Sequence[Node]
    ) -> list[tuple[Node | None, Node | None]]:
        """Gradients of a step's graph, each with its liveness where `lives` says that of the cotangents."""
        if lives is None:
            return [(g, None) for g in gradients(outputs, cotangents, wrt)]
        return gradients_alive(outputs, cotangents, lives, wrt, self.nan_safe)

    # --- Kernel -------------------------------------------------------------------------------------------------------

    def pull_kernel(self, node: Kernel, cotangent: Node, live: Node | None) -> None:
        """An item (a matrix) is alive where something of it is."""
        items = None if live is None else of_items(live, node.operands[0].ndim - 2)
        for source, term in kernel_rules.pull(node, cotangent, gradients):
            if source in self.active:
                if items is not None:
                    term = only_alive(term, items)
                self.contribute(source, term, node, None if items is None else repeated(items, source))

    # --- reducers that select -----------------------------------------------------------------------------------------

    def pull_extremum(self, node: Compute, cotangent: Node, live: Node | None) -> None:
        """amax, amin: every tied element takes an equal share."""
        values = expanded(node)
        n, m = len(node.shape), len(node.reduce_shape)
        hit = select(eq(placeholder(0), placeholder(1)), 1, 0)
        inner = Read(values, (*axes(n), *reduce_axes(m)))
        count = Compute(
            node.shape, hit, [inner, identity_read(node)], node.dtype, reduce_shape=node.reduce_shape, reducer="sum"
        )
        body = div(select(eq(placeholder(0), placeholder(1)), placeholder(2), 0), placeholder(3))
        outer = [Read(s, axes(n)) for s in (node, cotangent, count)]
        share: Node = Compute(values.shape, body, [identity_read(values), *outer], node.dtype)
        alive = None
        if live is not None and not self.nan_safe:
            share, alive = only_alive(share, live), repeated(live, values)
        elif self.nan_safe:
            taken = select(eq(placeholder(0), placeholder(1)), placeholder(2), 0)
            alive = Compute(values.shape, taken, [
                identity_read(values), *(Read(s, axes(n)) for s in (node, live or full(node)))], node.dtype)
            share = only_alive(share, alive)
        self.pull_compute(values, share, alive)

    def pull_product(self, node: Compute, cotangent: Node, live: Node | None) -> None:
        values = expanded(node)
        others = product_partials(node, values)
        reads = [identity_read(others), Read(cotangent, axes(len(node.shape)))]
        term: Node = Compute(values.shape, placeholder(0) * placeholder(1), reads, node.dtype)
        if live is not None:
            term, live = only_alive(term, live), repeated(live, values)
        self.pull_compute(values, term, live)

    # --- Scatter --------------------------------------------------------------------------------------------------------

    def pull_scatter(self, node: Scatter, cotangent: Node, live: Node | None) -> None:
        if node.mode not in ("add", "set"):
            of_base, values, of_updates = scattered.cotangents(node, cotangent)
            base_live = update_live = None
            if self.nan_safe or live is not None:
                base_live, update_live = scattered.lives(node, live or full(node))
                of_base, of_updates = only_alive(of_base, base_live), only_alive(of_updates, update_live)
            if node.base in self.active:
                self.contribute(node.base, of_base, node, base_live)
            self.pull_compute(values, of_updates, update_live)
            return
        if node.base is not None and node.base in self.active:
            base_bar, base_live = cotangent, live
            if node.mode == "set":
                base_bar = _without_updates(node, cotangent)
                base_live = _without_updates(node, live or full(node)) if self.nan_safe or live is not None else None
            self.contribute(node.base, base_bar, node, base_live)
        seed = Read(cotangent, node.index, node.guard, 0)
        alive = None if live is None else Read(live, node.index, node.guard, 0)
        variables = _variables(node.update_shape, ())
        for k, read in enumerate(node.reads):
            if read.source in self.active:
                self.pull_read(node, read, adjoint_body(node.body, k, False), node.reads, seed, alive, variables)


def _without_updates(node: Scatter, cotangent: Node) -> Node:
    """The cotangent with zeros where the scatter writes over what was there."""
    reads = node.reads[: _last_used(node.index) + 1]
    return Scatter(node.shape, cotangent, node.update_shape, node.index, sympy.Integer(0), reads, node.dtype, mode="set",
                   guard=node.guard)


def expanded(node: Compute) -> Compute:
    """The reduced values themselves, one per (axes, reduce axes)."""
    n, m = len(node.shape), len(node.reduce_shape)
    rename = {reduce_axis(k): axis(n + k) for k in range(m)}
    reads = [_renamed(r, rename) for r in node.reads]
    return Compute((*node.shape, *node.reduce_shape), node.body.xreplace(rename), reads, node.dtype)


def siblings_together(order: list[Node]) -> list[Node]:
    """The order with all outputs of a recurrence next to the first of them: they have the same sources."""
    if not any(isinstance(n, Scan) for n in order):
        return order
    groups: dict[tuple, list[Node]] = {}
    for n in order:
        if isinstance(n, Scan):
            groups.setdefault(n.call, []).append(n)
    result: list[Node] = []
    for n in order:
        if not isinstance(n, Scan):
            result.append(n)
        elif groups[n.call][0] is n:
            result.extend(groups[n.call])
    return result


# --- helpers ------------------------------------------------------------------------------------------------------------


class _Nothing(Compute):
    """Stands for an adjoint that can never be anything but zero."""

    __slots__ = ()


_NOTHING = object.__new__(_Nothing)


def _last_used(index: Iterable[sympy.Expr]) -> int:
    return max((int(p.name[1:]) for p in placeholders_in(tuple(index))), default=-1)


def _variables(shape: tuple[Extent, ...], reduce_shape: tuple[Extent, ...]) -> tuple[tuple[Variable, Extent], ...]:
    return (*zip(axes(len(shape)), shape), *zip(reduce_axes(len(reduce_shape)), reduce_shape))


def _renamed(read: Read, mapping: Mapping[sympy.Expr, sympy.Expr], extra: Guard = (), fill: sympy.Expr | None = None) -> Read:
    """The read with its variables replaced and `extra` conditions added to its guard."""
    index = [e.xreplace(mapping) for e in read.index] if mapping else read.index
    guard = (*(c.substitute(dict(mapping)) for c in read.guard), *extra)
    return Read(read.source, index, tuple(dict.fromkeys(guard)), read.fill if fill is None or read.guard else fill)


def _pulled(
    node: Node, read: Read, body: sympy.Expr, reads: Sequence[Read], seed: Read, alive: Read | None,
    variables: tuple[tuple[Variable, Extent], ...], whole: bool,
) -> Node:
    """`body` summed over what `read` is used for; `whole` says that it is 0 where the reads are outside their guards."""
    body, operands = _operands(body, reads, seed, alive, node)
    found = _gather(read, body, operands, variables, len(reads), whole)
    return found or _scatter(read, body, operands, variables, "add" if operation(node) is None else "set")


def _operands(
    body: sympy.Expr, reads: Sequence[Read], seed: Read, alive: Read | None, node: Node
) -> tuple[sympy.Expr, list[Read]]:
    """Numbers COTANGENT, LIVENESS and OUTPUT behind the node's own placeholders."""
    operands = [*reads, seed]
    mapping = {COTANGENT: placeholder(len(reads))}
    if alive is not None:
        mapping[LIVENESS] = placeholder(len(operands))
        operands.append(alive)
    if OUTPUT in body.free_symbols:
        mapping[OUTPUT] = placeholder(len(operands))
        operands.append(identity_read(node))
    return body.xreplace(mapping), operands


def _depends(reads: Sequence[Read], index: Sequence[sympy.Expr]) -> tuple[tuple[Placeholder, tuple[Variable, ...]], ...]:
    """For each placeholder in `index`, the iteration variables its value depends on, through its own index too."""
    result = {}
    for p in placeholders_in(tuple(index)):
        seen: dict[Variable, None] = {}
        stack = [p]
        while stack:
            read = reads[int(stack.pop().name[1:])]
            for e in read.index:
                for s in sorted(e.free_symbols, key=lambda s: s.name):
                    if isinstance(s, Placeholder):
                        stack.append(s)
                    elif isinstance(s, (Axis, ReduceAxis)):
                        seen[s] = None
        result[p] = tuple(seen)
    return tuple(result.items())


def _gather(
    read: Read,
    body: sympy.Expr,
    operands: list[Read],
    variables: tuple[tuple[Variable, Extent], ...],
    own: int,
    whole: bool,
) -> Node | None:
    """The adjoint as a Compute over the axes of x; None where the index map cannot be inverted."""
    shape = read.source.shape
    identity = not read.guard and len(variables) == len(shape) and read.index == axes(len(shape))
    if identity and all(same is extent or same == extent for same, (_, extent) in zip(shape, variables)):
        return compute(shape, body, operands, read.dtype)
    inversion = invert(read.index, variables, shape, _depends(operands, read.index), read.guard)
    if inversion is None:
        return None
    mapping, reduce_shape = _substitution(inversion, variables, len(shape))
    guard = conjunction(
        *(c.substitute(mapping) for c in (*inversion.conditions, *read.guard))
    )
    if guard is None:
        return _NOTHING
    if guard and not whole:
        if inversion.data:
            return None
        # computed where it is defined, then gathered: outside the guard the partial might be nan
        local = compute(
            tuple(e for _, e in variables), *_as_axes(body, operands, variables), read.dtype
        )
        operands, body = [Read(local, axes(len(variables)))], placeholder(0)
        mapping = {axis(k): mapping[v] for k, (v, _) in enumerate(variables)}
    tests = inversion.data
    moved = [_renamed(r, mapping, guard, sympy.Integer(0)) for r in operands]
    body = body.xreplace({s: e for s, e in mapping.items()})
    if tests:
        condition = None
        for expr, x in tests:
            test = eq(expr.xreplace(mapping), x.xreplace(mapping))
            condition = test if condition is None else and_(condition, test)
        body = select(condition, body, 0)
    return compute(shape, body, moved, read.dtype, reduce_shape, "sum")


def _as_axes(
    body: sympy.Expr, operands: Sequence[Read], variables: tuple[tuple[Variable, Extent], ...]
) -> tuple[sympy.Expr, list[Read]]:
    """Reduce axes turned into further axes: the integrand as a tensor of its own."""
    mapping = {v: axis(k) for k, (v, _) in enumerate(variables) if v is not axis(k)}
    return body.xreplace(mapping), [_renamed(r, mapping) for r in operands]


def _substitution(
    inversion: Inversion, variables: tuple[tuple[Variable, Extent], ...], ndim: int
) -> tuple[dict[sympy.Expr, sympy.Expr], tuple[Extent, ...]]:
    """Old iteration variables in terms of the axes of x and the new reduce axes."""
    extents = dict(variables)
    fresh: dict[sympy.Expr, sympy.Expr] = {target(d): axis(d) for d in range(ndim)}
    for k, v in enumerate(inversion.free):
        fresh[v] = reduce_axis(k)
    mapping = {v: e.xreplace(fresh) for v, e in inversion.solved.items()}
    mapping.update({v: fresh[v] for v in inversion.free})
    mapping.update({target(d): axis(d) for d in range(ndim)})
    return mapping, tuple(extents[v] for v in inversion.free)


def _scatter(
    read: Read, body: sympy.Expr, operands: list[Read], variables: tuple[tuple[Variable, Extent], ...], mode: str
) -> Node:
    """The adjoint of a data-dependent read: zeros, and every update added, or put, at its place."""
    mapping = {v: axis(k) for k, (v, _) in enumerate(variables) if v is not axis(k)}
    moved = [_renamed(r, mapping) for r in operands]
    packed, moved = compact(sympy.Tuple(body, *read.index).xreplace(mapping), moved)
    guard = tuple(c.substitute(dict(mapping)) for c in read.guard)
    return Scatter(
        read.source.shape, None, tuple(e for _, e in variables), packed.args[1:], packed.args[0], moved, read.dtype,
        mode=mode, guard=guard,
    )

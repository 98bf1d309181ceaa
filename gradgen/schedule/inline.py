"""Which nodes become loop nests of their own, and which are computed where they are read.

A *definition* is what one nest computes at one point of its axes: terms that read memory or apply a body to earlier
terms.  Views (slices, permutations, casts, constants) never get memory; a pointwise node with one reader joins it,
unless that would compute it more than once per element.  Nothing is substituted into SymPy expressions except index
expressions into index expressions, so no float arithmetic is ever rewritten here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np
import sympy

from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Location, topological
from gradgen.ir.guards import Guard
from gradgen.ir.indexing import modulo, quotient
from gradgen.ir.nodes import ARG_REDUCERS, Compute, Constant, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.plain_indices import simplify_index
from gradgen.ir.scalar_table import has_costly
from gradgen.ir.symbols import (
    Axis,
    Extent,
    Placeholder,
    ReduceAxis,
    axes,
    axis,
    free_symbols,
    placeholder,
    reduce_axes,
    reduce_axis,
)
from gradgen.loops.procedure import Output, Procedure
from gradgen.loops.statements import CVar
from gradgen.schedule.allowed import ScheduleOptions
from gradgen.schedule.bounds import certainly_inside
from gradgen.schedule.ordering import sums_where_terms_arise
from gradgen.schedule.scalars import Recipe, Step, recipe

MAX_TERMS = 96  # of one op: recursion over them is safe, and compilers take more than linear time for longer expressions
CHEAP_STEPS = 7  # operations that are computed at each use: about what storing a value and loading it again costs
MAP, REDUCE, ARG, SCATTER, SCAN, KERNEL = "map", "reduce", "arg", "scatter", "scan", "kernel"


@dataclass(frozen=True, eq=False, slots=True)
class ReadTerm:
    """`source[index]` where `guard` holds, else `fill`."""

    source: Node
    index: tuple[sympy.Expr, ...]
    guard: Guard
    fill: sympy.Expr
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class BodyTerm:
    """A recipe over earlier terms; `where` says what the axes that it mentions are."""

    recipe: Recipe
    args: tuple[int, ...]
    where: Mapping[sympy.Symbol, sympy.Expr]
    dtype: DType
    node: Node


@dataclass(frozen=True, eq=False, slots=True)
class SelectTerm:
    """Term `value` where `guard` holds, else `fill`."""

    guard: Guard
    value: int
    fill: sympy.Expr
    dtype: DType


Term = ReadTerm | BodyTerm | SelectTerm


@dataclass(frozen=True, eq=False, slots=True)
class Check:
    """`index` must be inside `shape` wherever `guard` holds; `early` when it follows from given values alone, so that
    it can be tested before anything is written."""

    terms: tuple[Term, ...]
    index: tuple[sympy.Expr, ...]
    shape: tuple[Extent, ...]
    guard: Guard
    early: bool

    @property
    def key(self) -> tuple:
        tested = tuple((e, n) for e, n in zip(self.index, self.shape, strict=True) if term_numbers([e]))
        return (tuple(_term_key(t) for t in self.terms), tested, self.guard)


def _term_key(term: Term) -> tuple:
    if isinstance(term, ReadTerm):
        return (term.source, term.index, term.guard, term.fill)
    if isinstance(term, SelectTerm):
        return (term.guard, term.value, term.fill)
    return (term.recipe, term.args, tuple(sorted((str(k), v) for k, v in term.where.items())))


@dataclass(eq=False)
class Op:
    """One nest: `axes` are the node's own axis symbols (outputs first), `terms[-1]`, or `root`, its value."""

    number: int
    node: Node
    kind: str
    shape: tuple[Extent, ...]
    reduce_shape: tuple[Extent, ...]
    terms: list[Term] = field(default_factory=list)
    root: int = -1
    index: tuple[sympy.Expr, ...] = ()  # of a scatter
    guard: Guard = ()
    effects: list[Output] = field(default_factory=list)
    where: Location | None = None
    members: list[Node] = field(default_factory=list)  # the node and those inlined into it
    checks: list[Check] = field(default_factory=list)

    @property
    def axes(self) -> tuple[sympy.Symbol, ...]:
        return (*axes(len(self.shape)), *reduce_axes(len(self.reduce_shape)))

    @property
    def extents(self) -> tuple[Extent, ...]:
        return (*self.shape, *self.reduce_shape)

    @property
    def reads(self) -> list[ReadTerm]:
        return [t for t in self.terms if isinstance(t, ReadTerm)]

    @property
    def output_axes(self) -> tuple[sympy.Symbol, ...]:
        return () if self.kind == SCATTER else axes(len(self.shape))

    @property
    def reduced_axes(self) -> tuple[sympy.Symbol, ...]:
        return reduce_axes(len(self.reduce_shape)) if self.kind != SCATTER else axes(len(self.reduce_shape))

    @property
    def loop_axes(self) -> tuple[sympy.Symbol, ...]:
        """The axes that need a loop: an axis of extent 1 is at 0."""
        return tuple([s for s, e in self._spans() if not _is_one(e)])

    @property
    def fixed(self) -> dict[sympy.Symbol, sympy.Expr]:
        """The axes that do not."""
        return {s: sympy.S.Zero for s, e in self._spans() if _is_one(e)}

    def _spans(self) -> Iterable[tuple[sympy.Symbol, Extent]]:
        if self.kind == SCATTER:
            return zip(axes(len(self.reduce_shape)), self.reduce_shape)
        return zip(self.axes, self.extents)

    def extent_of(self, symbol: sympy.Symbol) -> Extent:
        if self.kind == SCATTER:
            return self.reduce_shape[_places(len(self.reduce_shape), 0)[symbol]]
        at, outer = _places(len(self.shape), len(self.reduce_shape))[symbol], len(self.shape)
        return self.shape[at] if at < outer else self.reduce_shape[at - outer]


@cache
def _places(outer: int, inner: int) -> dict[sympy.Symbol, int]:
    return {s: k for k, s in enumerate((*axes(outer), *reduce_axes(inner)))}


def _is_one(e: Extent) -> bool:
    return e == 1 if isinstance(e, int) else e is sympy.S.One


@cache
def term_symbol(k: int) -> CVar:
    """Stands for the value of term k in an index expression."""
    return CVar(f"term {k}", integer=True)


def needed(procedure: Procedure) -> list[Node]:
    """The nodes to compute, sources first; given nodes end the walk."""
    return topological((o.node for o in procedure.outputs), procedure.given)


def is_uniform(node: Node) -> bool:
    """A constant that is one number everywhere."""
    if not isinstance(node, Constant) or node.array.size == 0:
        return False
    flat = node.array.ravel().view(np.dtype(f"V{node.array.itemsize}"))
    return bool((flat == flat[0]).all())


def _is_view(node: Compute) -> bool:
    """No arithmetic: a re-indexed, guarded or cast read, or a number."""
    return node.reducer is None and not node.reduce_shape and (
        (len(node.reads) <= 1 and isinstance(node.body, Placeholder)) or (not node.reads and node.body.is_number)
    )


def _size(shape: Iterable[Extent]) -> Extent:
    total: Extent = 1
    for e in shape:
        total = total * e
    return total


@lru_cache(maxsize=1 << 12)
def _steps(body: sympy.Expr) -> int:
    return sum(1 for _ in sympy.preorder_traversal(body)) // 2


def _domain(node: Node) -> Extent:
    if isinstance(node, Compute):
        return _size((*node.shape, *node.reduce_shape))
    if isinstance(node, Scatter):
        return _size(node.update_shape)
    return _size(node.shape)


def _covers(size: Extent, domain: Extent) -> bool:
    """A reader of this many elements computes no value more often than once each would."""
    if isinstance(size, int) and isinstance(domain, int):
        return domain <= size
    difference = sympy.expand(sympy.sympify(size) - domain)
    return bool(difference == 0 or difference.is_nonnegative)


class Inliner:
    """Decides and builds the ops of a procedure."""

    def __init__(self, procedure: Procedure, options: ScheduleOptions) -> None:
        self.procedure, self.options = procedure, options
        self.order = needed(procedure)
        if options.has("order"):
            self.order = sums_where_terms_arise(self.order)
        self.wanted = {o.node: None for o in procedure.outputs}
        self.users: dict[Node, list[Node]] = {n: [] for n in self.order}
        for node in self.order:
            reads = node.reads if isinstance(node, (Compute, Scatter)) else ()
            sources = [r.source for r in reads] if isinstance(node, (Compute, Scatter)) else list(node.sources)
            if isinstance(node, Scatter) and node.base is not None:
                sources.append(node.base)
            for s in sources:
                if s in self.users:
                    self.users[s].append(node)
        self.inlined: dict[Node, None] = {}
        self.decide()

    def decide(self) -> None:
        """Readers before sources, so that the number of places a value is read at is known."""
        uses: dict[Node, int] = {}
        root: dict[Node, Node] = {}
        weight: dict[Node, int] = {}
        cheap = self.cheap_nodes() if self.options.has("inline") else {}
        for node in reversed(self.order):
            users = self.users[node]
            uses[node] = sum(uses[u] if u in self.inlined else 1 for u in users)
            head = root.get(users[0]) if users else None
            load = 1 + (len(node.reads) if isinstance(node, Compute) else 0)
            if head is not None and self.may_inline(node, uses[node], weight.get(head, 0) + load, node in cheap):
                self.inlined[node] = None
                root[node] = head
                weight[head] = weight.get(head, 0) + load
            else:
                root[node] = node
                weight[node] = load

    def cheap_nodes(self) -> dict[Node, None]:
        """Maps of a few operations and at most one read of full size: computing one again costs no more than a load."""
        cost: dict[Node, int] = {}
        for node in self.order:
            if not isinstance(node, Compute) or node.reducer is not None or not node.shape:
                continue
            mentioned = [frozenset().union(*map(free_symbols, r.index)) for r in node.reads]
            if any(isinstance(s, Placeholder) for found in mentioned for s in found):
                continue
            wide = sum(len(found) == len(node.shape) for found in mentioned)
            total = _steps(node.body) + sum(cost.get(r.source, 0) for r in node.reads)
            if wide <= 1 and total <= CHEAP_STEPS and not has_costly(node.body):
                cost[node] = total
        return dict.fromkeys(cost)

    def may_inline(self, node: Node, uses: int, weight: int, cheap: bool) -> bool:
        if node in self.procedure.laid:
            return False
        if isinstance(node, Constant) and node not in self.wanted:
            return True
        if node in self.wanted or any(not isinstance(u, (Compute, Scatter)) for u in self.users[node]):
            return False
        if any(isinstance(u, Scatter) and u.base is node for u in self.users[node]):
            return False
        if not isinstance(node, Compute) or node.reducer is not None:
            return False
        if _is_view(node) and weight <= 4 * MAX_TERMS:
            return True
        if not self.options.has("inline") or (uses != 1 and not cheap) or weight > MAX_TERMS:
            return False
        if any(is_product(u) for u in self.users[node]):
            return False
        return all(_covers(_size(node.shape), _domain(u)) for u in self.users[node])

    def ops(self) -> list[Op]:
        """One Op per node that is not inlined, in order; outputs that are given already are copied."""
        found: dict[Node, Op] = {}
        for node in self.order:
            if node not in self.inlined:
                found[node] = self.op(len(found), node)
        result = list(found.values())
        for output in self.procedure.outputs:
            if output.node in found:
                found[output.node].effects.append(output)
            else:
                result.append(self.copy(len(result), output))
        return result

    def copy(self, number: int, output: Output) -> Op:
        node = output.node
        op = Op(number, node, MAP, node.shape, ())
        op.terms.append(ReadTerm(node, axes(node.ndim), (), sympy.S.Zero, node.dtype))
        op.root = 0
        op.effects.append(output)
        return op

    def op(self, number: int, node: Node) -> Op:
        where = self.procedure.where.get(node)
        builder = _Terms(self, node)
        if isinstance(node, Compute):
            kind = MAP if node.reducer is None else ARG if node.reducer.startswith("arg") else REDUCE
            if kind == REDUCE and all(e == 1 for e in node.reduce_shape):
                kind = MAP  # of one term
            op = Op(number, node, kind, node.shape, node.reduce_shape, where=where)
            op.root = builder.body(node, {}, (), inner=True)
        elif isinstance(node, Scatter):
            op = Op(number, node, SCATTER, node.shape, node.update_shape, where=where)
            op.root, op.index, op.guard = builder.scatter(node)
        elif isinstance(node, Constant):
            op = Op(number, node, MAP, node.shape, (), where=where)
            op.root = builder.read(Read(node, axes(node.ndim)), {}, ())
        elif isinstance(node, (Scan, Kernel)):
            op = Op(number, node, SCAN if isinstance(node, Scan) else KERNEL, node.shape, (), where=where)
        else:
            from gradgen.errors import ScheduleError

            raise ScheduleError(f"no value for input {getattr(node, 'name', node)!r}", hint="give it a Place")
        op.terms = builder.terms
        op.members = [node, *builder.members]
        if index_terms(op):
            op.checks = self.checks(node, {t.source for t in op.reads})
        return op

    def checks(self, node: Node, read: set[Node]) -> list[Check]:
        """The data-dependent indices of a node, as far as possible in terms of given values, else of what it has `read`.

        What it reads from memory was tested by the op that wrote it.
        """
        builder = _Terms(self, node, positions_anew=True)
        found: list[tuple[tuple[sympy.Expr, ...], tuple[Extent, ...], Guard]] = []
        if isinstance(node, Scatter):
            _, index, guard = builder.scatter(node)
            found.append((index, node.shape, guard))
        else:
            assert isinstance(node, Compute)
            builder.body(node, {}, (), inner=True)
        found += [(t.index, t.source.shape, t.guard) for t in builder.terms if isinstance(t, ReadTerm)]
        checks = []

        def is_here(e: sympy.Expr) -> bool:
            return all(builder.is_known(s) or s in read for s in builder.sources(term_numbers([e])))

        for whole, extents, guard in found:
            tested = [(e, n) for e, n in zip(whole, extents, strict=True) if is_here(e)]
            index, shape = tuple(e for e, _ in tested), tuple(n for _, n in tested)
            numbers = term_numbers([*index, *(c.expr for c in guard)])
            if not term_numbers(index):
                continue
            needed_terms = closure(builder.terms, numbers)
            reads = [builder.terms[k] for k in needed_terms]
            early = all(builder.is_known(s) for s in builder.sources(numbers))
            position = {old: new for new, old in enumerate(needed_terms)}
            moved = {term_symbol(old): term_symbol(new) for old, new in position.items()}
            check = Check(
                tuple(_renumbered(t, position, moved) for t in reads), tuple(e.xreplace(moved) for e in index), shape,
                tuple(c.substitute(moved) for c in guard), early,
            )
            symbols = [term_symbol(k) for k in range(len(reads))]
            if not certainly_inside(check, _ranges(node), symbols, self.procedure.given):
                checks.append(check)
        return checks


def _ranges(node: Node) -> list[tuple[sympy.Symbol, Extent]]:
    """The node's axes with their extents."""
    if isinstance(node, Scatter):
        return list(zip(axes(len(node.update_shape)), node.update_shape, strict=True))
    reduced = node.reduce_shape if isinstance(node, Compute) else ()
    return [*zip(axes(node.ndim), node.shape, strict=True), *zip(reduce_axes(len(reduced)), reduced, strict=True)]


def is_product(node: Node) -> bool:
    """A sum of products of two reads: a candidate for a matrix kernel, whose operands should be in memory."""
    return (
        isinstance(node, Compute)
        and node.reducer == "sum"
        and node.dtype.is_floating_point
        and isinstance(node.body, sympy.Mul)
        and sum(isinstance(a, Placeholder) for a in node.body.args) == 2
        and len(node.reads) == 2
    )


class _Terms:
    """Builds the terms of one op.  Depth is bounded by MAX_TERMS, so recursion is safe."""

    def __init__(self, inliner: Inliner, node: Node, positions_anew: bool = False) -> None:
        self.inliner = inliner
        self.known = tuple(_ranges(node))
        self.positions_anew = positions_anew  # positions are computed from given values where that takes few terms
        self.left = 0  # maps that may still be computed in place although they are in memory
        self.terms: list[Term] = []
        self.members: list[Node] = []
        self.memo: dict[tuple, int] = {}

    def add(self, key: tuple, term: Term) -> int:
        if key not in self.memo:
            self.memo[key] = len(self.terms)
            self.terms.append(term)
        return self.memo[key]

    def arguments(
        self, reads: tuple[Read, ...], mapping: Mapping, context: Guard, more: Iterable[sympy.Basic] = ()
    ) -> tuple[tuple[int, ...], dict]:
        """Terms of the reads; the mapping grows by the terms' symbols so that later indices may mention them.

        `more` are indices beside those of the reads.
        """
        mapping = dict(mapping)
        positions = self.positions(reads, more) if self.positions_anew and not self.left else set()
        args: list[int] = []
        for k, read in enumerate(reads):
            found = self.anew(read, mapping, context) if placeholder(k) in positions else None
            args.append(self.read(read, mapping, context) if found is None else found)
            mapping[placeholder(k)] = term_symbol(args[-1])
        return tuple(args), mapping

    def positions(self, reads: tuple[Read, ...], more: Iterable[sympy.Basic]) -> set[sympy.Basic]:
        """The placeholders that indices and guards mention."""
        exprs = [*more, *(e for r in reads for e in r.index), *(c.expr for r in reads for c in r.guard)]
        return {s for e in exprs if not e.is_Integer for s in free_symbols(e) if isinstance(s, Placeholder)}

    def anew(self, read: Read, mapping: Mapping, context: Guard) -> int | None:
        """The read in terms of given values; None where it has others or takes too many terms."""
        self.left = MAX_TERMS
        found = self.read(read, mapping, context)
        self.left = 0
        return found if all(self.is_known(s) for s in self.sources([found])) else None

    def is_known(self, source: Node) -> bool:
        return source in self.inliner.procedure.given or isinstance(source, Constant)

    def sources(self, numbers: list[int]) -> Iterable[Node]:
        """What the terms read."""
        needed = (self.terms[k] for k in closure(self.terms, numbers))
        return (t.source for t in needed if isinstance(t, ReadTerm))

    def body(self, node: Compute, mapping: Mapping, context: Guard, inner: bool = False) -> int:
        where = ("at", node, frozenset(mapping.items()), context, inner, self.left > 0)
        if where not in self.memo:
            self.memo[where] = self._body(node, mapping, context, inner)
        return self.memo[where]

    def _body(self, node: Compute, mapping: Mapping, context: Guard, inner: bool) -> int:
        args, _ = self.arguments(node.reads, mapping, context)
        target = _value_type(node) if inner else node.dtype
        made = recipe(node.body, tuple((placeholder(k), r.dtype) for k, r in enumerate(node.reads)), target)
        key = ("body", node, tuple(sorted((str(k), v) for k, v in mapping.items())), args)
        if key in self.memo:
            return self.memo[key]
        if isinstance(node.body, Placeholder):
            k = int(node.body.name[1:])
            if node.reads[k].dtype is target:
                return args[k]
        own = {s: e for s, e in mapping.items() if not isinstance(s, Placeholder)}
        return self.add(key, BodyTerm(made, args, own, target, node))

    def read(self, read: Read, mapping: Mapping, context: Guard) -> int:
        index = tuple(substitute(e, mapping) for e in read.index)
        if mapping and any(e.has(quotient, modulo) for e in index):
            index = tuple(simplify_index(e, self.known) for e in index)
        guard = _joined(tuple(c.substitute(dict(mapping)) for c in read.guard) if mapping else read.guard, context)
        source = read.source
        if not self.joins(source) and not is_uniform(source):
            key = ("read", source, index, guard, read.fill)
            return self.add(key, ReadTerm(source, index, guard, read.fill, read.dtype))
        if isinstance(source, Constant):
            value: int
            if is_uniform(source):
                value = self.number(source)
            else:
                key = ("read", source, index, guard, read.fill)
                return self.add(key, ReadTerm(source, index, guard, read.fill, read.dtype))
        else:
            assert isinstance(source, Compute)
            self.members.append(source)
            value = self.body(source, {axis(k): e for k, e in enumerate(index)}, guard)
        if not read.guard:
            return value
        own = tuple(c.substitute(dict(mapping)) for c in read.guard)
        return self.add(("select", own, value, read.fill), SelectTerm(own, value, read.fill, read.dtype))

    def joins(self, source: Node) -> bool:
        if source in self.inliner.inlined:
            return True
        is_map = isinstance(source, Compute) and source.reducer is None and source not in self.inliner.procedure.given
        if not is_map or self.left <= 1:
            return False
        self.left -= 1
        return True

    def number(self, node: Constant) -> int:
        item = node.array.ravel()[0]
        if node.dtype.is_floating_point:
            x = float(item)
            if x == 0 and np.signbit(item):  # SymPy's zero has no sign
                zero = Step("literal", (), node.dtype, sympy.S.Zero)
                made = Recipe((zero, Step("neg", (0,), node.dtype)))
                return self.add(("number", node), BodyTerm(made, (), {}, node.dtype, node))
            exact = sympy.nan if x != x else sympy.oo if x == np.inf else -sympy.oo if x == -np.inf else _rational(x)
        else:
            exact = sympy.Integer(int(item))
        made = recipe(exact, (), node.dtype)
        return self.add(("number", node), BodyTerm(made, (), {}, node.dtype, node))

    def scatter(self, node: Scatter) -> tuple[int, tuple[sympy.Expr, ...], Guard]:
        indices = [*node.index, *(c.expr for c in node.guard)]
        args, mapping = self.arguments(node.reads, {}, (), indices)
        made = recipe(node.body, tuple((placeholder(k), r.dtype) for k, r in enumerate(node.reads)), node.dtype)
        self.terms.append(BodyTerm(made, args, {}, node.dtype, node))
        index = tuple(substitute(e, mapping) for e in node.index)
        guard = tuple(c.substitute(mapping) for c in node.guard)
        return len(self.terms) - 1, index, guard


def term_numbers(exprs: Iterable[sympy.Basic]) -> list[int]:
    """The terms that these index expressions mention, ascending."""
    found = {int(s.name[5:]) for e in exprs for s in e.free_symbols if s.name.startswith("term ")}
    return sorted(found)


def _exprs(term: Term) -> list[sympy.Basic]:
    if isinstance(term, ReadTerm):
        return [*term.index, *(c.expr for c in term.guard)]
    if isinstance(term, SelectTerm):
        return [c.expr for c in term.guard]
    return list(term.where.values())


def index_terms(op: Op) -> dict[int, None]:
    """The terms that index expressions of this op mention."""
    exprs: list[sympy.Basic] = [*op.index, *(c.expr for c in op.guard)]
    for t in op.terms:
        exprs += _exprs(t)
    return dict.fromkeys(term_numbers(e for e in exprs if not isinstance(e, (Axis, ReduceAxis))))


def closure(terms: list[Term], numbers: list[int]) -> list[int]:
    """The terms that these depend on, in order."""
    todo, found = list(numbers), set(numbers)
    while todo:
        t = terms[todo.pop()]
        more = t.args if isinstance(t, BodyTerm) else (t.value,) if isinstance(t, SelectTerm) else ()
        for m in (*more, *term_numbers(_exprs(t))):
            if m not in found:
                found.add(m)
                todo.append(m)
    return sorted(found)


def _renumbered(term: Term, position: Mapping[int, int], moved: Mapping[sympy.Expr, sympy.Expr]) -> Term:
    names = dict(moved)
    if isinstance(term, ReadTerm):
        return ReadTerm(term.source, tuple(e.xreplace(names) for e in term.index),
                        tuple(c.substitute(names) for c in term.guard), term.fill, term.dtype)
    if isinstance(term, SelectTerm):
        return SelectTerm(tuple(c.substitute(names) for c in term.guard), position[term.value], term.fill, term.dtype)
    where = {s: e.xreplace(names) for s, e in term.where.items()}
    return BodyTerm(term.recipe, tuple(position[a] for a in term.args), where, term.dtype, term.node)


def _rational(x: float) -> sympy.Expr:
    return sympy.Rational(*x.as_integer_ratio())


def _joined(guard: Guard, context: Guard) -> Guard:
    return tuple(dict.fromkeys((*context, *guard)))


def substitute(expr: sympy.Expr, mapping: Mapping) -> sympy.Expr:
    if not mapping or expr.is_Integer:
        return expr
    found = mapping.get(expr)
    if found is not None:
        return found
    return expr if expr.is_Symbol else expr.xreplace(dict(mapping))


def _value_type(node: Compute) -> DType:
    """What the body of a reduction is computed in: argmax and any look at the operands' own type."""
    if node.reducer in (*ARG_REDUCERS, "any", "all"):
        types = [r.dtype for r in node.reads]
        if isinstance(node.body, Placeholder) and types:
            return types[int(node.body.name[1:])].compute
        floats = [t for t in types if t.is_floating_point]
        if node.reducer in ("any", "all"):
            return node.dtype
        return floats[0].compute if floats else types[0] if types else node.dtype
    return node.dtype


__all__ = ["ARG", "KERNEL", "MAP", "REDUCE", "SCAN", "SCATTER", "BodyTerm", "Inliner", "Op", "ReadTerm", "SelectTerm",
           "Term", "is_product", "is_uniform", "needed", "reduce_axis", "substitute", "term_symbol"]

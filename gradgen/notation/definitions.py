"""From nodes to definitions: what stands on the line of each named tensor (gradgen.notation.naming says which have one).

Only the definitions that will be printed are built; the time for a graph is linear in its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import sympy

from gradgen.ir.draws import described
from gradgen.ir.graph import Graph
from gradgen.ir.guards import EQ, Guard
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Read, Scan, Scatter
from gradgen.ir.scalar_table import ScalarFunction, record_of
from gradgen.ir.symbols import Axis, Dim, Extent, Placeholder, ReduceAxis, axes, placeholder, reduce_axis, shown_fill
from gradgen.notation import terms as tm
from gradgen.notation.letters import Letters
from gradgen.notation.naming import LONGEST, Plan, Wanted, measure, uniform, walk
from gradgen.notation.terms import Datum, Element, Index, Integral, Letter, Number, Term

ELEMENTS = 8
"""Elements of a packed tensor that a comment shows."""


@dataclass(frozen=True, slots=True)
class Definition:
    """`name[index] sign term` for every letter in its range; `over` are the loops of an update (a Scatter)."""

    name: str
    index: tuple[Index, ...]
    sign: str
    term: Term
    extents: tuple[tuple[Letter, Extent], ...] = ()
    over: tuple[tuple[Letter, Extent], ...] = ()
    guard: Term | None = None
    node: Node | None = None
    wanted: bool = False
    details: tuple[Definition, ...] = ()  # the step of a Scan
    note: str = ""


# --- building --------------------------------------------------------------------------------------------------------


@dataclass
class Builder:
    """Builds the terms of definitions under a plan.  Recursion goes through unnamed nodes only: bounded by LONGEST."""

    named: Mapping[Node, str]
    letters: Letters
    split: int = 0  # greatest number of lines for the elements of a packed tensor
    omit: frozenset[Node] = frozenset()
    data: dict[Term, Datum] = field(default_factory=dict)
    meaning: dict[sympy.Symbol, Term] = field(default_factory=dict)

    def define(self, node: Node, name: str, sign: str = "=") -> list[Definition]:
        """The definition of `node`; an update of something else than zeros takes two."""
        used: set[str] = set()
        if isinstance(node, Scatter):
            return self._scatter(node, name, sign)
        own, extents = self.own_index(node, used)
        index = tuple(Index(s) for s in own)
        if isinstance(node, Compute):
            term = self.compute(node, dict(zip(axes(node.ndim), own)), used)
        else:
            term = self.opaque(node, own)
        details = self._step(node) if isinstance(node, Scan) else ()
        whole = Definition(name, index, sign, term, extents, node=node, details=details)
        return elements(whole, self.split) if self.split and isinstance(node, Compute) else [whole]

    def alias(self, node: Node, name: str, sign: str) -> Definition:
        """`name = ` the element of a tensor that is defined elsewhere."""
        used: set[str] = set()
        own, extents = self.own_index(node, used)
        term = self.source(node, own, used)
        return Definition(name, tuple(Index(s) for s in own), sign, term, extents, node=node)

    def own_index(
        self, node: Node, used: set[str]
    ) -> tuple[tuple[sympy.Expr, ...], tuple[tuple[Letter, Extent], ...]]:
        """The index of a definition: a letter per axis, 0 for one of extent 1; and the letters with their extents."""
        own: list[sympy.Expr] = []
        extents: list[tuple[Letter, Extent]] = []
        for k, extent in enumerate(node.shape):
            if extent == 1:
                own.append(sympy.S.Zero)
                continue
            chosen = self.letters.choose((node, "i", k), used)
            own.append(chosen)
            extents.append((chosen, extent))
        return tuple(own), tuple(extents)

    def opaque(self, node: Node, own: tuple[sympy.Expr, ...]) -> Term:
        """Constants, kernels and scans: named calls on whole tensors."""
        if isinstance(node, Constant):
            value = uniform(node)
            if value is not None:
                return Number(value)
            if node.ndim == 1 and node.array.size <= 8:
                return tm.Apply("list", tuple(Number(_exact(v)) for v in node.array.tolist()))
            return tm.Apply(f"constant {node.dtype.name} {list(node.shape)}", ())
        if isinstance(node, Kernel):
            flags = [name for name, value in node.attributes if value is True]  # type: ignore[attr-defined]
            name = "_".join([*flags, node.name])  # type: ignore[attr-defined]
            found = tm.Apply(name, tuple(self._whole(s) for s in node.operands))  # type: ignore[attr-defined]
            return tm.Apply(f"part{node.output}", (found,)) if node.output else found  # type: ignore[attr-defined]
        if isinstance(node, Scan):
            operands = [*node.init, *node.sequences, *node.constants]
            parts = [self._whole(s) for s in operands]
            return tm.Apply("scan", (*parts, Number(sympy.Integer(node.output))))
        return Element(self.named[node], tuple(Index(s) for s in own))

    def _whole(self, node: Node) -> Term:
        value = uniform(node) if isinstance(node, Constant) else None
        return Element(self.named[node]) if value is None else Number(value)

    def _step(self, node: Scan) -> tuple[Definition, ...]:
        return _step_definitions(node.step, len(node.init))

    def compute(self, node: Compute, env: dict[sympy.Expr, sympy.Expr], used: set[str]) -> Term:
        """The value of `node` at the index that `env` gives for its axes."""
        word = described(node)
        if word is not None:
            return Element(word, tuple(self.index(env[a]) for a in axes(node.ndim)))
        scope = set(used)
        env = dict(env)
        over: list[tuple[Letter, Extent]] = []
        for k, extent in enumerate(node.reduce_shape):
            chosen = self.letters.choose((node, "r", k), scope)
            env[reduce_axis(k)] = chosen
            over.append((chosen, extent))
        values = self.reads(node.reads, env, scope)
        term = self.body(node.body, values, env)
        if node.reducer is not None:
            term = tm.reduce(node.reducer, tuple(over), term)
        return self._converted(node, term)

    def _converted(self, node: Compute, term: Term) -> Term:
        """Conversions that lose something are written down."""
        if node.reducer is not None or len(node.reads) != 1 or node.body != placeholder(0):
            return term
        source = node.reads[0].dtype
        if node.dtype.category >= source.category:
            return term
        return tm.Apply("ne", (term, tm.ZERO)) if node.dtype.category == 0 else tm.Apply("trunc", (term,))

    def reads(self, reads: Sequence[Read], env: dict[sympy.Expr, sympy.Expr], scope: set[str]) -> list[Term]:
        """One term per read; `env` grows by those that stand in later indices."""
        values: list[Term] = []
        for k, read in enumerate(reads):
            index = tuple(tm.substituted(e, env) for e in read.index)
            value = self.source(read.source, index, scope)
            if read.guard:
                value = tm.choose(self.condition(read.guard, env), value, Number(shown_fill(read.fill)))
            values.append(value)
            if not read.dtype.is_floating_point:
                env[placeholder(k)] = self._datum(value)
        return values

    def _datum(self, value: Term) -> sympy.Expr:
        if isinstance(value, Integral) and not value.index.data:
            return value.index.expr
        if isinstance(value, Number):
            return value.value
        found = self.data.get(value)
        if found is None:
            found = self.data[value] = Datum(f"d{len(self.data)}", integer=True)
            self.meaning[found] = value
        return found

    def _used_data(self, exprs: Iterable[sympy.Expr]) -> tuple[tuple[Datum, Term], ...]:
        found = {s for e in exprs if not e.is_Integer for s in e.free_symbols if isinstance(s, Datum)}
        return tuple((s, self.meaning[s]) for s in sorted(found, key=lambda s: int(s.name[1:])))

    def index(self, expr: sympy.Expr) -> Index:
        return Index(expr, self._used_data([expr]))

    def condition(self, guard: Guard, env: Mapping[sympy.Expr, sympy.Expr]) -> Term:
        moved = tuple(c.substitute(dict(env)) for c in guard)
        return tm.Condition(moved, self._used_data([c.expr for c in moved]))

    def source(self, node: Node, index: tuple[sympy.Expr, ...], scope: set[str]) -> Term:
        if node in self.omit:
            return tm.OMITTED
        if isinstance(node, Constant):
            value = uniform(node)
            if value is not None and node not in self.named:
                return Number(value)
        if node in self.named:
            return Element(self.named[node], tuple(self.index(e) for e in index))
        if isinstance(node, Compute):
            return self.compute(node, dict(zip(axes(node.ndim), index)), scope)
        return tm.OMITTED

    def _scatter(self, node: Scatter, name: str, sign: str) -> list[Definition]:
        found: list[Definition] = []
        if node.base is not None:
            used: set[str] = set()
            own, extents = self.own_index(node, used)
            base = self.source(node.base, own, used)
            found.append(Definition(name, tuple(map(Index, own)), "=", base, extents, node=node))
        used = set()
        loops = tuple(self.letters.choose((node, "u", k), used) for k in range(len(node.update_shape)))
        env: dict[sympy.Expr, sympy.Expr] = dict(zip(axes(len(loops)), loops))
        values = self.reads(node.reads, env, used)
        term = self.body(node.body, values, env)
        index = tuple(self.index(tm.substituted(e, env)) for e in node.index)
        signs = {"set": "=", "add": "+=", "max": "max=", "min": "min=", "prod": "*="}
        guard = self.condition(node.guard, env) if node.guard else None
        over = tuple(zip(loops, node.update_shape))
        found.append(Definition(name, index, signs[node.mode], term, (), over, guard, node))
        return found

    def body(self, body: sympy.Expr, values: Sequence[Term], env: Mapping[sympy.Expr, sympy.Expr]) -> Term:
        if measure(body)[0] > 4 * LONGEST:
            return tm.OMITTED
        return self._body(body, values, env)

    def _body(self, e: Any, values: Sequence[Term], env: Mapping[sympy.Expr, sympy.Expr]) -> Term:
        if isinstance(e, Placeholder):
            return values[int(e.name[1:])]
        if e in (sympy.true, sympy.false):
            return Number(sympy.Integer(int(e is sympy.true)))
        if not e.has(ScalarFunction):
            if e.is_number:
                return Number(e)
            if all(isinstance(s, (Axis, ReduceAxis, Dim)) for s in e.free_symbols) and e.is_integer:
                return Integral(self.index(tm.substituted(e, env)))
        args = [self._body(a, values, env) for a in e.args]
        if isinstance(e, sympy.Add):
            return tm.add(args)
        if isinstance(e, sympy.Mul):
            return tm.multiply(args)
        if isinstance(e, sympy.Pow):
            return tm.power(*args)
        if isinstance(e, ScalarFunction):
            return applied(e.key, args)
        return Integral(self.index(tm.substituted(e, env)))


def applied(key: str, args: list[Term]) -> Term:
    """A scalar function over terms, arithmetic as arithmetic."""
    if key == "div":
        return tm.multiply(args[:1], args[1:])
    if key == "pow":
        return tm.power(*args)
    record = record_of(key)
    if record is not None and record.identity:
        return args[0]
    if key == "rsqrt":
        return tm.multiply((), (tm.Apply("sqrt", (args[0],)),))
    if key == "select":
        return tm.choose(*args)
    return tm.Apply(key, tuple(args))


def _exact(value: Any) -> sympy.Expr:
    return sympy.Rational(value) if isinstance(value, float) and math.isfinite(value) else sympy.sympify(value)


@lru_cache(maxsize=256)
def _step_definitions(step: Graph, carries: int) -> tuple[Definition, ...]:
    """Several results of one recurrence have one step, recurrences in it likewise."""
    names = [f"new_{n.name}" for n in step.inputs[:carries]]
    names += [f"out{k}" for k in range(len(step.outputs) - len(names))]
    return tuple(definitions([Wanted(n, name) for n, name in zip(step.outputs, names)])[0])


# --- all together ----------------------------------------------------------------------------------------------------


def definitions(
    wanted: Sequence[Wanted],
    names: Mapping[Node, str] | None = None,
    *,
    limit: int | None = None,
    links: Iterable[tuple[Node, Node]] = (),
    split: bool = True,
) -> tuple[list[Definition], int]:
    """The definitions of `wanted` and of the intermediates they need, sources first, and how many were left out.

    `names` gives names to nodes (the user's); `limit` is the greatest number of definitions, wanted ones among them.
    With `split`, tensors packed from scalars have one definition an element.
    """
    names = dict(names or {})
    chosen = {n: name for n, name in names.items() if not isinstance(n, Input)}
    plan = Plan(wanted, {}, chosen.values())
    if chosen:
        plan = _with_names(wanted, chosen)
    taken = {w.name for w in wanted} | set(plan.named.values()) | {n.name for n in plan.order if isinstance(n, Input)}
    taken |= {s.name for n in plan.order for e in n.shape if not isinstance(e, int) for s in e.free_symbols}
    lines = 0 if not split else ELEMENTS if limit is not None else 1 << 16
    builder = Builder(plan.named, Letters(plan.order, taken, links), lines)
    first = {w.node: w for w in reversed(wanted) if plan.named.get(w.node) == w.name and not isinstance(w.node, Input)}
    own = [n for n in plan.named if not isinstance(n, Input) and n not in first]
    kept = own if limit is None else own if len(own) + len(wanted) <= limit else own[: max(limit - len(wanted) - 1, 0)]
    shown = {*kept, *first}
    found: list[Definition] = []
    for node in plan.named:
        if node in shown:
            w = first.get(node)
            made = builder.define(node, plan.named[node], w.sign if w else "=")
            found.extend(_marked(d, w is not None) for d in made)
    for w in wanted:
        if first.get(w.node) is not w:
            found.append(_marked(builder.alias(w.node, w.name, w.sign), True))
    return found, len(own) - len(kept)


def elements(d: Definition, limit: int) -> list[Definition]:
    """A tensor that is a sum of scalars, each at one place, element by element; else the definition itself."""
    parts = d.term.terms if isinstance(d.term, tm.Sum) else (d.term,)
    own = {s: e for s, e in d.extents}
    found: dict[tuple[int, ...], list[Term]] = {}
    for part in parts:
        place = _place(part, own)
        if place is None or not isinstance(part, tm.Choice):
            return [d]
        found.setdefault(place, []).append(part.then)
    made = []
    for place in sorted(found)[:limit]:
        at = dict(zip(own, map(sympy.Integer, place)))
        index = tuple(Index(tm.substituted(i.expr, at)) for i in d.index)
        made.append(Definition(d.name, index, d.sign, tm.add(found[place]), node=d.node))
    if len(found) > limit:
        return [*made, replace(d, term=tm.OMITTED, note=f"and {len(found) - limit} more elements")]
    if d.sign == "=" and len(found) != math.prod(e if isinstance(e, int) else 0 for e in own.values()):
        made.append(replace(d, term=tm.ZERO, note="elsewhere"))
    return made


def _place(part: Term, own: Mapping[Letter, Extent]) -> tuple[int, ...] | None:
    """The index at which alone the guard of `part` holds."""
    if not isinstance(part, tm.Choice) or not isinstance(part.condition, tm.Condition) or part.otherwise != tm.ZERO:
        return None
    at: dict[Letter, int] = {}
    for c in part.condition.guard:
        letters = [s for s in c.expr.free_symbols if s in own]
        solution = c.expr - letters[0] if len(letters) == 1 and c.kind == EQ else None
        if solution is None or not solution.is_Integer:
            return None
        at[letters[0]] = -int(solution)
    return tuple(at[s] for s in own) if set(at) == set(own) and not tm.letters_of(part.then) & set(own) else None


def names_in(d: Definition) -> list[str]:
    """The tensors that a definition mentions, in order of appearance."""
    found: dict[str, None] = {}
    stack: list[Term] = [d.term, *([d.guard] if d.guard else []), *(t for i in d.index for _, t in i.data)]
    while stack:
        t = stack.pop()
        if isinstance(t, Element):
            found[t.name] = None
        stack.extend(tm.children(t))
    return list(found)


def _marked(d: Definition, wanted: bool) -> Definition:
    return replace(d, wanted=wanted)


def _with_names(wanted: Sequence[Wanted], chosen: Mapping[Node, str]) -> Plan:
    """The user's own names end lines, but what is behind them is defined too."""
    outputs = {w.node for w in wanted}
    more = [Wanted(n, name) for n, name in chosen.items() if n not in outputs]
    reached = set(walk([w.node for w in wanted]))
    return Plan([*(m for m in more if m.node in reached), *wanted], {})

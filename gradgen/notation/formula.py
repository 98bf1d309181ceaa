"""Graphs as plain-text mathematics.

    z[n,j]       = b[j] + sum_i x[n,i] w[i,j]
    loss         = 1/(3N) sum_nj softplus(z[n,j]) - y[n,j] z[n,j]
    grad_w[i,j] += grad_loss/(3N) sum_n x[n,i] (sigmoid(z[n,j]) - y[n,j])

How to read it: letters in brackets run over their axes; a reduction reaches as far right as its brackets allow; `[c] x`
is x where c holds and 0 elsewhere.  Which values get a line of their own is decided in gradgen.notation.definitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Node
from gradgen.ir.symbols import Axis, ReduceAxis
from gradgen.notation.definitions import Builder, Definition, definitions, names_in
from gradgen.notation.letters import Letters
from gradgen.notation.naming import Plan, Wanted
from gradgen.notation.terms import OMITTED, Letter, Sum, Term, add
from gradgen.notation.text import index_text, text

__all__ = ["argument_formulas", "formulas", "links_of", "node_formula", "shortened", "wanted_of"]

LINES = 40
"""Lines that a comment shows by default."""


def wanted_of(program: Any) -> list[Wanted]:
    """The outputs of a Graph; of a Joint (gradgen.autodiff) also its gradients, as grad_<parameter>."""
    graph: Graph = program if isinstance(program, Graph) else program.graph
    found = [Wanted(n, name) for n, name in zip(graph.outputs, graph.output_names)]
    if graph is not program:
        pairs = zip(program.parameters, program.gradients)
        found += [Wanted(g, f"grad_{p.name}", "+=") for p, g in pairs if g is not None]
    return found


def links_of(program: Any) -> list[tuple[Node, Node]]:
    """Outputs and their cotangents, parameters and their gradients: each pair has one set of axes."""
    if isinstance(program, Graph):
        return []
    outputs = dict(zip(program.graph.output_names, program.graph.outputs))
    pairs = [(outputs[name], seed) for name, seed in program.seeds]
    return pairs + [(p, g) for p, g in zip(program.parameters, program.gradients) if g is not None]


def formulas(
    program: Any, names: Mapping[Node, str] | None = None, *, limit: int | None = None, align: bool = True
) -> list[str]:
    """One line per definition, sources first; `program` is a Graph or a Joint of forward and gradients.

    `names` gives the user's names for intermediate nodes, others are t1, t2, ... in order.  At most `limit` lines are
    made; the last one then says how many more there are.  Time is linear in the size of the graph.
    """
    found, omitted = definitions(wanted_of(program), names, limit=limit, links=links_of(program))
    lines = _lines(found, align)
    if omitted:
        lines.append(f"... and {omitted:,} more lines")
    return lines


def argument_formulas(
    program: Any, names: Mapping[Node, str] | None = None, *, limit: int = LINES
) -> dict[str, str]:
    """The formulas of a Graph or Joint by what they define: output names, and grad_<parameter> for gradients.

    A text is the definition itself and, on lines of their own beginning with "  where", the intermediate values that no
    earlier text has explained.
    """
    found, omitted = definitions(wanted_of(program), names, limit=limit, links=links_of(program))
    shared: dict[str, list[Definition]] = {}
    for d in found:
        if not d.wanted:
            shared.setdefault(d.name, []).append(d)
    texts: dict[str, list[str]] = {}
    for d in found:
        if d.wanted:
            lines = texts.setdefault(d.name, [])
            lines += _definition_lines(d, 0)
            lines += [f"  where {line}" for e in _explained(d, shared) for line in _definition_lines(e, 0)]
    if omitted and texts:
        next(iter(texts.values())).append(f"  ... and {omitted:,} more lines")
    return {name: "\n".join(lines) for name, lines in texts.items()}


def shortened(formula: str, lines: int, characters: int) -> str:
    """At most so many lines and characters of a formula, and a line that says how many more there are."""
    whole = formula.splitlines()
    kept: list[str] = []
    for line in whole[:lines]:
        if sum(map(len, kept)) + len(kept) + len(line) > characters:
            break
        kept.append(line)
    kept = kept or [line[: characters - 4] + " ..." if len(line) > characters else line for line in whole[:1]]
    omitted = [f"  ... and {len(whole) - len(kept):,} more lines"] if len(whole) > len(kept) else []
    return "\n".join([*kept, *omitted])


def _explained(d: Definition, shared: dict[str, list[Definition]]) -> list[Definition]:
    """The definitions behind `d` that are still in `shared`, sources first; they are taken out of it."""
    taken: dict[str, list[Definition]] = {}
    stack = [d]
    while stack:
        for name in names_in(stack.pop()):
            if name in shared and name not in taken:
                taken[name] = shared[name]
                stack.extend(shared[name])
    ordered = [name for name in shared if name in taken]
    return [e for name in ordered for e in shared.pop(name)]


def node_formula(
    node: Node,
    names: Mapping[Node, str],
    *,
    name: str | None = None,
    sign: str = "=",
    letters: Mapping[Axis | ReduceAxis, str] | None = None,
) -> str:
    """One line for one loop nest: `node` in terms of the nodes in `names`, everything between written out.

    `name` is what the value is called (default: names[node]); `letters` are the loop variables of the node's own axes.
    Parts too long for a line are shown as `...`.
    """
    target = name or names.get(node, "value")
    known = {n: s for n, s in names.items() if n is not node}
    plan = Plan([Wanted(node, target)], known)
    named = {n: s for n, s in plan.named.items() if n not in plan.auto or n is node}
    taken = {*named.values(), target}
    asked = Letters(plan.order, taken)
    if letters:
        for s, wish in letters.items():
            kind = "i" if isinstance(s, Axis) else "r"
            asked.letter[asked._find((node, kind, int(s.name[1:])))] = wish
    builder = Builder(named, asked, omit=frozenset(n for n in plan.auto if n is not node and n not in named))
    made = [replace(d, term=_gathered(d.term)) for d in builder.define(node, target, sign)]
    return "; ".join(line for d in made for line in _definition_lines(d, 0))


def _gathered(term: Term) -> Term:
    """Several omitted terms of a sum as one."""
    if not isinstance(term, Sum):
        return term
    said = [t for t in term.terms if t != OMITTED and getattr(t, "then", None) != OMITTED]
    return term if len(term.terms) - len(said) < 2 else add([*said, OMITTED])


# --- lines -----------------------------------------------------------------------------------------------------------


def left_text(d: Definition) -> str:
    return f"{d.name}[{','.join(map(index_text, d.index))}]" if d.index else d.name


def _right_text(d: Definition) -> str:
    found = text(d.term)
    if d.guard is not None:
        found += f"  if {text(d.guard)}"
    if d.over:
        found += f"  for {_ranges(d.over)}"
    return f"{found}  {d.note}" if d.note else found


def _ranges(over: Sequence[tuple[Letter, Any]]) -> str:
    return ", ".join(f"{s.name} < {e}" for s, e in over)


def _definition_lines(d: Definition, width: int) -> list[str]:
    left = left_text(d)
    lines = [f"{left}{' ' * max(width - len(left) - len(d.sign), 1)}{d.sign} {_right_text(d)}"]
    return lines + [f"    {line}" for line in _lines(d.details, True)]


def _lines(found: Sequence[Definition], align: bool) -> list[str]:
    widths = [len(left_text(d)) + 1 + len(d.sign) for d in found]
    width = min(max(widths, default=0), 24) if align else 0
    return [line for d in found for line in _definition_lines(d, width)]



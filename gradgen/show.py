"""Views of a traced function: what each stage makes of it, as text.  Part of the compiler's room."""

from __future__ import annotations

from typing import Any

from gradgen.codegen import demands
from gradgen.compiler.account import watched
from gradgen.compiler.pipeline import bodies, costs, generate, programs, stages, user_names
from gradgen.errors import GradgenError
from gradgen.ir.graph import Graph, serialise
from gradgen.loops.bill import Bill
from gradgen.notation.formula import formulas
from gradgen.options import Options
from gradgen.record.traced import views
from gradgen.trace.choice import prepared

VIEWS = {
    "formulas": "the mathematics, forward and gradient, one line a value",
    "latex": "the same for a document",
    "graph": "the nodes of the forward graph and of the gradients",
    "dot": "the graph for Graphviz",
    "passes": "what each pass over the graph, the nodes and the loops decided, or that it changed nothing",
    "program": "loops and buffers",
    "c": "the emitted C file",
    "stages": "seconds per stage",
    "cost": "the bill: flash, bytes kept for backward and of scratch by tensor, stack, multiply-adds, bytes moved",
}


def show(program: Any, what: str = "formulas", **options: Any) -> str:
    """The text of one view of a traced function; options are those of `build`.

    Raises GradgenError for a view that there is not.
    """
    if what not in VIEWS:
        raise GradgenError(f"there is no view {what!r}", hint="; ".join(f"{k}: {v}" for k, v in VIEWS.items()))
    program, rest = prepared(program, options)
    wanted = Options(**rest)
    if what == "c":
        return generate(program.graph, program.name, wanted)[f"{program.name}.c"]
    if what == "passes":
        return "\n".join(watched(lambda: programs(stages(program.graph, wanted))))
    made = stages(program.graph, wanted)
    if what == "cost":
        return "\n".join([str(costs(program.graph, program.name, wanted)), *_conditions(made)])
    subject = made.joint or made.graph
    names = user_names(made.graph)
    match what:
        case "formulas":
            return "\n".join([*formulas(subject, names), *_constants(program), *_conditions(made)])
        case "latex":
            from gradgen.notation.latex import latex

            return latex(subject, names)
        case "dot":
            from gradgen.notation.dot import dot

            return dot(subject)
        case "graph":
            return "\n".join(serialise(made.graph) + _gradient_lines(made))
        case "program":
            return "\n\n".join(p.describe() for p in programs(made))
    scheduled = programs(made)
    with made.stage("print"):
        bodies(scheduled)
    return "\n".join(f"{name:<14} {1e3 * seconds:9.1f} ms" for name, seconds in made.seconds.items())


def _constants(program: Any) -> list[str]:
    """What the trace took from outside: its values are part of the program, whatever becomes of the tensors."""
    return [f"constant {name}: {c.dtype.name}{list(c.shape)}, as it was when traced" for name, c in program.constants.items()]


def _gradient_lines(made: Any) -> list[str]:
    if made.joint is None:
        return []
    from dataclasses import replace

    found = [(p.name, g) for p, g in zip(made.joint.parameters, made.joint.gradients) if g is not None]
    graph = replace(made.graph, outputs=tuple(g for _, g in found), output_names=tuple(f"grad_{n}" for n, _ in found))
    return ["", "gradients", *serialise(graph)]


def bill(program: Any, name: str | None = None, **options: Any) -> Bill:
    """What the emitted module takes: flash, RAM by tensor, stack, multiply-adds, bytes moved; options are those of `emit`.

    `str` of it is a table; `value(N=32)` is the bill at these dimensions.
    """
    program, rest = prepared(program, options)
    wanted = Options(**rest)
    return costs(program.graph, name or program.name, wanted)


def _conditions(made: Any) -> list[str]:
    """What is asked of the named dimensions, and by which line."""
    return [f"needs {line}" for line in demands.lines(made.graph.conditions)]


def _to_sympy(graph: Graph) -> Any:
    from gradgen.notation.sympy_view import to_sympy  # seldom used

    return to_sympy(graph)


views.text, views.bill, views.to_sympy = show, bill, _to_sympy

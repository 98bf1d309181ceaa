"""Graphs in Graphviz' dot language: one room per node, forward and backward in clusters; the text is deterministic."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradgen.errors import GradgenError
from gradgen.ir.graph import Graph, Location
from gradgen.ir.nodes import Compute, Constant, Input, Kernel, Node, Scan, Scatter
from gradgen.notation.formula import wanted_of
from gradgen.notation.naming import uniform, walk

ROOMS = 400
"""Rooms drawn by default: Graphviz takes minutes for thousands."""


def dot(program: Any, names: Mapping[Node, str] | None = None, *, limit: int = ROOMS) -> str:
    """A Graph, or a Joint of forward and gradients, as dot text.

    A room shows the user's operation and line (or what the node does), its name, dtype and shape; a dashed edge is a
    read behind a guard.  Beyond `limit` nodes only the first and the last halves are drawn.
    """
    wanted = wanted_of(program)
    graph: Graph = program if isinstance(program, Graph) else program.graph
    where: Mapping[Node, Location] = graph.where if graph is program else program.where
    order = walk([w.node for w in wanted])
    left_out = max(len(order) - limit, 0)
    shown = order if not left_out else [*order[: limit // 2], *order[-(limit - limit // 2):]]
    number = {n: k for k, n in enumerate(order)}
    forward = set(walk(graph.outputs)) | set(graph.inputs)
    known = {w.node: w.name for w in wanted} | dict(names or {})
    rooms = {n: _room(number[n], n, known.get(n), where.get(n)) for n in shown}
    lines = ["digraph gradgen {", *_STYLE]
    lines += _cluster("forward", [rooms[n] for n in shown if n in forward])
    lines += _cluster("backward", [rooms[n] for n in shown if n not in forward])
    lines += [e for n in shown for e in _edges(n, number, rooms)]
    if left_out:
        lines.append(f'  more [shape=plaintext, label="... and {left_out:,} more nodes"];')
    return "\n".join([*lines, "}"]) + "\n"


_STYLE = (
    "  rankdir=TB;",
    '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="Helvetica", fontsize=11];',
    "  edge [color=gray40, arrowsize=0.7];",
)


def _cluster(name: str, rooms: Sequence[str]) -> list[str]:
    if not rooms:
        return []
    return [f"  subgraph cluster_{name} {{", f'    label="{name}"; color=gray70; fontname="Helvetica";',
            *(f"    {r}" for r in rooms), "  }"]


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _room(k: int, node: Node, name: str | None, where: Location | None) -> str:
    title = node.name if isinstance(node, Input) else where.operation if where else _kind(node)
    parts = [title if name is None or name == title else f"{name} = {title}"]
    parts.append(f"{node.dtype.name} [{', '.join(map(str, node.shape))}]")
    if where is not None and not isinstance(node, Input):
        parts.append(f"{where.file}:{where.line}")
    label = "\\n".join(_quote(p) for p in parts)
    colour = {Input: "lightblue", Constant: "gray92"}.get(type(node), "white")
    if isinstance(node, Input) and node.requires_grad:
        colour = "lightgoldenrod1"
    extra = "" if colour == "white" else f", fillcolor={colour}"
    return f'n{k} [label="{label}"{extra}];'


def _kind(node: Node) -> str:
    """What the node does, in a word or two."""
    match node:
        case Constant():
            value = uniform(node)
            return "constant" if value is None else str(value) if value.is_Integer else f"{float(value):g}"
        case Compute(reducer=None):
            return str(node.body) if len(str(node.body)) <= 40 else "compute"
        case Compute():
            return f"{node.reducer} {node.body}" if len(str(node.body)) <= 40 else str(node.reducer)
        case Scatter():
            return f"scatter {node.mode}"
        case Scan():
            return f"scan {node.length}"
        case Kernel():
            return str(node.name)  # type: ignore[attr-defined]
    return type(node).__name__.lower()


def _edges(node: Node, number: Mapping[Node, int], rooms: Mapping[Node, str]) -> Iterable[str]:
    guarded: dict[Node, bool] = dict.fromkeys(node.sources, False)
    if isinstance(node, (Compute, Scatter)):
        for r in node.reads:
            guarded[r.source] = guarded[r.source] or bool(r.guard)
    for source, dashed in guarded.items():
        if source in rooms:
            yield f"  n{number[source]} -> n{number[node]}{' [style=dashed]' if dashed else ''};"


def svg(dot_text: str) -> str:
    """The drawing as SVG, by the `dot` program of Graphviz.  Raises GradgenError where it is missing or fails."""
    program = shutil.which("dot")
    if program is None:
        raise GradgenError("drawing needs the program `dot`, which is not installed",
                           hint="install Graphviz, or take the dot text (--dot) and draw it elsewhere")
    done = subprocess.run([program, "-Tsvg"], input=dot_text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GradgenError("dot failed", where=done.stderr.strip())
    return done.stdout

"""Random graphs as programs: their outputs, and forward, backward and both in one of what is differentiable."""

from __future__ import annotations

from random import Random

from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph
from gradgen.ir.nodes import Constant, Input, Node, Scatter
from gradgen.ir.symbols import Extent
from gradgen.loops.procedure import Procedure
from tests.fuzz.random_graphs import Generator
from tests.fuzz.random_graphs import procedure as random_procedure
from tests.sweep.calls import Program

SIZES = (0, 1, 2, 7, 33)


class Differentiable(Generator):
    """Every floating input wants a gradient."""

    def input(self, shape: tuple[Extent, ...], dtype: DType | None = None) -> Input:
        kind = dtype or self.dtype
        node = Input(f"x{len(self.inputs)}", shape, kind, kind.is_floating_point)
        self.inputs.append(node)
        return node

    def scatter(self) -> Node | None:
        node = super().scatter()
        alone = isinstance(node, Scatter) and node.base is None and node.mode != "add"  # no operation is that
        return None if alone else node


def differentiable(seed: int) -> Program:
    """A random graph with gradients by all of its floating inputs; sizes are named in every second one."""
    random = Random(seed)
    g = Differentiable(random, seed % 2 == 0)
    while len(g.pool) < 2 + seed % 11 or not any(n.dtype.is_floating_point for n in g.pool[-3:]):
        g.step()
    last: list[Node] = [n for n in g.pool[-3:] if not isinstance(n, (Input, Constant))] or [g.unary()]
    outputs = tuple(dict.fromkeys(last))
    graph = Graph(tuple(g.inputs), outputs, tuple(f"out{k}" for k in range(len(outputs))))
    return Program(f"differentiable_{seed}", graph, sizes=SIZES)


def plain(seed: int) -> tuple[Program, Procedure]:
    """One procedure with results stored and added, optional and not, some of them in SAVED."""
    made = random_procedure(seed, 2 + seed % 13, seed % 2 == 0)
    graph = Graph(tuple(n for n in made.given if isinstance(n, Input)), tuple(dict.fromkeys(o.node for o in made.outputs)),
                  tuple(f"o{k}" for k in range(len({o.node for o in made.outputs}))))
    return Program(f"plain_{seed}", graph, sizes=SIZES), made

"""The traced program: a Graph with names, what is known of its arguments, and where its values come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradgen.ir import dtypes
from gradgen.ir.draws import STATE
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph
from gradgen.ir.symbols import Extent
from gradgen.record.dimensions import Dimension


class Views:
    """How a program is shown: entered by the modules that say mathematics and make C."""

    text: Callable[..., str]
    """(program, what, **options) as text."""
    bill: Callable[..., Any]
    """(program, **options) as what its module takes."""
    to_sympy: Callable[[Graph], Any]


views = Views()


@dataclass(frozen=True)
class Spec:
    """What an argument will be: extents (an int, or a name for a dimension known at run time), dtype, gradient or not;
    `dimensions` say more about some of the names."""

    shape: tuple[Extent, ...]
    dtype: DType = dtypes.float32
    requires_grad: bool = False
    dimensions: tuple[Dimension, ...] = ()


@dataclass(frozen=True, eq=False)
class TracedFunction:
    """A function as a Graph: what `trace` and `from_sympy` return and `build`, `emit`, `show` and `check` take.

    `graph.inputs` are the arguments in order (`requires_grad` set where a gradient is wanted), `graph.outputs` the
    results with their names.  `function` is the Python function, where there is one; `again` makes the program anew from
    other specs of the same arguments.  `constants` are the tensors from outside whose values, as they were, are part of it;
    `state` are the values, as they were, of a model's parameters and buffers by their paths, in the order of its state_dict,
    and of those that it replaces (`graph.states`) by their names; `names` has the name of the input for each path, `aliases`
    the path that each further path of a tied parameter is the same as, `order` the paths of the model's state_dict.
    """

    graph: Graph
    name: str
    function: Callable[..., Any] | None = None
    specs: Mapping[str, Spec] = field(default_factory=dict)
    again: Callable[[Mapping[str, Spec]], TracedFunction] | None = None
    constants: Mapping[str, Spec] = field(default_factory=dict)
    state: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    def __repr__(self) -> str:
        ins = ", ".join(f"{n.name}: {n.dtype.name}{list(n.shape)}{'*' if n.requires_grad else ''}" for n in self.graph.inputs
                        if n is not STATE)
        outs = ", ".join(f"{name}: {n.dtype.name}{list(n.shape)}" for name, n in zip(self.graph.output_names,
                                                                                    self.graph.outputs))
        return f"<traced {self.name}({ins}) -> {outs}; {len(self.graph.nodes)} nodes>"

    def to_sympy(self) -> Any:
        """The mathematics as ordinary SymPy: (definitions of shared values, outputs)."""
        return views.to_sympy(self.graph)

    def show(self, what: str = "formulas", **options: Any) -> None:
        """Prints the function: "formulas" (forward and gradient), "latex", "dot", "graph", "program", "c"."""
        print(views.text(self, what, **options))

    def bill(self, **options: Any) -> Any:
        """What the emitted module takes, a `gradgen.loops.bill.Bill`: flash, RAM by tensor, stack, multiply-adds."""
        return views.bill(self, **options)

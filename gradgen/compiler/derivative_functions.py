"""Derivative functions of a module beyond its gradient, as Procedures: products, dense and sparse matrices.

Part of the compiler's room: graphs come from autodiff, names and parameters from the Interface's conventions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gradgen.autodiff.compressed import SparseBlock, sparse_hessian, sparse_jacobian
from gradgen.autodiff.jacobian import hessian, hvp, jacobian, pushed, zeros_like
from gradgen.autodiff.joint import Joint
from gradgen.codegen.interface import HESSIAN, HESSIAN_VALUES, HVP, JACOBIAN, JACOBIAN_VALUES, JVP, Pattern
from gradgen.errors import DerivativeError
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph, Location
from gradgen.ir.nodes import Compute, Input, Node, identity_read
from gradgen.ir.symbols import placeholder
from gradgen.loops.procedure import Output, Place, Procedure
from gradgen.options import Options

Simplify = Callable[[Sequence[Node]], tuple[tuple[Node, ...], Mapping[Node, Location]]]


@dataclass
class Derivatives:
    """The procedures, in the order of the Interface's functions, and the patterns of sparse ones."""

    procedures: list[Procedure] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.procedures)


def derivative_functions(graph: Graph, joint: Joint, options: Options, simplified: Simplify) -> Derivatives:
    """What `options` asks for.  `graph` is the user's, before simplification; `joint` tells parameters and outputs.

    Raises DerivativeError where second derivatives are asked of anything but one scalar output, GradgenError where a
    sparse derivative has named dimensions.
    """
    return _Maker(graph, joint, options, simplified).run()


class _Maker:
    def __init__(self, graph: Graph, joint: Joint, options: Options, simplified: Simplify) -> None:
        self.graph, self.options, self.simplified = graph, options, simplified
        self.wrt = joint.parameters
        by_name = dict(zip(graph.output_names, graph.outputs, strict=True))
        self.outputs = [(name, by_name[name]) for name, _ in joint.seeds]
        self.made = Derivatives()

    def run(self) -> Derivatives:
        dense, sparse = self.options.derivatives, self.options.sparse
        if JVP in dense:
            self.jvp()
        if JACOBIAN in dense:
            self.jacobian()
        if HVP in dense:
            self.hvp()
        if HESSIAN in dense:
            self.hessian()
        if JACOBIAN in sparse:
            blocks = sparse_jacobian([o for _, o in self.outputs], self.wrt, nan_safe=self.options.nan_safe)
            self.sparse(JACOBIAN_VALUES, blocks, self.outputs)
        if HESSIAN in sparse:
            blocks = sparse_hessian(self.scalar(HESSIAN), self.wrt, nan_safe=self.options.nan_safe)
            self.sparse(HESSIAN_VALUES, blocks, [(w.name, w) for w in self.wrt])
        return self.made

    def scalar(self, what: str) -> Node:
        """The one scalar output that has second derivatives."""
        if len(self.outputs) != 1 or self.outputs[0][1].shape:
            listed = ", ".join(f"{name} {list(o.shape)}" for name, o in self.outputs)
            raise DerivativeError(f"{what} needs exactly one differentiable output, a scalar; here are: {listed}",
                                  hint="detach the others, or ask for jvp and jacobian")
        return self.outputs[0][1]

    def add(
        self, name: str, wanted: Sequence[tuple[str, Node]], directions: Sequence[tuple[Node, str]] = ()
    ) -> None:
        nodes, where = self.simplified([n for _, n in wanted])
        outputs = tuple(Output(n, Place(to, optional=True)) for n, (to, _) in zip(nodes, wanted, strict=True))
        given: dict[Node, Place] = {n: Place(n.name) for n in self.graph.inputs}
        given |= {d: Place(place, optional=True, default=0) for d, place in directions}
        self.made.procedures.append(Procedure(name, outputs, given, where))

    def directions(self, prefix: str) -> dict[Node, Node]:
        return {w: Input(f"{prefix}_{w.name}", w.shape, w.dtype) for w in self.wrt}

    def jvp(self) -> None:
        moved = self.directions("dot")
        found = pushed([o for _, o in self.outputs], moved, self.options.nan_safe)
        dots = [
            (f"dot_{name}", d if d is not None else zeros_like(o))
            for (name, o), d in zip(self.outputs, found, strict=True)
        ]
        values = list(zip(self.graph.output_names, self.graph.outputs, strict=True))
        self.add(JVP, [*values, *dots], _places(moved))

    def hvp(self) -> None:
        moved = self.directions("dir")
        found = hvp(self.scalar(HVP), self.wrt, moved, nan_safe=self.options.nan_safe)
        wanted = [(f"hvp_{w.name}", h if h is not None else zeros_like(w)) for w, h in zip(self.wrt, found, strict=True)]
        self.add(HVP, wanted, _places(moved))

    def jacobian(self) -> None:
        wanted = []
        for name, output in self.outputs:
            blocks = jacobian(output, self.wrt, nan_safe=self.options.nan_safe)
            wanted += [(f"jac_{name}_{w.name}", _cast(b, output.dtype)) for w, b in zip(self.wrt, blocks, strict=True)]
        self.add(JACOBIAN, wanted)

    def hessian(self) -> None:
        rows = hessian(self.scalar(HESSIAN), self.wrt, nan_safe=self.options.nan_safe)
        self.add(HESSIAN, [
            (f"hess_{a.name}_{b.name}", _cast(block, a.dtype))
            for a, row in zip(self.wrt, rows, strict=True) for b, block in zip(self.wrt, row, strict=True)
        ])

    def sparse(self, name: str, blocks: Sequence[Sequence[SparseBlock]], of: Sequence[tuple[str, Node]]) -> None:
        wanted = []
        for (row_name, rows), line in zip(of, blocks, strict=True):
            for w, block in zip(self.wrt, line, strict=True):
                start, column = tuple(block.pattern.start.tolist()), tuple(block.pattern.indices.tolist())
                pattern = Pattern(name, row_name, w.name, block.pattern.count, block.columns, start, column, block.colours)
                self.made.patterns.append(pattern)
                wanted.append((f"{pattern.name}_values", _cast(block.values, rows.dtype)))
        self.add(name, wanted)


def _places(moved: Mapping[Node, Node]) -> list[tuple[Node, str]]:
    return [(d, d.name) for d in moved.values()]  # type: ignore[attr-defined]


def _cast(node: Node, dtype: DType) -> Node:
    return node if node.dtype is dtype else Compute(node.shape, placeholder(0), [identity_read(node)], dtype)

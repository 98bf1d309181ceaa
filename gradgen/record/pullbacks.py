"""What one operation lowers to, on its own: result shapes, its vector-Jacobian product, and what that needs to keep.

The derivative of an operation is an operation too: `pullback(...)` lowers it on anonymous Inputs, lets autodiff
differentiate that small graph, writes the forward value where the derivative mentions it (so that it is saved, not
computed again) and replaces the Inputs by whatever nodes it is applied to.  Being an `Op`, it is recorded, evaluated and
differentiated like any other: that is all that `create_graph` needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import sympy

from gradgen.autodiff import gradients
from gradgen.ir import dtypes
from gradgen.ir.graph import topological
from gradgen.ir.nodes import Compute, Constant, Input, Node
from gradgen.ir.rewrite import with_sources
from gradgen.ir.symbols import Placeholder, axis
from gradgen.ops.registry import KEEP, OPS, Op, Saves
from gradgen.record.records import Attributes, Spec, spec

Mask = tuple[bool, ...]


class Notes:
    """What earlier processes found out, by a text that decides it: entered by who has a cache; else nothing is kept."""

    recalled: Callable[[str], Any] = staticmethod(lambda question: None)
    note: Callable[[str, Any], None] = staticmethod(lambda question, answer: None)


notes = Notes()


def lower_on(op: Op, specs: tuple[Spec, ...], attributes: Attributes) -> tuple[Node, ...]:
    """The nodes of all outputs of `op` over anonymous inputs x0, x1, ...; raises what the operation raises."""
    found = op.lower(*inputs_for(specs), **dict(attributes))
    return found if isinstance(found, tuple) else (found,)


def inputs_for(specs: tuple[Spec, ...], letter: str = "x") -> tuple[Input, ...]:
    return tuple(Input(f"{letter}{k}", s.shape, s.dtype) for k, s in enumerate(specs))


def infer(op: Op, specs: tuple[Spec, ...], attributes: Attributes) -> tuple[Spec, ...]:
    """Shapes and dtypes of the results."""
    return tuple(spec(n.shape, n.dtype) for n in lower_on(op, specs, attributes))


_MOVES = ("flip", "sort", "argsort", "index_fill", "slice_scatter", "select_scatter", "diagonal_scatter")
IN_ORDER = dict.fromkeys(_MOVES, True)
IN_ORDER |= dict.fromkeys(("masked_fill", "logsigmoid", "rrelu"), False)
"""Operations whose results PyTorch lays out as the operands lie although elements move, or row-major although they do not."""


def each_alone(op: Op, specs: tuple[Spec, ...], attributes: Attributes) -> bool:
    """Whether every element of the result depends on the operands' elements in its own place, and not on that place."""
    if op.name in IN_ORDER:
        return IN_ORDER[op.name]
    nodes = [n for n in topological(lower_on(op, specs, attributes)) if not isinstance(n, (Input, Constant))]
    return all(isinstance(n, Compute) and n.reducer is None and _in_place(n) for n in nodes)


def _in_place(node: Compute) -> bool:
    if any(not isinstance(s, Placeholder) for s in node.body.free_symbols):
        return False
    for read in node.reads:
        lead = len(node.shape) - len(read.index)
        if read.guard or lead < 0 or any(e not in (axis(lead + k), 0) for k, e in enumerate(read.index)):
            return False
    return True


def zeros_node(shape: tuple[Any, ...], dtype: Any) -> Node:
    return Compute(shape, sympy.Integer(0), [], dtype)


def instantiate(template: tuple[Node, ...], mapping: dict[Node, Node]) -> tuple[Node, ...]:
    """The template with its Inputs replaced."""
    new: dict[Node, Node] = {}
    for node in topological(template):
        if node in mapping:
            new[node] = mapping[node]
        else:
            new[node] = with_sources(node, new) if node.sources else node
    return tuple(new[n] for n in template)


@dataclass(frozen=True, eq=False)
class Pullback:
    """The vector-Jacobian product of one operation.

    `op` takes all inputs, all outputs, and the cotangents that are there; it gives one gradient per wanted input that
    has one.  `torch` is what PyTorch keeps, where it is not what is kept here.  `slots` are those inputs' positions,
    `specs` the gradients' shapes.  `saves_inputs` and `saves_outputs` tell which operands it reads; the others may
    be phantoms.
    """

    op: Op
    torch: Saves | None
    slots: tuple[int, ...]
    specs: tuple[Spec, ...]
    saves_inputs: Mask
    saves_outputs: Mask

    @cached_property
    def saved_inputs(self) -> tuple[int, ...]:
        return tuple(k for k, saved in enumerate(self.saves_inputs) if saved)

    @cached_property
    def saved_outputs(self) -> tuple[int, ...]:
        return tuple(k for k, saved in enumerate(self.saves_outputs) if saved)

    @cached_property
    def checked_inputs(self) -> tuple[int, ...]:
        """The inputs that must not have been changed in place since."""
        return self.saved_inputs if self.torch is None else self.torch.inputs_for(self.slots)

    @cached_property
    def checked_outputs(self) -> tuple[int, ...]:
        return self.saved_outputs if self.torch is None else self.torch.outputs

    @cached_property
    def saves(self) -> bool:
        return bool(self.saved_inputs or self.saved_outputs)


def pullback(op: Op, ins: tuple[Spec, ...], attributes: Attributes, wanted: Mask, given: Mask) -> Pullback:
    """For the inputs `wanted`, from cotangents of the outputs `given`.  Memoised by the caller (see apply.Plan).

    What is asked here of an operation of the library is kept on disk: code that an earlier process compiled is then
    found without differentiating anything.
    """
    question = ""
    if OPS.get(op.name) is op and all(type(e) is int for s in ins for e in s.shape):
        question = repr(("pullback", op.name, ins, attributes, wanted, given))
        if " at 0x" in question:  # an attribute without a lasting text
            question = ""
    facts = notes.recalled(question) if question else None
    if facts is None:
        facts = _facts(op, ins, attributes, wanted, given)
        if question:
            notes.note(question, facts)
    slots, specs, saves_inputs, saves_outputs = facts
    return Pullback(
        pullback_op(op, len(ins), wanted, given),
        op.saves,
        tuple(slots),
        tuple([spec(tuple(shape), dtypes.dtype(name)) for shape, name in specs]),
        tuple(saves_inputs),
        tuple(saves_outputs),
    )


def _facts(op: Op, ins: tuple[Spec, ...], attributes: Attributes, wanted: Mask, given: Mask) -> list[Any]:
    """Slots, shapes and dtypes of the gradients, and which inputs and outputs are read: what JSON can hold."""
    template = _template(op, ins, attributes, wanted, given)
    slots = tuple(k for k, w in enumerate(wanted) if w and template[k] is not None)
    present = tuple(n for n in template if n is not None)
    read = {n.name for n in topological(present) if isinstance(n, Input)}
    return [
        slots,
        [(n.shape, n.dtype.name) for n in present],
        [f"x{k}" in read for k in range(len(ins))],
        [f"y{k}" in read for k in range(len(given))],
    ]


@lru_cache(maxsize=8192)
def _template(
    op: Op, ins: tuple[Spec, ...], attributes: Attributes, wanted: Mask, given: Mask
) -> tuple[Node | None, ...]:
    """One gradient per input, over Inputs x0.. (inputs), y0.. (outputs), g0.. (cotangents)."""
    arguments = inputs_for(ins)
    results = lower_on(op, ins, attributes)
    chosen = [k for k, g in enumerate(given) if g]
    seeds = [Input(f"g{k}", results[k].shape, results[k].dtype) for k in chosen]
    wrt = [arguments[k] for k, w in enumerate(wanted) if w]
    found = gradients([results[k] for k in chosen], seeds, wrt)
    outputs: dict[Node, Node] = {}
    for k, result in enumerate(results):
        if not isinstance(result, Input):
            outputs.setdefault(result, Input(f"y{k}", result.shape, result.dtype))
    present = tuple(n for n in found if n is not None)
    replaced = iter(instantiate(present, outputs))
    by_wanted = iter([None if n is None else next(replaced) for n in found])
    return tuple(next(by_wanted) if w else None for w in wanted)


@lru_cache(maxsize=8192)
def pullback_op(op: Op, count: int, wanted: Mask, given: Mask) -> Op:
    """The operation behind `Pullback.op`: one for each set of gradients asked for, whatever the shapes."""

    def lower(*nodes: Node, **attributes: Any) -> tuple[Node, ...]:
        ins, rest = nodes[:count], nodes[count:]
        outs, cotangents = rest[: len(given)], rest[len(given) :]
        key = tuple(spec(n.shape, n.dtype) for n in ins)
        template = _template(op, key, tuple(sorted(attributes.items())), wanted, given)
        mapping: dict[Node, Node] = dict(zip(inputs_for(key), ins))
        mapping.update({Input(f"y{k}", n.shape, n.dtype): n for k, n in enumerate(outs)})
        chosen = [k for k, g in enumerate(given) if g]
        mapping.update({Input(f"g{k}", n.shape, n.dtype): n for k, n in zip(chosen, cotangents)})
        return instantiate(tuple(n for n in template if n is not None), mapping)

    label = "".join("01"[w] for w in wanted) + ("" if all(given) else "_" + "".join("01"[g] for g in given))
    name = f"{op.name}_backward_{label}"
    grad_name = op.grad_name.removesuffix("0") + "Backward0" if op.grad_name.endswith("Backward0") else op.grad_name
    results = range(count, count + len(given))
    return Op(name, lower, grad_name, KEEP, outputs=sum(wanted), results=results)

"""Recording an operation: promotion, casts, the record, and the grad_fn where history is wanted.

Everything that follows from the operation and its operands' shapes and dtypes alone is worked out once and kept as a
`Plan`; a call with a known plan makes its records and is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy

from gradgen.eager import engine
from gradgen.eager.grad_fn import Edge, OpNode, class_for
from gradgen.eager.layouts import of_result
from gradgen.eager.modes import state
from gradgen.eager.references import keys_held
from gradgen.eager.services import services
from gradgen.eager.storage import Cell
from gradgen.eager.tensor import Tensor
from gradgen.ir.dtypes import DType
from gradgen.ops.promotion import common_dtype, number_dtype
from gradgen.ops.registry import KEEP, Op, cast
from gradgen.ops.requirements import apart, ask_again
from gradgen.ops.sizes import SIZE
from gradgen.record.pullbacks import Mask, Pullback, each_alone, infer, pullback
from gradgen.record.records import Attributes, Record, Spec, leaf, operation_code, spec
from gradgen.record.user_lines import Origin, user_frame

MAX_DEPTH = 64
"""A chain of records longer than this is evaluated: the pieces of a long loop are alike, so that one of them compiled
serves all.  (200 steps of a recurrence, twice: half the compiler's time of pieces of 128, no more than of 40.)"""

_new = object.__new__

CAST = Op("to", lambda node, dtype: cast(node, dtype), "ToCopyBackward0", KEEP)


class Plan:
    """What is known about one operation on operands of given shapes, dtypes and kinds.

    `casts[k]` is the dtype operand k must be converted to, or None; `numbers[k]` the dtype of a Python number there.
    `ins` are the operands as the operation sees them, `outs` its results.
    """

    __slots__ = (
        "asked",
        "attributes",
        "casts",
        "codes",
        "differentiable",
        "each_alone_",
        "ins",
        "node_class",
        "numbers",
        "op",
        "outs",
        "phantom_ins",
        "phantom_outs",
        "plain",
        "pullbacks",
        "usual",
    )

    def __init__(self, op: Op, kinds: tuple[Any, ...], attributes: Attributes) -> None:
        self.op, self.attributes = op, attributes
        common = common_dtype(op.rule, kinds)
        ins: list[Spec] = []
        casts: list[DType | None] = []
        numbers: list[DType | None] = []
        for kind in kinds:
            if isinstance(kind, Spec):
                target = common or kind.dtype
                casts.append(target if target is not kind.dtype else None)
                numbers.append(None)
                ins.append(spec(kind.shape, target))
            else:
                number = common or number_dtype(kind)
                casts.append(None)
                numbers.append(number)
                ins.append(spec((), number))
        self.ins, self.casts, self.numbers = tuple(ins), tuple(casts), tuple(numbers)
        with apart() as own:
            self.outs = infer(op, self.ins, attributes)
        self.asked = tuple(own.asked)
        self.codes = tuple([operation_code(op, attributes, k, len(kinds)) for k in range(len(self.outs))])
        self.differentiable = any(s.dtype.is_floating_point for s in self.outs)
        self.node_class = class_for(op.grad_name)
        self.each_alone_: bool | None = None
        self.plain = not any(casts) and not any(numbers)
        self.pullbacks: dict[tuple[Mask, Mask], Pullback] = {}
        self.usual: dict[Mask, Pullback] = {}  # those from the cotangents of all outputs
        self.phantom_ins = tuple([s.phantom for s in self.ins])
        self.phantom_outs = tuple([s.phantom for s in self.outs])

    @property
    def each_alone(self) -> bool:
        """Whether PyTorch goes through its elements one by one, so that the result lies in memory as the operands do."""
        if self.each_alone_ is None:
            self.each_alone_ = each_alone(self.op, self.ins, self.attributes)
        return self.each_alone_

    def pullback(self, wanted: Mask, given: Mask) -> Pullback:
        found = self.pullbacks.get((wanted, given))
        if found is None:
            found = self.pullbacks[wanted, given] = pullback(self.op, self.ins, self.attributes, wanted, given)
            if all(given):
                self.usual[wanted] = found
        return found

    def unguarded(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The inputs and outputs that PyTorch saves, and checks in backward, even where no gradient is wanted.

        It asks which gradients are wanted only where an operation has several operands, and there only for what the
        derivative by one of them alone reads.
        """
        tensors = [k for k, s in enumerate(self.ins) if self.numbers[k] is None and s.dtype.is_floating_point]
        each = [self.pullback(tuple(k == n for n in range(len(self.ins))), (True,) * len(self.outs)) for k in tensors]
        read = [k for p in each for k in p.checked_inputs]
        inputs = tuple(k for k in dict.fromkeys(read) if len(each) == 1 or read.count(k) > 1)
        return inputs, tuple(dict.fromkeys(k for p in each for k in p.checked_outputs))


_plans: dict[tuple, Plan] = {}


def forget_plans() -> None:
    """After a change of the default dtype, which plans depend on."""
    _plans.clear()


_scalars: dict[tuple, Record] = {}


def number_record(value: Any, dtype: DType) -> Record:
    """A Python number as a 0-d leaf."""
    return leaf(np.asarray(value, dtype.numpy), dtype, is_scalar=True)


def plan_for(op: Op, operands: tuple[Any, ...], attributes: Attributes) -> tuple[Plan, list[Any], bool]:
    """The plan, the operands as records or Python numbers, and whether one of them may not lie row-major in memory."""
    key: list[Any] = [op, attributes]
    values: list[Any] = []
    moved = False
    for x in operands:
        if isinstance(x, Tensor):
            cell = x._cell
            if x._chain is None:
                record = cell.record
                if cell.strides is not None:
                    moved = True
            else:
                record, moved = x._view_record(), True
            if record is None:
                record = x._shared_record()
            key.append(record.spec)
            values.append(record)
        else:
            kind = type(x)
            if isinstance(x, sympy.Expr):  # a size of a trace in a formula stands for a Python number
                kind = int if x.is_integer else float
            elif kind is not float and kind is not int and kind is not bool:
                return plan_for(op, tuple(_operand(op, y) for y in operands), attributes)
            key.append(kind)
            values.append(x)
    found = _plans.get(tuple(key))
    if found is None:
        if len(_plans) > 1 << 15:
            _plans.clear()
        found = Plan(op, tuple(key[2:]), attributes)
        _plans[tuple(key)] = found
    return found, values, moved


def _operand(op: Op, value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return _plain(value)
    if isinstance(value, (Tensor, sympy.Expr)):
        return value
    if isinstance(value, np.generic):
        return _operand(op, value.item())
    if isinstance(value, np.ndarray):
        return services.as_tensor(value)
    if hasattr(value, "__float__") and not hasattr(value, "shape"):
        return float(value)
    raise TypeError(f"{op.name}(): argument must be Tensor or a number, not {type(value).__name__}")


def _plain(value: bool | int | float) -> bool | int | float:
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value


def apply(op: Op, operands: tuple[Any, ...], attributes: dict[str, Any] | None = None) -> Any:
    """Records `op` on Tensors and Python numbers: a Tensor, or a tuple of them where the operation has several results.

    Raises PyTorch's exceptions for shapes and dtypes that do not fit.
    """
    if not attributes:
        static: Attributes = ()
    elif len(attributes) == 1:
        static = tuple(attributes.items())
    else:
        static = tuple(sorted(attributes.items()))
    plan, values, moved = plan_for(op, operands, static)
    if plan.asked:
        ask_again(plan.asked, here=True)
    view = op.view and len(operands) == 1
    grad = state.grad
    edges = _edges(operands) if grad and plan.differentiable and not view else None
    border = state.border
    if border is not None and not view:
        border.operands(operands, values, edges)
        chosen = border.selection(op, plan, operands)
    if not plan.plain:
        _convert(plan, values)
    depth = 0
    traced = False
    for value in values:
        if value.depth > depth:
            depth = value.depth
        if value.requires_grad:
            traced = True
    if view:
        return services.make_view(operands[0], op, static, plan)
    inputs = tuple(values)
    if len(plan.outs) == 1:
        out = plan.outs[0]
        record = Record(op, inputs, static, out, 0, None, None, None, traced and grad and plan.differentiable,
                        user_frame(), False, depth + 1, plan.codes[0])  # fmt: skip
        tensor = _new(Tensor)
        cell = tensor._cell = Cell(record)
        if moved:
            cell.strides = of_result(plan, operands, out.shape)
        if depth > MAX_DEPTH:
            evaluate_chain([record])
        if edges is not None:
            _attach(plan, operands, inputs, edges, (tensor,))
            if border is not None:
                border.carry((tensor,), (record,))
        elif state.inference and not (grad and plan.differentiable):
            tensor._inference = True
        if border is not None and chosen is not None:
            border.select(tensor, chosen)
        return tensor if op.outputs == 1 else (tensor,)
    outs = _records(op, inputs, static, plan.outs, depth + 1, traced and grad)
    if depth > MAX_DEPTH:
        evaluate_chain(outs)
    tensors = [Tensor._from_record(r) for r in outs]
    if moved:
        for t, s in zip(tensors, plan.outs):
            t._cell.strides = of_result(plan, operands, s.shape)
    if edges is not None:
        _attach(plan, operands, inputs, edges, tensors)
        if border is not None:
            border.carry(tensors, outs)
    elif state.inference and not (grad and plan.differentiable):
        for t in tensors:
            t._inference = True
    if border is not None and chosen is not None:
        for t in tensors:
            border.select(t, chosen)
    return tuple(tensors)


def _edges(operands: tuple[Any, ...]) -> tuple[Edge | None, ...] | None:
    """Where the operands' gradients go; None where none goes anywhere."""
    edges: list[Edge | None] = []
    tracked = False
    for x in operands:
        edge: Edge | None = None
        if isinstance(x, Tensor):
            if x._base is not None:
                edge = x._edge()
                tracked = tracked or x.requires_grad  # a view made under no_grad leads nowhere, and yet requires a gradient
            elif x._fn is not None:
                edge = (x._fn, x._nr)
            elif x._requires:
                edge = (x._accumulator(), 0)
            if edge is not None:
                tracked = True
        edges.append(edge)
    return tuple(edges) if tracked else None


def _convert(plan: Plan, values: list[Any]) -> None:
    """Python numbers as 0-d leaves, operands of another dtype through a cast."""
    for k, number in enumerate(plan.numbers):
        if number is not None:
            if isinstance(values[k], sympy.Expr):
                values[k] = Record(SIZE, (), (("dtype", plan.ins[k].dtype), ("size", values[k])), plan.ins[k])
                continue
            values[k] = Record(None, (), (), plan.ins[k], value=np.asarray(values[k], number.numpy), is_scalar=True)
        elif plan.casts[k] is not None:
            value = values[k]
            values[k] = Record(
                CAST,
                (value,),
                (("dtype", plan.casts[k]),),
                plan.ins[k],
                requires_grad=value.requires_grad and state.grad,
                depth=value.depth + 1,
            )


def _records(
    op: Op,
    inputs: tuple[Record, ...],
    attributes: Attributes,
    specs: tuple[Spec, ...],
    depth: int,
    traced: bool,
    origin: Origin | None = None,
) -> list[Record]:
    if origin is None:
        origin = user_frame()
    if len(specs) == 1:
        return [
            Record(
                op,
                inputs,
                attributes,
                specs[0],
                requires_grad=traced and specs[0].dtype.is_floating_point,
                origin=origin,
                depth=depth,
            )
        ]
    call = object()
    return [
        Record(
            op,
            inputs,
            attributes,
            s,
            output=k,
            call=call,
            requires_grad=traced and s.dtype.is_floating_point,
            origin=origin,
            depth=depth,
        )
        for k, s in enumerate(specs)
    ]


def _attach(
    plan: Plan,
    operands: tuple[Any, ...],
    inputs: tuple[Record, ...],
    edges: tuple[Edge | None, ...],
    tensors: Sequence[Any],
) -> None:
    for x in operands:
        if isinstance(x, Tensor) and x._inference and not _moves_only():
            raise RuntimeError(
                "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
                "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and "
                "use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`."
            )
    node = plan.node_class(plan, inputs, edges, operands)
    node.keep_outputs(tensors)
    for k, t in enumerate(tensors):
        if plan.outs[k].dtype.is_floating_point:
            t._fn, t._nr = node, k


def _moves_only() -> bool:
    """Whether what is recorded is for forward mode alone, which saves nothing."""
    border = state.border
    while border is not None and border.transform in ("jvp", "forward", "vmap"):
        if border.outer is None:
            return True
        border = border.outer
    return False


def evaluate_chain(records: list[Record]) -> None:
    """Evaluates what has become too long a chain, unless it is part of a trace."""
    seen: set[Record] = set()
    stack = list(records)
    while stack:
        record = stack.pop()
        if record.symbol is not None and not record.is_phantom:
            for r in records:
                r.depth = 0  # do not look again at once
            return
        if record not in seen and record.value is None:
            seen.add(record)
            stack.extend(record.inputs)
    evaluate_records(records)


def evaluate_records(records: list[Record]) -> Any:
    """Gives every record its value; known records let go of their inputs.  What was run, or None if nothing had to be."""
    wanted = [*records, *live_below(records)]
    evaluation = engine.evaluate(wanted)
    for record in wanted:
        if record.op is not None and record.value is not None:
            record.settle(record.value)
    return evaluation


def live_below(roots: Sequence[Record]) -> list[Record]:
    """The pending records below `roots` that somebody else will want too: a tensor, a saved operand, another record.

    They are told by their reference counts: more than the walk itself and the records above them account for.
    """
    uses: dict[Record, int] = {}
    tuples: set[int] = set()
    stack = [r for r in roots if r.value is None]
    done = set(stack)
    record = s = inputs = None
    while stack:
        record = stack.pop()
        inputs = record.inputs
        if record.call is not None:  # several results of one call share their inputs
            if id(inputs) in tuples:
                continue
            tuples.add(id(inputs))
        for s in inputs:
            if s.op is not None and s.value is None:
                if s in uses:
                    uses[s] += 1
                else:
                    uses[s] = 1
                    if s not in done:
                        stack.append(s)
    del stack, record, inputs, s
    return keys_held(uses, done)


def apply_records(
    op: Op, inputs: tuple[Record, ...], attributes: Attributes, specs: tuple[Spec, ...], origin: Origin | None = None
) -> list[Any]:
    """Records an operation on records as they are, without history; Tensors out."""
    depth = 0
    for r in inputs:
        if r.depth > depth:
            depth = r.depth
    outs = _records(op, inputs, attributes, specs, depth + 1, False, origin)
    if depth > MAX_DEPTH:
        evaluate_chain(outs)
    return [Tensor._from_record(r) for r in outs]


__all__ = [
    "CAST",
    "MAX_DEPTH",
    "OpNode",
    "Plan",
    "apply",
    "apply_records",
    "evaluate_records",
]

services.apply, services.apply_records, services.evaluate_records = apply, apply_records, evaluate_records

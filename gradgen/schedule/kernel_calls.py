"""Named kernels: one call for all outputs of a Kernel, its operands and results whole buffers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import sympy

from gradgen.ir.dtypes import INDEX, DType, bool_
from gradgen.ir.kernels import KERNELS, KernelSpec, same_call
from gradgen.ir.nodes import Kernel
from gradgen.loops.statements import KERNEL as NAMED
from gradgen.loops.statements import LOCAL, Buffer, Call, Function, Index, Literal, Operand, Variable
from gradgen.schedule.emit_memory import Memory
from gradgen.schedule.emit_plan import Plan
from gradgen.schedule.emit_results import Results
from gradgen.schedule.inline import KERNEL, Op
from gradgen.schedule.scope import Builder


def emit_kernel(plan: Plan, b: Builder, memory: Memory, results: Results, op: Op) -> None:
    """The call that `op` is an output of; all of its outputs among the plan's ops are complete after it."""
    node = op.node
    assert isinstance(node, Kernel)
    spec = KERNELS[node.name]
    key = same_call(node)
    wanted = {o.node.output: o for o in plan.ops  # type: ignore[attr-defined]
              if o.kind == KERNEL and isinstance(o.node, Kernel) and same_call(o.node) == key}
    dtype = node.operands[0].dtype
    sizes = spec.sizes(node.operands)
    operands = tuple(memory.whole(node.operands[k]) for k in spec.passed)
    made = [memory.own(wanted[k])[0] if k in wanted else memory.more("v", kind, shape)  # nobody asks for it
            for k, (shape, kind) in enumerate(spec.results(node.operands))]
    workspace = tuple(memory.more("w", kind, (size,)) for kind, size in spec.workspace(sizes, dtype))
    flags = tuple(Literal(bool_, sympy.Integer(int(value))) for _, value in node.attributes)
    groups = tuple(tuple(m.dtype for m in group) for group in (operands, made, workspace))
    function = function_of(spec, dtype, len(sizes), groups, len(flags))
    reads, writes, scratch = (tuple(map(Operand, group)) for group in (operands, made, workspace))
    numbers = tuple(Index(INDEX, sympy.sympify(size)) for size in sizes)
    b.emit(Call(function, reads=reads, writes=writes, scratch=scratch, scalars=(*numbers, *flags)))
    for k, member in wanted.items():
        results.finished(member, made[k])


@cache
def function_of(
    spec: KernelSpec, dtype: DType, sizes: int, groups: tuple[tuple[DType, ...], ...], flags: int
) -> Function:
    """What the statements call; nobody but its C and its reference says what it does."""
    def memory(letter: str, kinds: Sequence[DType]) -> tuple[Buffer, ...]:
        return tuple(Buffer(f"gg_{letter}{k}", kind, (), LOCAL) for k, kind in enumerate(kinds))

    operands, results, scratch = (memory(letter, kinds) for letter, kinds in zip("arw", groups, strict=True))
    numbers = tuple(Variable(INDEX, f"gg_n{k}") for k in range(sizes))
    set_ = tuple(Variable(bool_, f"gg_f{k}") for k in range(flags))
    order = [p.name for group in (numbers, operands, results, set_, scratch) for p in group]
    return Function(f"gg_{spec.name}_{dtype.suffix}", NAMED, reads=operands, writes=results, scratch=scratch,
                    scalars=(*numbers, *set_), text=(spec, dtype), order=tuple(order), stack=FRAME)


FRAME = 1024  # bytes of stack of a named kernel: their arrays are in WORK

__all__ = ["emit_kernel"]

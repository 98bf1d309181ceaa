"""Named kernels: one call for all outputs of a Kernel, its operands and results whole buffers."""

from __future__ import annotations

from gradgen.ir.kernels import KERNELS, same_call
from gradgen.ir.nodes import Kernel
from gradgen.loops.statements import KernelCall
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
    flags = tuple(int(value) for _, value in node.attributes)
    b.emit(KernelCall(spec, dtype, sizes, operands, tuple(made), flags, workspace))
    for k, member in wanted.items():
        results.finished(member, made[k])


__all__ = ["emit_kernel"]

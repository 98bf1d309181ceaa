"""Named kernels: one call for all outputs of a Kernel, its operands and results whole buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradgen.ir.kernels import KERNELS, same_call
from gradgen.ir.nodes import Kernel
from gradgen.loops.statements import WORK, Buffer, KernelCall
from gradgen.schedule.inline import KERNEL, Op

if TYPE_CHECKING:
    from gradgen.schedule.emit import Emitter


def emit_kernel(emitter: Emitter, op: Op, ops: list[Op]) -> None:
    """The call that `op` is an output of; all of its outputs among `ops` are complete after it."""
    node = op.node
    assert isinstance(node, Kernel)
    spec, b = KERNELS[node.name], emitter.builder
    key = same_call(node)
    wanted = {o.node.output: o for o in ops  # type: ignore[attr-defined]
              if o.kind == KERNEL and isinstance(o.node, Kernel) and same_call(o.node) == key}
    dtype = node.operands[0].dtype
    sizes = spec.sizes(node.operands)
    operands = tuple(emitter.whole_buffer(node.operands[k]) for k in spec.passed)
    results = []
    for k, (shape, kind) in enumerate(spec.results(node.operands)):
        if k in wanted:
            results.append(emitter.own_buffer(wanted[k])[0])
        else:  # nobody asks for it
            results.append(Buffer(b.fresh("v"), kind, shape, WORK))
            emitter.extra.append(results[-1])
    workspace = tuple(Buffer(b.fresh("w"), kind, (size,), WORK) for kind, size in spec.workspace(sizes, dtype))
    emitter.extra += workspace
    flags = tuple(int(value) for _, value in node.attributes)
    b.emit(KernelCall(spec, dtype, sizes, operands, tuple(results), flags, workspace))
    for k, member in wanted.items():
        emitter.finished(member, results[k])

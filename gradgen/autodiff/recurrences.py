"""Reverse mode through a recurrence: a Scan reverses into a Scan that runs from the last step to the first.

The backward recurrence carries the cotangents of the carries and, as sums, those of the constants; it reads the carries
that each step started from and what else is cheaper to keep than to compute again: further stacked outputs of the
forward Scan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from gradgen.autodiff.bodies import add
from gradgen.autodiff.liveness import full
from gradgen.autodiff.recompute import RECOMPUTE_COST, kept_values, nominal, nominal_bytes
from gradgen.ir.graph import Graph, topological
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, Scan
from gradgen.ir.rewrite import substitute
from gradgen.ir.symbols import placeholder
from gradgen.target import NATIVE

WithLife = tuple[Node | None, Node | None]
StepGradients = Callable[[Sequence[Node], Sequence[Node], Sequence[Node] | None, Sequence[Node]], list[WithLife]]
StepTangents = Callable[[Sequence[Node], Mapping[Node, Node], Mapping[Node, Node]], list[WithLife]]
"""Reverse and forward mode of a step's graph: (outputs, cotangents, their livenesses, inputs) and
(outputs, tangents, their livenesses)."""

ARITHMETIC = 7
"""Scalar operations per element that are computed again rather than kept: less than one function of many instructions.

A step keeps every such function that its derivative needs, up to what all steps together may take (`Target.most_bytes`).
Beyond that it keeps what is dear to compute again, but of a recurrence inside the step only what that started from: a
long recurrence written as a scan of scans keeps one carry a segment, and computes the segments again (Griewank & Walther,
Algorithm 799: revolve, ACM TOMS 26(1), 2000, for schedules with less memory still)."""


def parts(node: Scan) -> tuple[int, int, int, int]:
    """Numbers of carries, sequences, index inputs (0 or 1) and constants of the step graph."""
    carries, sequences, constants = len(node.init), len(node.sequences), len(node.constants)
    return carries, sequences, len(node.step.inputs) - carries - sequences - constants, constants


def zeros(node: Node) -> Node:
    """Zeros of the node's shape and dtype."""
    return Compute(node.shape, placeholder(0), [Read(Constant(0, node.dtype), ())], node.dtype)


def fresh_mark(step: Graph) -> str:
    """What tells the new inputs of a backward step from those the step has: it may be a backward step itself, and
    inputs of equal name, shape and dtype are one node."""
    taken = {n.name for n in step.inputs}
    depth = 1
    while any(name.startswith(f"{word}{depth}_") for name in taken for word in ("carry_bar", "sum", "stack_bar")):
        depth += 1
    return str(depth)


def stacked_too(node: Scan, values: Sequence[Node]) -> list[Scan]:
    """These values of the step, its carries among them, stacked: outputs of the same recurrence with more outputs."""
    step = node.step
    names = (*step.output_names, *(f"kept_{k}" for k in range(len(values))))
    wider = Graph(step.inputs, (*step.outputs, *values), names, step.where)
    first = len(step.outputs)
    return [
        Scan(wider, node.init, node.sequences, node.constants, node.length, first + k, node.reverse)
        for k in range(len(values))
    ]


def kept_of_step(node: Scan, outputs: Sequence[Node], bars: Collection[Node], most: int) -> list[Node]:
    """The values of each forward step that a backward step with these outputs gets instead of computing them again: of
    all steps together about `most` bytes.

    Whatever does not depend on the cotangents `bars` counts as forward, but what only the derivative needs is computed
    where it is needed, from values that the forward step has.
    """
    step, (carries, _, _, constants) = node.step, parts(node)
    hot, order = set(bars), topological(outputs)
    for n in order:
        if any(s in hot for s in n.sources):
            hot.add(n)
    own = set(topological(step.outputs))
    wanted = _wanted(outputs, order, hot, own, False)
    forward = [n for n in order if n not in hot]
    fixed = set(step.inputs[len(step.inputs) - constants :])
    for n in forward:
        if n.sources and all(s in fixed or isinstance(s, Constant) for s in n.sources):
            fixed.add(n)
    limit = ARITHMETIC
    if sum(map(nominal_bytes, wanted - fixed)) * nominal(node.length) > most:
        limit, wanted = RECOMPUTE_COST, _wanted(outputs, order, hot, own, True)
    return list(kept_values(forward, wanted, limit, costly=set(step.inputs[:carries]), free=fixed))


def _wanted(
    outputs: Sequence[Node], order: Sequence[Node], hot: set[Node], own: set[Node], again: bool
) -> set[Node]:
    """The forward values that the nodes `hot` are computed from: those in `own`, and what is not computed pointwise.

    With `again` a recurrence in the step that stacks more for the derivative is computed again, from its operands.
    """
    wanted: set[Node] = set()
    todo = [s for n in order if n in hot for s in n.sources] + list(outputs)
    seen = set(todo)
    while todo:
        n = todo.pop()
        if n in hot:
            continue
        pointwise = isinstance(n, Compute) and n.reducer is None
        if n in own or not (pointwise or (again and isinstance(n, Scan))):
            wanted.add(n)
            continue
        todo += [s for s in n.sources if s not in seen]
        seen.update(n.sources)
    return wanted


def adjoint_scan(
    node: Scan, cotangents: Mapping[int, Node], active: set[Node], lives: Mapping[int, Node | None] | None,
    gradients: StepGradients, most: int = NATIVE.most_bytes,
) -> Iterator[tuple[Node, Node, Node | None]]:
    """(source, cotangent of it, its liveness) for every active source; `cotangents`, and `lives` where something is not
    alive, by output position.  What is alive is carried from step to step beside the cotangents.
    `gradients` differentiates the step."""
    step, (carries, sequences, index, _) = node.step, parts(node)
    first_constant = carries + sequences + index
    wanted_constants = [k for k, n in enumerate(node.constants) if n in active]
    wanted_sequences = [k for k, n in enumerate(node.sequences) if n in active]
    moving = _moving_carries(node, active, wanted_sequences, wanted_constants)
    stacked = [k for k in sorted(cotangents) if k >= carries]

    mark = fresh_mark(step)
    carry_bar = {k: Input(f"carry_bar{mark}_{k}", step.inputs[k].shape, step.inputs[k].dtype) for k in moving}
    sums = {k: Input(f"sum{mark}_{k}", node.constants[k].shape, node.constants[k].dtype) for k in wanted_constants}
    stack_bar = {k: Input(f"stack_bar{mark}_{k}", step.outputs[k].shape, step.outputs[k].dtype) for k in stacked}
    alive = _beside("alive", (*carry_bar.values(), *sums.values(), *(stack_bar[k] for k in stacked)), lives is not None)

    seeds = [(step.outputs[k], carry_bar[k]) for k in moving] + [(step.outputs[k], stack_bar[k]) for k in stacked]
    wrt = [step.inputs[k] for k in moving]
    wrt += [step.inputs[first_constant + k] for k in wanted_constants]
    wrt += [step.inputs[carries + k] for k in wanted_sequences]
    careful = None if lives is None else [alive[s] for _, s in seeds]
    found = gradients([o for o, _ in seeds], [s for _, s in seeds], careful, wrt)
    held = len(moving) + len(wanted_constants)
    terms = [g if g is not None else zeros(n) for (g, _), n in zip(found, wrt)]
    carried = [*carry_bar.values(), *sums.values()]
    new = [*terms[: len(moving)], *(add(s, g) for s, g in zip(sums.values(), terms[len(moving) : held]))]
    slices = terms[held:]
    finals = [cotangents.get(k) or zeros(node.init[k]) for k in moving]
    init = [*finals, *(zeros(node.constants[k]) for k in wanted_constants)]
    if lives is not None:
        beside = [zeros(n) if g is None else live or full(n) for (g, live), n in zip(found, wrt)]
        new += [*beside[: len(moving)], *(add(alive[s], n) for s, n in zip(sums.values(), beside[len(moving) : held]))]
        slices += beside[held:]
        init += [lives.get(k) or full(node.init[k]) if k in cotangents else zeros(node.init[k]) for k in moving]
        init += [zeros(node.constants[k]) for k in wanted_constants]
        carried += [alive[n] for n in carried]
    outputs: tuple[Node, ...] = (*new, *slices)
    bars = [*carried, *stack_bar.values(), *(alive[s] for s in stack_bar.values() if lives is not None)]
    kept = kept_of_step(node, outputs, bars, most)
    stand = {n: n if n in step.inputs else Input(f"kept{mark}_{k}", n.shape, n.dtype) for k, n in enumerate(kept)}
    outputs = substitute(outputs, {n: s for n, s in stand.items() if n is not s})
    read = set(topological(outputs))  # what no step reads is not handed to it, and need not have been kept

    def paired(inner: Sequence[Node], outer: Sequence[Node]) -> list[tuple[Node, Node]]:
        return [(i, o) for i, o in zip(inner, outer, strict=True) if i in read]

    sequence_pairs = paired([*stand.values()], stacked_too(node, kept))
    sequence_pairs += paired([*stack_bar.values()], [cotangents[k] for k in stacked])
    if lives is not None:
        alive_rows = [lives.get(k) or full(cotangents[k]) for k in stacked]
        sequence_pairs += paired([alive[s] for s in stack_bar.values()], alive_rows)
    sequence_pairs += paired(step.inputs[carries : carries + sequences], node.sequences)
    constant_pairs = paired(step.inputs[first_constant:], node.constants)
    inputs = (
        *carried, *(i for i, _ in sequence_pairs), *step.inputs[carries + sequences : first_constant],
        *(i for i, _ in constant_pairs),
    )
    backward = Graph(inputs, outputs, tuple(f"o{k}" for k in range(len(outputs))), step.where)  # type: ignore[arg-type]
    rows, fixed = [o for _, o in sequence_pairs], [o for _, o in constant_pairs]

    def result(position: int) -> Scan:
        return Scan(backward, init, rows, fixed, node.length, position, not node.reverse)

    sources = [*(node.init[k] for k in moving), *(node.constants[k] for k in wanted_constants)]
    for position, source in enumerate(sources):
        yield source, result(position), None if lives is None else result(held + position)
    for position, k in enumerate(wanted_sequences):
        first = len(new) + position
        yield node.sequences[k], result(first), None if lives is None else result(first + len(wanted_sequences))


def _beside(word: str, bars: Sequence[Input], wanted: bool) -> dict[Input, Input]:
    """An input of its own for the liveness of each cotangent."""
    return {n: Input(f"{word}_of_{n.name}", n.shape, n.dtype) for n in bars} if wanted else {}


def _moving_carries(
    node: Scan, active: set[Node], sequences: Sequence[int], constants: Sequence[int]
) -> list[int]:
    """Carries through which the derivative passes: those that depend on something active, step after step."""
    step, (carries, count, index, _) = node.step, parts(node)
    moving = {k for k in range(carries) if node.init[k] in active}
    hot: set[Node] = {step.inputs[carries + k] for k in sequences}
    hot |= {step.inputs[carries + count + index + k] for k in constants}
    while True:
        reached = _reached({*hot, *(step.inputs[k] for k in moving)}, step.outputs[:carries])
        now = moving | {k for k in range(carries) if step.outputs[k] in reached}
        if now == moving:
            return [k for k in sorted(moving) if step.inputs[k].dtype.is_floating_point]
        moving = now


def _reached(start: set[Node], outputs: Sequence[Node]) -> set[Node]:
    reached = set(start)
    for n in topological(outputs):
        if n.dtype.is_floating_point and any(s in reached for s in n.sources):
            reached.add(n)
    return reached


def tangent_scan(
    node: Scan, dot: Mapping[Node, Node], live: Mapping[Node, Node | None], tangents: StepTangents
) -> tuple[Node, Node | None] | None:
    """The tangent of one output and its liveness: the recurrence carried on with those of its carries beside them.
    `tangents` differentiates the step."""
    step, (carries, sequences, index, _) = node.step, parts(node)
    outer = [*node.init, *node.sequences, *([None] * index), *node.constants]
    moving = _moving_tangents(node, dot)
    careful = any(live.get(n) is not None for n in outer if n is not None)
    seeds: dict[Node, Node] = {}
    lives: dict[Node, Node] = {}
    for k, inner in enumerate(step.inputs):
        source = outer[k]
        if (k in moving) or (k >= carries and source is not None and source in dot):
            seeds[inner] = Input(f"dot_{k}_{step.key[:8]}", inner.shape, inner.dtype)
            if careful and (k in moving or live.get(source) is not None):  # type: ignore[arg-type]
                lives[inner] = Input(f"alive_{k}_{step.key[:8]}", inner.shape, inner.dtype)
    found = tangents(step.outputs, seeds, lives)
    if node.output < carries and node.output not in moving:
        return None
    if node.output >= carries and found[node.output][0] is None:
        return None

    def beside(group: Sequence[Node], of: Mapping[Node, Node]) -> list[Node]:
        return [of[n] for n in group if n in of]

    def alive(k: int) -> Node:
        moved, own = found[k]
        return zeros(step.outputs[k]) if moved is None else own or full(step.outputs[k])

    first, rest = step.inputs[:carries], step.inputs[carries : carries + sequences]
    constants = step.inputs[carries + sequences + index :]
    inputs = (*first, *beside(first, seeds), *beside(first, lives), *rest, *beside(rest, seeds), *beside(rest, lives),
              *step.inputs[carries + sequences : carries + sequences + index],
              *constants, *beside(constants, seeds), *beside(constants, lives))
    stacked = range(carries, len(step.outputs))
    carried = [_or_zeros(found[k][0], step.outputs[k]) for k in moving] + [alive(k) for k in moving if careful]
    rows_out = [_or_zeros(found[k][0], step.outputs[k]) for k in stacked] + [alive(k) for k in stacked if careful]
    outputs = (*step.outputs[:carries], *carried, *step.outputs[carries:], *rows_out)
    wider = Graph(inputs, outputs, tuple(f"o{k}" for k in range(len(outputs))), step.where)  # type: ignore[arg-type]
    init = [*node.init, *(_or_zeros(dot.get(node.init[k]), node.init[k]) for k in moving)]
    if careful:
        init += [live.get(n) or full(n) if n in dot else zeros(n) for n in (node.init[k] for k in moving)]

    def handed(sources: Sequence[Node], own: Sequence[Node]) -> list[Node]:
        return [*sources, *(dot[s] for s, n in zip(sources, own) if n in seeds),
                *(live[s] for s, n in zip(sources, own) if n in lives)]  # type: ignore[list-item]

    def result(position: int) -> Scan:
        return Scan(wider, init, handed(node.sequences, rest), handed(node.constants, constants), node.length, position,
                    node.reverse)

    count = len(stacked)
    if node.output < carries:
        position = carries + moving.index(node.output)
        return result(position), result(position + len(moving)) if careful else None
    position = carries + len(carried) + count + node.output - carries
    return result(position), result(position + count) if careful else None


def _or_zeros(node: Node | None, like: Node) -> Node:
    return node if node is not None else zeros(like)


def _moving_tangents(node: Scan, dot: Mapping[Node, Node]) -> list[int]:
    """Carries whose tangent is not zero at some step."""
    step, (carries, sequences, index, _) = node.step, parts(node)
    hot = {step.inputs[carries + k] for k, n in enumerate(node.sequences) if n in dot}
    hot |= {step.inputs[carries + sequences + index + k] for k, n in enumerate(node.constants) if n in dot}
    moving = {k for k, n in enumerate(node.init) if n in dot}
    while True:
        reached = _reached({*hot, *(step.inputs[k] for k in moving)}, step.outputs[:carries])
        now = moving | {k for k in range(carries) if step.outputs[k] in reached}
        if now == moving:
            return [k for k in sorted(moving) if step.inputs[k].dtype.is_floating_point]
        moving = now

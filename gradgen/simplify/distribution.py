"""Loop distribution: what the step of a recurrence computes beside the recurrence itself leaves its loop.

A step is cut along its cycles.  What depends on no carry is computed for all steps beforehand, what no carry depends on
for all steps afterwards; carries in cycles of their own get loops of their own where much is computed between them, such
as the input product of the second layer of an LSTM.  A carry that is only added to becomes a sum over all steps.  So
hundreds of products of a matrix with a vector become one product of matrices, and a gradient by weights is one product
instead of an update a step.  The price is memory for the values that pass between the loops, a row a step: they leave
only where they are worth it.
(Kennedy & McKinley, Maximizing Loop Parallelism and Improving Data Locality via Loop Fusion and Distribution, LCPC 1993;
for recurrent networks: Appleyard, Kocisky & Blunsom, Optimizing Performance of Recurrent Neural Networks on GPUs, 2016.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import sympy

from gradgen.ir.batch import batched, repeated
from gradgen.ir.graph import Graph, Location, topological, topological_until
from gradgen.ir.indexing import product
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, Scan, map_node
from gradgen.ir.rewrite import substitute, with_sources
from gradgen.ir.scalar_table import has_costly
from gradgen.ir.symbols import Extent, axes, axis, placeholder, reduce_axis
from gradgen.simplify.dependence import Step, accumulated, components, live_carries
from gradgen.target import NATIVE, Target

FEW_STEPS = 8  # a loop of fewer steps stays whole
MANY_CARRIES = 256  # a step with more is left as it is: the analysis takes their square
REDUCED, WORK = 4, 64  # terms of each sum, and of all sums of a node, that are worth leaving the loop for
CACHE_REDUCED = 32  # terms that are worth writing values of all steps that leave the last cache
NARROW = 8  # elements below which a function is faster for all steps together than step by step
WIDE = 16  # elements of a sum over all steps that is worth leaving the loop for
NOMINAL = 1024  # what a named dimension counts as


def distribute_scans(
    outputs: Sequence[Node], lines: dict[Node, Location] | None = None, target: Target = NATIVE
) -> dict[Node, Node]:
    """Maps every node to one that computes the same with distributed recurrences; user lines of steps go to `lines`."""
    order = topological(outputs)
    calls: dict[tuple, list[Scan]] = {}
    for node in order:
        if isinstance(node, Scan):
            calls.setdefault(node.call, []).append(node)
    taken = {n for n in order if isinstance(n, Input)}
    new: dict[Node, Node] = {}
    done: dict[Node, Node] = {}
    for node in order:
        if isinstance(node, (Input, Constant)):
            new[node] = node
        elif not isinstance(node, Scan):
            new[node] = with_sources(node, new)
        else:
            if node not in done:
                siblings = calls[node.call]
                moved = [with_sources(n, new) for n in siblings]
                made = _distributed(moved, taken, lines, target)  # type: ignore[arg-type]
                done.update(zip(siblings, made))
            new[node] = done[node]
    return new


def _distributed(
    siblings: Sequence[Scan], taken: set[Node], lines: dict[Node, Location] | None, target: Target
) -> Sequence[Node]:
    """The outputs of one recurrence; `taken` are the inputs of the graph around it."""
    node = siblings[0]
    short = isinstance(node.length, int) and node.length < FEW_STEPS
    if short or len(node.init) > MANY_CARRIES:
        return siblings
    plan = _Plan(_apart(node, taken), [n.output for n in siblings], target)
    if not plan.changes():
        return siblings
    made = plan.build()
    if lines is not None:
        for inner, outer in plan.outer.items():
            if inner in node.step.where:
                lines.setdefault(outer, node.step.where[inner])
    return [made[n.output] for n in siblings]


def _apart(node: Scan, taken: set[Node]) -> Scan:
    """The recurrence with inputs of its step that the graph around it does not have: equal inputs are one node."""
    step = node.step
    clash = {n: Input(f"{n.name}_{step.key[:12]}", n.shape, n.dtype) for n in step.inputs if n in taken}
    if not clash:
        return node
    outputs = substitute(step.outputs, clash)
    apart = Graph(tuple(clash.get(n, n) for n in step.inputs), outputs, step.output_names, step.where)
    return Scan(apart, node.init, node.sequences, node.constants, node.length, node.output, node.reverse)


def _count(extent: Extent) -> int:
    if isinstance(extent, int):
        return extent
    return int(extent.xreplace({s: sympy.Integer(NOMINAL) for s in extent.free_symbols}))


def _elements(node: Node) -> int:
    return _count(product(node.shape))


class _Plan:
    """Where everything in a step goes: into the loop of a group of carries, or out of the loops.

    Groups are numbered from 1 in the order in which their loops run; the *stage* of a value is the last group that it
    depends on, 0 where it depends on no carry.
    """

    def __init__(self, node: Scan, wanted: Sequence[int], target: Target) -> None:
        self.node, self.wanted, self.target = node, tuple(wanted), target
        self.step = step = Step.of(node)
        self.steps = _count(node.length)
        self.live = live_carries(step, wanted)
        self.stacked = [k for k in wanted if k >= len(step.carries)]
        self.outer: dict[Node, Node] = {}  # of step nodes: for all steps, or once where they are invariant
        self.sums = self.leaving()
        self.kept = [k for k in self.live if k not in self.sums]
        roots = [step.new[k] for k in self.kept] + [step.graph.outputs[k] for k in self.stacked]
        roots += [t for terms in self.sums.values() for t in terms]
        self.order = topological(roots)
        self.varying = self.dependent({*step.sequences, *step.carries, *([step.index] if step.index else ())})
        self.group = self.groups()
        self.stage = self.stages()
        self.core = self.cores()
        self.lifted = self.choose()
        self.stacks: dict[int, dict[Node, None]] = {g: {} for g in self.loops()}
        self.demanded: dict[Node, None] = {}
        self.frontier: dict[int, list[Node]] = {}
        self.settle()

    def loops(self) -> range:
        return range(1, max(self.group.values(), default=0) + 1)

    def dependent(self, start: set[Node]) -> set[Node]:
        found = set(start)
        for n in self.order:
            if any(s in found for s in n.sources):
                found.add(n)
        return found

    # --- sums -----------------------------------------------------------------------------------------------------------

    def leaving(self) -> dict[int, list[Compute]]:
        """The carries that become sums over all steps, with what is added at each."""
        step = self.step
        roots = [step.new[k] for k in self.live] + [step.graph.outputs[k] for k in self.stacked]
        users: dict[Node, list[Node]] = {}
        order = topological(roots)
        for n in order:
            for s in n.sources:
                users.setdefault(s, []).append(n)
        for n in roots:
            users.setdefault(n, []).append(n)  # an output is used
        sums: dict[int, list[Compute]] = {}
        for k in self.live:
            carry, result = step.carries[k], step.new[k]
            if carry in users and carry.dtype.is_floating_point and result is not carry and len(users[result]) == 1:
                terms = accumulated(carry, result, users)
                if terms is not None and all(self.may_leave(t) for t in terms):
                    sums[k] = terms
        others = [step.new[k] for k in self.live if k not in sums] + [step.graph.outputs[k] for k in self.stacked]
        inside = set(topological(others))
        sums = {k: [_itself(t, inside) for t in terms] for k, terms in sums.items()}
        sums = {k: t for k, t in sums.items() if all(isinstance(n, Compute) for n in _apart_from(t, inside))}
        first = {k for k, terms in sums.items() if self.worth_leaving(step.carries[k], terms, inside)}
        passed = {*step.constants, *step.sequences, *(s for k in first for t in sums[k] for s in t.sources)}
        return {k: terms for k, terms in sums.items() if k in first or all(s in passed for t in terms for s in t.sources)}

    def may_leave(self, term: Compute) -> bool:
        """The term is not the same at every step, and what it is made of fits into memory for all steps."""
        given = (*self.step.carries, *self.step.sequences, self.step.index)
        reached = set(topological([term]))
        bytes_ = sum(_elements(s) for s in term.sources) * self.steps * term.dtype.itemsize
        return any(n in reached for n in given) and bytes_ <= self.target.most_bytes

    def worth_leaving(self, carry: Node, terms: Sequence[Compute], inside: set[Node]) -> bool:
        """The factors are fewer than the elements that they are added to, or much is computed for the sum alone."""
        if _elements(carry) >= WIDE:
            return all(2 * sum(map(_elements, t.sources)) <= _elements(carry) for t in terms)
        return any(self.heavy(n) for n in _apart_from(terms, inside))

    # --- groups and stages ----------------------------------------------------------------------------------------------

    def groups(self) -> dict[int, int]:
        """The group of each carry that is kept: cycles with heavy values between them are apart."""
        step, kept = self.step, self.kept
        position = {k: n for n, k in enumerate(kept)}
        depends: dict[Node, int] = {step.carries[k]: 1 << position[k] for k in kept}
        for n in self.order:
            if n.sources:
                depends[n] = _union(depends.get(s, 0) for s in n.sources)
        cycles = components([depends.get(step.new[k], 0) for k in kept])
        level: dict[Node, int] = {}
        group: dict[int, int] = {}
        for cycle in cycles:
            own = _union(1 << j for j in cycle)
            results = [step.new[kept[j]] for j in cycle]
            # own carries take no part in the level, and what depends on them is in the loop
            highest = 1
            for n in topological_until(tuple(results), {step.carries[kept[j]] for j in cycle}):
                if depends.get(n, 0) & own:
                    continue
                at = level.get(n)
                if at is None:
                    at = max((level.get(s, 0) for s in n.sources), default=0)
                    at += bool(at and self.heavy(n))
                    level[n] = at
                highest = max(highest, at)
            for j in cycle:
                group[kept[j]] = highest
                level[step.carries[kept[j]]] = highest
            for n in topological(results):
                if depends.get(n, 0) & own:
                    level[n] = highest
        return _dense(group)

    def stages(self) -> dict[Node, int]:
        stage: dict[Node, int] = {self.step.carries[k]: g for k, g in self.group.items()}
        for n in self.order:
            if n not in stage:
                stage[n] = max((stage[s] for s in n.sources), default=0)
        return stage

    def cores(self) -> set[Node]:
        """What lies on a cycle of its own stage's carries."""
        feeds: dict[Node, int] = {}
        for k, g in self.group.items():
            n = self.step.new[k]
            feeds[n] = feeds.get(n, 0) | 1 << g
        for n in reversed(self.order):
            for s in n.sources:
                feeds[s] = feeds.get(s, 0) | feeds.get(n, 0)
        return {n for n in self.order if self.stage[n] and feeds.get(n, 0) >> self.stage[n] & 1}

    # --- what leaves ------------------------------------------------------------------------------------------------------

    def heavy(self, node: Node) -> bool:
        """A sum with so many terms that it gains by being one product for all steps."""
        if not isinstance(node, Compute) or node.reducer != "sum" or not node.dtype.is_floating_point:
            return False
        size, terms = _elements(node), _count(product(node.reduce_shape))
        bytes_ = size * self.steps * node.dtype.itemsize
        read = sum(_elements(s) * s.dtype.itemsize for s in node.sources if s.sources) * self.steps
        least = REDUCED if bytes_ <= self.target.outer_bytes else CACHE_REDUCED
        return terms >= least and size * terms >= WORK and max(bytes_, read) <= self.target.most_bytes

    def wants_out(self, node: Compute) -> bool:
        if node not in self.varying:
            return node.reducer is not None or has_costly(node.body)
        if self.heavy(node):
            return True
        if _elements(node) < NARROW and node.reducer is None and has_costly(node.body):
            return True
        given = [s for s in node.sources if s in self.lifted and s in self.varying]
        return bool(given) and _elements(node) <= sum(map(_elements, given))

    def choose(self) -> dict[Node, None]:
        """The values computed for all steps at once."""
        can = self.able()
        self.lifted = {}
        for n in self.order:
            if not isinstance(n, Compute) or n in self.core or n not in can:
                continue
            forced = any(s in self.lifted and s in self.varying and self.stage[s] == self.stage[n] for s in n.sources)
            ready = all(s in can for s in n.sources if not self.stage[s])
            if (forced and self.stage[n]) or (ready and self.wants_out(n)):
                self.lifted[n] = None
        return self.lifted

    def able(self) -> set[Node]:
        """Values that may leave: whatever reads them at the same stage can follow."""
        stuck: set[Node] = set()
        for n in reversed(self.order):
            blocks = n in self.core or not isinstance(n, Compute) or n in stuck
            for s in n.sources:
                if blocks and self.stage[s] and self.stage[s] == self.stage[n]:
                    stuck.add(s)
        for n in self.order:  # a recurrence in the step runs step by step, and so does what it feeds
            inner = not isinstance(n, (Compute, Input, Constant)) and n in self.varying
            if not self.stage[n] and (inner or any(s in stuck for s in n.sources if not self.stage[s])):
                stuck.add(n)
        return {n for n in self.order if n not in stuck}

    def changes(self) -> bool:
        """Whether the plan is anything but the loop as it stands."""
        whole = len(self.live) == len(self.step.carries) and len(self.loops()) == 1
        before = any(not self.stage[self.step.graph.outputs[k]] for k in self.stacked)
        return bool(self.sums) or bool(self.lifted) or not whole or before

    # --- what passes between loops ------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """What each loop stacks and reads, from the last loop to the first."""
        for k in self.stacked:
            self.demand(self.step.graph.outputs[k])
        for terms in self.sums.values():
            for t in terms:
                for s in t.sources:
                    self.demand(s)
        for g in reversed(self.loops()):
            self.frontier[g] = self.walk(g)

    def demand(self, node: Node) -> None:
        """The node's values of all steps are needed outside of its loop."""
        stack = [node]
        while stack:
            n = stack.pop()
            if n in self.demanded or n not in self.varying:
                continue
            self.demanded[n] = None
            if n in self.lifted:
                stack.extend(n.sources)
            elif self.stage[n]:
                self.stacks[self.stage[n]][n] = None

    def walk(self, g: int) -> list[Node]:
        """What the loop of group g reads that it does not compute."""
        roots = [self.step.new[k] for k in self.group if self.group[k] == g] + list(self.stacks[g])
        found: list[Node] = []
        seen: set[Node] = set()
        stack = list(reversed(roots))
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            seen.add(n)
            if self.inside(n, g):
                stack.extend(reversed(n.sources))
            elif not isinstance(n, Constant) and not (n in self.step.carries and self.stage[n] == g):
                self.demand(n)
                found.append(n)
        return found

    def inside(self, n: Node, g: int) -> bool:
        """The loop of group g computes it."""
        if isinstance(n, (Input, Constant)) or n in self.lifted:
            return False
        return self.stage[n] in (0, g)

    # --- the new graph -------------------------------------------------------------------------------------------------

    def build(self) -> dict[int, Node]:
        node, step = self.node, self.step
        self.outer = dict(zip(step.sequences, node.sequences))
        if step.index is not None:
            self.outer[step.index] = Compute((node.length,), axis(0), [], step.index.dtype)
        self.fixed: dict[Node, Node] = dict(zip(step.constants, node.constants))
        results: dict[int, Node] = {}
        self.lift(0)
        for g in self.loops():
            results |= self.loop(g)
            self.lift(g)
        for k, terms in self.sums.items():
            results[k] = self.total(node.init[k], terms)
        for k in self.stacked:
            inner = step.graph.outputs[k]
            results[k] = self.outer[inner] if inner in self.varying else repeated(self.once(inner), node.length)
        return results

    def once(self, n: Node) -> Node:
        """The value of an invariant."""
        return substitute([n], self.fixed)[0]

    def lift(self, stage: int) -> None:
        """The demanded values of a stage that are computed for all steps at once."""
        found = [n for n in self.demanded if n not in self.outer and self.stage[n] == stage]
        made = batched(found, self.outer, self.node.length)
        self.outer.update(zip(found, substitute([made[n] for n in found], self.fixed)))

    def loop(self, g: int) -> dict[int, Node]:
        """The recurrence of a group: its carries by position; what it stacks goes to `outer`."""
        node, step = self.node, self.step
        mine = [k for k in self.group if self.group[k] == g]
        stacked = list(self.stacks[g])
        given = [n for n in self.frontier[g] if n in self.varying and n is not step.index]
        constants = [n for n in self.frontier[g] if n not in self.varying]
        fresh = _names(step.graph.inputs)
        stand: dict[Node, Input] = {
            n: n if isinstance(n, Input) else Input(next(fresh), n.shape, n.dtype) for n in (*given, *constants)
        }
        index = [step.index] if step.index in self.frontier[g] else []
        new = substitute([*(step.new[k] for k in mine), *stacked], {n: s for n, s in stand.items() if n is not s})
        inputs = (*(step.carries[k] for k in mine), *(stand[n] for n in given), *index, *(stand[n] for n in constants))
        graph = Graph(inputs, new, tuple(f"o{k}" for k in range(len(new))), step.graph.where)  # type: ignore[arg-type]
        init = [node.init[k] for k in mine]
        rows, fixed = [self.outer[n] for n in given], [self.once(n) for n in constants]

        def result(k: int) -> Scan:
            return Scan(graph, init, rows, fixed, node.length, k, node.reverse)

        self.outer.update((n, result(len(mine) + k)) for k, n in enumerate(stacked))
        return {k: result(n) for n, k in enumerate(mine)}

    def total(self, init: Node, terms: Iterable[Compute]) -> Node:
        """The first value and the terms of all steps."""
        total: Node | None = None if _is_zero(init) else init
        for t in terms:
            one = substitute([self.summed(t)], self.fixed)[0]
            total = one if total is None else map_node(placeholder(0) + placeholder(1), (total, one), init.dtype)
        return init if total is None else total

    def summed(self, term: Compute) -> Node:
        """The sum of a term over all steps, the steps being the outermost reduced axis."""
        shift = {reduce_axis(k): reduce_axis(k + 1) for k in reversed(range(len(term.reduce_shape)))}
        reads = []
        for r in term.reads:
            index = tuple(e.xreplace(shift) for e in r.index)
            if r.source in self.varying:
                index = (reduce_axis(0), *index)
            guard = tuple(c.substitute(dict(shift)) for c in r.guard)
            reads.append(Read(self.outer.get(r.source, r.source), index, guard, r.fill))
        return Compute(term.shape, term.body.xreplace(shift), reads, term.dtype,
                       reduce_shape=(self.node.length, *term.reduce_shape), reducer="sum")


def _itself(term: Compute, inside: set[Node]) -> Compute:
    """What the term is a copy of, where nothing in the loops needs that: sums of equal terms are then one."""
    while term.body == placeholder(0) and term.reducer is None and not term.reads[0].guard:
        read = term.reads[0]
        source = read.source
        if source in inside or not isinstance(source, Compute) or read.index != axes(term.ndim):
            break
        if source.shape != term.shape or source.dtype is not term.dtype or source.reducer not in (None, "sum"):
            break
        term = source
    return term


def _apart_from(nodes: Iterable[Node], inside: set[Node]) -> list[Node]:
    """What only these nodes need, constants and inputs aside."""
    return [n for n in topological(nodes) if n not in inside and not isinstance(n, (Input, Constant))]


def _union(masks: Iterable[int]) -> int:
    total = 0
    for m in masks:
        total |= m
    return total


def _dense(group: Mapping[int, int]) -> dict[int, int]:
    """Levels numbered from 1 without gaps."""
    number = {level: k for k, level in enumerate(sorted(set(group.values())), 1)}
    return {k: number[level] for k, level in group.items()}


def _names(inputs: Iterable[Input]) -> Iterator[str]:
    """Names that no input of the step has."""
    taken = {n.name for n in inputs}
    return (name for name in (f"lifted{k}" for k in range(1 << 30)) if name not in taken)


def _is_zero(node: Node) -> bool:
    """Zeros, however they are written."""
    while isinstance(node, Compute) and node.body == placeholder(0) and node.reducer is None and not node.reads[0].guard:
        node = node.reads[0].source
    if isinstance(node, Compute):
        return not node.reads and node.body == 0
    return isinstance(node, Constant) and not node.array.any()

"""The stages from a graph to a module, with their timings, and nothing else.

    Graph --differentiate--> Joint --simplify--> Joint --partition--> Procedures --schedule--> Programs --emit--> bundle
"""

from __future__ import annotations

import hashlib
import itertools
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from gradgen.autodiff import Joint, differentiate, saved_nodes, with_unit_seed
from gradgen.codegen.bundle import ModuleCode, make_bundle, make_sources, with_flash
from gradgen.codegen.extents import to_c
from gradgen.codegen.interface import NO_MODEL, Argument, Interface, Model
from gradgen.codegen.kernels_body import ProcedureCode, c_procedure
from gradgen.codegen.trainer import Trainer, TrainerCode
from gradgen.codegen.words import names_in
from gradgen.collector import collector_paused
from gradgen.compiler.account import Account
from gradgen.compiler.derivative_functions import Derivatives, derivative_functions
from gradgen.compiler.recorded_calls import recorded_call
from gradgen.compiler.verification import verified_when_debugging
from gradgen.debug import debug_level
from gradgen.errors import DerivativeError
from gradgen.ir.draws import STATE, described
from gradgen.ir.graph import Graph, Location, dim_names, serialise
from gradgen.ir.limits import Interval, limits
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read
from gradgen.ir.reach import check_reach, with_conditions
from gradgen.ir.symbols import Extent, placeholder
from gradgen.loops.bill import Bill, bill, charges
from gradgen.loops.heights import greatest_of
from gradgen.loops.procedure import ACCUMULATE, SAVED, USERS, Output, Place, Procedure
from gradgen.notation.formula import argument_formulas, shortened
from gradgen.options import Options
from gradgen.passes import observed
from gradgen.schedule import Program, ScheduleOptions, saved_layout, schedule_module
from gradgen.simplify import simplify
from gradgen.simplify.tables import computed
from gradgen.version import VERSION

FORMULA_LINES, FORMULA_CHARACTERS = 16, 2400
"""How much of a formula a bundle says (`show` says all); C99 compilers need not take strings over 4,095 characters."""

DERIVATIVE_LINES = 12
"""Lines of formulas per derivative function."""


@dataclass
class Stages:
    """What each stage made, for `show`, tests and timings."""

    graph: Graph
    options: Options
    joint: Joint | None = None  # None without a backward
    derived: Joint | None = None  # tells what derivative functions are of and by
    procedures: tuple[Procedure, ...] = ()
    derivatives: Derivatives = field(default_factory=Derivatives)
    trainer: Trainer | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        if debug_level() >= 1:
            print(f"gradgen: {name:<14} {1e3 * self.seconds[name]:8.1f} ms", file=sys.stderr)


def generate(graph: Graph, name: str, options: Options, model: Model = NO_MODEL,
             trainer: Trainer | None = None) -> dict[str, str]:
    """The bundle of a module: path -> text, a pure function of its arguments and gradgen's version."""
    level = debug_level()
    account = Account()
    with collector_paused(), verified_when_debugging(), observed(*([account] if level >= 3 else [])):
        files = _generate(graph, name, options, model, trainer)
    if level >= 3:
        print(*account.lines(), sep="\n", file=sys.stderr)
    if level >= 4:
        print(files[f"{name}.c"] if f"{name}.c" in files else files[f"{name}.h"], file=sys.stderr)
    return files


def _generate(graph: Graph, name: str, options: Options, model: Model, trainer: Trainer | None) -> dict[str, str]:
    made = stages(graph, options, trainer)
    if debug_level() >= 2:
        print(*serialise(made.graph), sep="\n", file=sys.stderr)
    scheduled = programs(made)
    with made.stage("emit"):
        module = _module(made, name, scheduled, model)
        module = replace(module, samples=recorded_call(made.graph, made.joint, module.interface, graph))
        files = make_bundle(module, single_file=options.single_file)
        total = with_flash(module, files[f"{name}.{'h' if options.single_file else 'c'}"])
        assert total is not None
        known = limits(made.graph.conditions)
        found = charges(total, known) if made.trainer is None else training_charges(total, known, made.trainer)
        options.budget.check(name, found)
    if debug_level() >= 3:
        print(*(p.describe() for p in scheduled), sep="\n\n", file=sys.stderr)
    return files


def training_charges(
    total: Bill, known: Mapping[str, Interval], trainer: Trainer
) -> dict[str, tuple[int | None, str]]:
    """What counts of a module that trains: its trainer, the arena, and the stack of the functions that train and predict."""
    own = replace(total, saved=0, functions=tuple(f for f in total.functions if f.name in trainer.graphs))
    own = replace(own, work=greatest_of([0, *(f.work for f in own.functions)]))
    found = charges(own, known)
    arena, parts = found["ram"]
    made_of = ", ".join(f"{name} {size:,}" for name, size in trainer.sizes().items())
    held, (stack, deepest) = sum(trainer.sizes().values()), found["stack"]
    ram = None if arena is None or stack is None else held + arena + stack
    parts = parts.replace("SAVED 0 and WORK", "an arena of")
    said = f"a trainer of {held:,} bytes ({made_of}), {parts}, {stack:,} of stack ({deepest})"
    return {**found, "flash": charges(total, known)["flash"], "arena": (arena, parts), "ram": (ram, said)}


def costs(graph: Graph, name: str, options: Options, trainer: Trainer | None = None) -> Bill:
    """The bill of what `generate` would write."""
    with collector_paused(), verified_when_debugging():
        made = stages(graph, options, trainer)
        module = _module(made, name, programs(made))
        total = with_flash(module, make_sources(module)[f"{name}.c"])
        assert total is not None
        return total


def _module(made: Stages, name: str, scheduled: Sequence[Program], model: Model = NO_MODEL) -> ModuleCode:
    options = made.options
    code = bodies(scheduled)
    saved = saved_layout(made.procedures).bytes if made.joint is not None else 0
    interface = _interface(made, name, saved, 0, model)
    apart = made.trainer.graphs if made.trainer else {}
    interface = replace(interface, work_bytes=greatest_of([0, *(c.work_bytes for c in code if c.name not in apart)]))
    total = bill(name, scheduled, options.target, saved)
    trainer = None
    if made.trainer is not None:
        arena = greatest_of([0, *(c.work_bytes for c in code if c.name in apart)])
        interface = replace(interface, blocks=(arena,))
        faces = {suffix: _face(interface, made.trainer, g) for suffix, g in apart.items()}
        names = {c.name: frozenset(names_in([c.body])) for c in code if c.name in apart}
        trainer = TrainerCode(made.trainer, faces, arena, to_c(arena), names)
    return ModuleCode(interface, tuple(code), to_c(saved), to_c(interface.work_bytes), None, total, options.target,
                      options.optimise, trainer)


def _face(interface: Interface, trainer: Trainer, graph: Graph) -> Interface:
    """A function of the trainer as the forward of an interface: what it is given and gives beside the trainer."""
    new = {name for _, name in graph.states}
    inputs = [n for n in graph.inputs if n is not STATE and n.name not in trainer.held]
    outputs = ((n, name) for n, name in zip(graph.outputs, graph.output_names) if name not in new)
    return replace(
        interface, dims=interface.dims if inputs else (), conditions=interface.conditions if inputs else (),
        inputs=tuple(Argument(n.name, n.dtype, n.shape) for n in inputs),
        outputs=tuple(Argument(name, n.dtype, n.shape) for n, name in outputs), saved_bytes=0,
        work_bytes=interface.blocks[0], differentiable=False, derivatives=(), patterns=(), draws=False, states=(),
    )


def programs(made: Stages) -> list[Program]:
    """The scheduled procedures, which share one layout of SAVED."""
    with made.stage("schedule"):
        layout = saved_layout(made.procedures)
        return schedule_module(made.procedures, schedule_options(made.options), layout)


def bodies(scheduled: Sequence[Program]) -> list[ProcedureCode]:
    """The C of each."""
    return [c_procedure(p) for p in scheduled]


def schedule_options(options: Options) -> ScheduleOptions:
    """What the scheduler may do under the user's options."""
    return ScheduleOptions(target=options.target, size=options.optimise == "size", threads=options.threads)


def _interface(made: Stages, name: str, saved: Extent, work: Extent, model: Model) -> Interface:
    graph, joint = made.graph, made.joint or made.derived
    differentiated = {n for n, _ in joint.seeds} if joint else set()
    wanted = {n.name for n in joint.parameters} if joint else set()
    formulas = _formulas(made)
    inputs = tuple(
        Argument(n.name, n.dtype, n.shape, n.name in wanted, formulas.get(f"grad_{n.name}", ""))
        for n in graph.inputs if n is not STATE
    )
    outputs = tuple(
        Argument(name, n.dtype, n.shape, name in differentiated, formulas.get(name, ""))
        for n, name in zip(graph.outputs, graph.output_names)
    )
    return Interface(
        name=name, dims=dim_names(graph.inputs), inputs=inputs, outputs=outputs,
        digest=digest(graph, name, made.options, model, made.trainer), version=VERSION, saved_bytes=saved, work_bytes=work,
        differentiable=made.joint is not None, options=made.options.items(), lines=user_lines(graph),
        derivatives=made.derivatives.names, patterns=tuple(made.derivatives.patterns),
        derivative_formulas=_derivative_formulas(made), conditions=graph.conditions, draws=STATE in graph.inputs,
        states=graph.states, in_place=made.options.in_place, index_bits=made.options.target.index_bits, model=model,
    )


def _formulas(made: Stages) -> Mapping[str, str]:
    found = argument_formulas(made.joint or made.graph, user_names(made.graph))
    return {name: shortened(text, FORMULA_LINES, FORMULA_CHARACTERS) for name, text in found.items()}


def _derivative_formulas(made: Stages) -> tuple[tuple[str, str], ...]:
    """Of dense derivatives, in terms of inputs and directions; outputs have theirs already."""
    found: dict[str, str] = {}
    own = set(made.graph.output_names)
    for p in made.derivatives.procedures:
        wanted = [(o.node, o.place.name) for o in p.outputs if o.place.name not in own]
        if not p.name.endswith("_values"):
            given = tuple(n for n in p.given if isinstance(n, Input))
            graph = Graph(given, tuple(n for n, _ in wanted), tuple(name for _, name in wanted))
            found |= argument_formulas(graph, {}, limit=DERIVATIVE_LINES)
    return tuple((name, shortened(text, DERIVATIVE_LINES, FORMULA_CHARACTERS)) for name, text in found.items())


def user_names(graph: Graph) -> dict[Node, str]:
    """Intermediate values under the names of the variables that the user's function keeps them in."""
    taken = {n.name for n in graph.inputs} | {*graph.output_names, *dim_names(graph.inputs)}
    names: dict[Node, str] = {}
    calls = {n: (graph.where[n].line, graph.where[n].variable) for n in graph.nodes if n in graph.where}
    last = {call: n for n, call in calls.items()}
    drawn = {call for n, call in calls.items() if described(n)}
    for node in graph.nodes:
        name = graph.where[node].variable if node in graph.where else ""
        if name and calls[node] in drawn and last[calls[node]] is not node:
            continue  # dropout draws first: the variable holds what it makes of that
        if name and name not in taken and node not in graph.outputs and not isinstance(node, (Input, Constant)):
            taken.add(name)
            names[node] = name
    return names


def user_lines(graph: Graph) -> tuple[str, ...]:
    """The user's lines that the module comes from, `file.py:7-9`: file names without folders, in order."""
    lines: dict[str, set[int]] = {}
    for node in graph.nodes:
        if node in graph.where:
            lines.setdefault(graph.where[node].file, set()).add(graph.where[node].line)
    runs: list[str] = []
    for file, numbers in sorted(lines.items()):
        for _, run in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
            found = [number for _, number in run]
            runs.append(f"{file}:{found[0]}-{found[-1]}" if len(found) > 1 else f"{file}:{found[0]}")
    return tuple(runs)


def digest(
    graph: Graph, name: str, options: Options, model: Model = NO_MODEL, trainer: Trainer | None = None
) -> str:
    """What decides every byte of a bundle, as one sha256."""
    more = [*([repr(model)] if model.names else []), *([] if trainer is None else [trainer.key()])]
    parts = (VERSION, name, *(f"{k}={v}" for k, v in options.items()), graph.key, *more)
    return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


def stages(graph: Graph, options: Options, trainer: Trainer | None = None) -> Stages:
    """Runs everything before scheduling."""
    graph = with_conditions(graph)
    made = Stages(graph, options, trainer=trainer)
    more = bool(options.derivatives or options.sparse)
    parameters = () if options.forward_only and not more else tuple(n for n in graph.inputs if n.requires_grad)
    if not parameters and more:
        raise DerivativeError("derivatives= needs an input to differentiate by",
                              hint="gg.spec(..., requires_grad=True) for those that count")
    if not parameters:
        with made.stage("simplify"):
            simple, where = _simplified(graph.outputs, (), graph.where, options)
            made.graph = replace(graph, outputs=simple, where=where)
        made.procedures = (_forward(made.graph, ()),)
        return _proved(made)
    with made.stage("differentiate"):
        joint = differentiate(graph, parameters, nan_safe=options.nan_safe, target=options.target)
        fused = with_unit_seed(joint) if len(joint.seeds) == 1 else joint
    with made.stage("simplify"):
        joint, fused = _simplified_joint(joint, options), _simplified_joint(fused, options)
    with made.stage("partition"):
        made.graph = joint.graph
        if options.forward_only:
            made.derived, made.procedures = joint, (_forward(made.graph, ()),)
        else:
            made.joint, made.procedures = joint, procedures(joint, fused, _held(graph, options))
    if more:
        with made.stage("derivatives"):
            made.derivatives = derivative_functions(
                graph, joint, options, lambda nodes: _simplified(nodes, (), graph.where, options)
            )
            made.procedures += tuple(made.derivatives.procedures)
    return _proved(made)


def _held(graph: Graph, options: Options) -> frozenset[Node]:
    """The inputs that are gone when backward runs: states in place."""
    states = {old for old, _ in graph.states} if options.in_place else set()
    return frozenset(n for n in graph.inputs if n.name in states)


def _states_last(p: Procedure, made: Stages) -> tuple[Output, ...]:
    """The outputs; new states last where they may replace the old ones."""
    new = {name for _, name in made.graph.states} if made.options.in_place else set()
    return tuple(replace(o, last=True) if o.place.space != SAVED and o.place.name in new else o for o in p.outputs)


def _training(trainer: Trainer, options: Options) -> Iterator[Procedure]:
    """The functions of the trainer: what a state becomes takes the state's place."""
    for suffix, graph in trainer.graphs.items():
        old = {new: name for name, new in graph.states}
        simple, where = _simplified(graph.outputs, (), graph.where, options)
        outputs = tuple(
            Output(n, Place(name), last=True, onto=Place(old[name])) if name in old else Output(n, Place(name, optional=True))
            for n, name in zip(simple, graph.output_names)
        )
        yield Procedure(suffix, outputs, _arguments(graph), where)


def _proved(made: Stages) -> Stages:
    """Every read and write of every function is inside its tensor under the conditions of the forward pass, or ReachError."""
    conditions = made.graph.conditions
    if made.trainer is not None:
        with made.stage("training"):
            made.procedures += tuple(_training(made.trainer, made.options))
    with made.stage("conditions"):
        check_reach([o.node for p in made.procedures for o in p.outputs], conditions)
        made.procedures = tuple(
            replace(p, conditions=conditions, outputs=_states_last(p, made)) for p in made.procedures)
    return made


def _simplified(
    outputs: Sequence[Node], more: Sequence[Node | None], where: Mapping[Node, Location], options: Options
) -> tuple[tuple[Node, ...], dict[Node, Location]]:
    wanted = [*outputs, *(n for n in more if n is not None)]
    lines: dict[Node, Location] = {}
    new = simplify(wanted, level=options.simplify, where=where, found=lines, target=options.target)
    whole = computed if options.simplify != "none" else lambda n: n
    return tuple(whole(new[n]) for n in wanted), lines


def _simplified_joint(joint: Joint, options: Options) -> Joint:
    simple, where = _simplified(joint.graph.outputs, joint.gradients, joint.where, options)
    count = len(joint.graph.outputs)
    rest = iter(simple[count:])
    found = tuple(None if g is None else next(rest) for g in joint.gradients)
    graph = replace(joint.graph, outputs=simple[:count], where=where)
    return replace(joint, graph=graph, gradients=found, where=where)


def procedures(joint: Joint, fused: Joint, held: Collection[Node] = ()) -> tuple[Procedure, ...]:
    """forward, backward and value_and_grad; backward does not read the inputs `held`."""
    saved = saved_nodes(joint, held)
    several = len(joint.seeds) > 1
    given = _arguments(joint.graph)
    slots = {n: Place(name, SAVED) for n, name in zip(saved, _slot_names(joint, saved))}
    seeds = {
        node: Place(f"grad_{name}", optional=several or not node.shape, default=0 if node.shape else 1)
        for name, node in joint.seeds
    }
    forward = _forward(joint.graph, tuple(slots.items()))
    again = {n: p for n, p in given.items() if n not in held}
    backward = Procedure("backward", _gradients(joint), {**again, **slots, **seeds}, joint.where)
    unit = {n: p for n, p in seeds.items() if any(s is n for _, s in fused.seeds)}
    values = tuple(Output(n, Place(name, optional=True)) for n, name in _outputs(fused.graph))
    both = Procedure("value_and_grad", (*values, *_gradients(fused)), {**given, **unit}, fused.where)
    return forward, backward, both


def _slot_names(joint: Joint, nodes: Sequence[Node]) -> list[str]:
    """Names for values in SAVED that no parameter of the emitted functions has: after the user's, where there is one."""
    graph = joint.graph
    own = [*(n.name for n in graph.inputs), *graph.output_names]
    taken = {*own, *(f"grad_{name}" for name in own), *dim_names(graph.inputs)}
    users = user_names(graph)
    free = (name for name in (f"kept{k}" for k in itertools.count()) if name not in taken)
    return [f"{users[n]}{USERS}{k}" if n in users else next(free) for k, n in enumerate(nodes)]


def _arguments(graph: Graph) -> dict[Node, Place]:
    return {n: Place(n.name) for n in graph.inputs}


def _outputs(graph: Graph) -> list[tuple[Node, str]]:
    return list(zip(graph.outputs, graph.output_names))


def _forward(graph: Graph, slots: Sequence[tuple[Node, Place]]) -> Procedure:
    values = [Output(n, Place(name, optional=True)) for n, name in _outputs(graph)]
    kept = [Output(n, place) for n, place in slots]
    return Procedure("forward", (*values, *kept), _arguments(graph), graph.where)


def _gradients(joint: Joint) -> tuple[Output, ...]:
    """A structural zero is written as zeros, so that GRADGEN_SET_GRAD leaves nothing unwritten."""
    found = []
    for parameter, gradient in zip(joint.parameters, joint.gradients):
        node = gradient if gradient is not None else _zeros(parameter)
        found.append(Output(node, Place(f"grad_{parameter.name}", optional=True), ACCUMULATE))
    return tuple(found)


def _zeros(parameter: Input) -> Node:
    return Compute(parameter.shape, placeholder(0), [Read(Constant(0, parameter.dtype), ())], parameter.dtype)


"""The training step of a program as one Graph: its loss, the gradients, and the rules of `gg.optim` traced on them.

Parameters, an optimizer's state, rates and counts are inputs, and what each becomes is a result: the states of the step.
"""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradgen.autodiff import gradients
from gradgen.autodiff.joint import differentiable_outputs
from gradgen.codegen.trainer import Field, Trainer
from gradgen.eager import creation
from gradgen.eager.modes import no_grad
from gradgen.eager.tensor import Tensor
from gradgen.errors import GradgenError
from gradgen.ir import dtypes
from gradgen.ir.draws import STATE
from gradgen.ir.dtypes import DType
from gradgen.ir.graph import Graph, Location, dim_names, topological
from gradgen.ir.nodes import Compute, Constant, Input, Node, Read, map_node
from gradgen.ir.rewrite import substitute
from gradgen.ir.symbols import placeholder
from gradgen.nn.utils.clip import get_total_norm
from gradgen.optim.lr_scheduler import LRScheduler, Recipe, ReduceLROnPlateau
from gradgen.optim.optimizer import Optimizer
from gradgen.record.traced import Spec, TracedFunction
from gradgen.trace.parameters import c_names
from gradgen.trace.recording import recorded

COUNT, RATE, SUM = "steps", "lr", "grad"
"""Fields of the trainer: how many steps there were, the rate of each group, and gradients that are added up."""


@dataclass(frozen=True)
class Training:
    """What is asked for beside the program: the options of `gg.emit` that begin with train=."""

    optimizer: Optimizer
    clip_norm: float | None = None
    clip_value: float | None = None
    schedule: LRScheduler | None = None
    loss_scale: float = 1.0
    accumulate: bool = False


def training(
    train: Any, schedule: Any = None, clip_norm: Any = None, clip_value: Any = None, loss_scale: Any = None,
    accumulate: Any = None,
) -> Training:
    """The options checked.  GradgenError for what no step can be made of."""
    if not isinstance(train, Optimizer):
        raise GradgenError(f"train={train!r} is not an optimizer",
                           hint="train=gg.optim.SGD(lr=0.1), one made without parameters")
    if type(train).__name__ == "LBFGS":
        raise GradgenError("train=LBFGS evaluates the loss several times a step: there is no fixed step to emit",
                           hint="an optimizer of first order: SGD, Adam, AdamW, ...")
    if not train.recipe:
        raise GradgenError(f"train={type(train).__name__}(...) has tensors of its own",
                           hint="leave the parameters out, or give their names instead")
    for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value), ("loss_scale", loss_scale)):
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise GradgenError(f"{name}={value!r} is not a number above 0")
    if isinstance(schedule, Recipe):
        if schedule.kind is ReduceLROnPlateau:
            raise GradgenError("schedule=ReduceLROnPlateau follows a metric that the step does not know",
                               hint="set the trainer's field lr yourself, or take a schedule of the step count")
        train = _copied(train)  # a schedule changes the rates of its optimizer
        schedule = schedule.of(train)
    if schedule is not None and (not isinstance(schedule, LRScheduler) or schedule.optimizer is not train):
        raise GradgenError(f"schedule={schedule!r} is no schedule of this optimizer",
                           hint="schedule=gg.optim.lr_scheduler.StepLR(step_size=30), one made without an optimizer")
    scale = 1.0 if loss_scale is None else float(loss_scale)
    return Training(train, clip_norm, clip_value, schedule, scale, bool(accumulate))


def _copied(recipe: Optimizer) -> Optimizer:
    made = copy.copy(recipe)
    made.param_groups = [dict(g) for g in recipe.param_groups]
    return made


def trainer_of(
    program: TracedFunction, asked: Training | None, predict: TracedFunction | bool | None = None,
    values: Mapping[str, Any] | None = None,
) -> Trainer:
    """The trainer of a program: its step, where one is asked for, and what predicts.

    Args:
        predict: the program of the same parameters that predicts, such as the model in eval(); False: none.  Unless given,
            the results of `program` that the targets do not reach.
        values: of the parameters by torch's or C's names, for <name>_trained.
    """
    paths = {name: path for path, name in program.names.items()}
    params = tuple(Field(n.name, n.name, n.dtype, tuple(n.shape), path=paths.get(n.name, "")) for n in _held(program))
    _fixed(program)
    step, found = (None, Trainer(params)) if asked is None else recorded_step(program, asked, params)
    guess = predicted(program.graph)
    if predict is None or predict is True:
        told = _lasting(guess)
        if told and step is not None:
            raise GradgenError(f"train=: what {program.name} predicts {told}",
                               hint="predict=gg.trace(net.eval(), ...), the program that predicts, or predict=False for none")
        chosen = guess
    else:
        chosen = _compatible(program, predict, params) if isinstance(predict, TracedFunction) else None
    drop = guess.output_names if guess is not None else ()
    step, added = (None if g is None else _without(g, drop) for g in (step, found.accumulate))
    trained = {} if values is None else _values(program, params, values)
    return replace(found, step=step, accumulate=added, predict=chosen, trained=trained)


def _lasting(guess: Graph | None) -> str:
    """Why results are no predictions, or nothing."""
    return "depends on random numbers" if guess is not None and STATE in guess.inputs else ""


def _without(graph: Graph, names: Sequence[str]) -> Graph:
    kept = [(n, name) for n, name in zip(graph.outputs, graph.output_names) if name not in names]
    return replace(graph, outputs=tuple(n for n, _ in kept), output_names=tuple(name for _, name in kept))


def _compatible(program: TracedFunction, predict: TracedFunction, params: Sequence[Field]) -> Graph:
    """The graph of another program over the same parameters."""
    known = {f.input: f for f in params}
    graph = predict.graph
    own = {n.name for n in program.graph.inputs}
    for n in graph.inputs:
        if n is STATE:
            raise GradgenError(f"predict={predict.name} draws random numbers", hint="trace the model in eval()")
        f = known.get(n.name)
        if f is not None and (f.dtype is not n.dtype or f.shape != tuple(n.shape)):
            raise GradgenError(f"predict={predict.name} has {n.name} as {n.dtype.name}{list(n.shape)}, {program.name} as "
                               f"{f.dtype.name}{list(f.shape)}")
        if f is None and n.requires_grad:
            raise GradgenError(f"predict={predict.name} has a parameter {n.name}, and {program.name} has none of that name",
                               hint=f"it has {', '.join(known)}")
    extra = set(dim_names(graph.inputs)) - set(dim_names(program.graph.inputs))
    if extra:
        raise GradgenError(f"predict={predict.name} has the dimension {min(extra)}, and {program.name} has not",
                           hint=f"{program.name} has {', '.join(dim_names(program.graph.inputs)) or 'none'}; inputs are "
                                f"{', '.join(sorted(own))}")
    new = {name for _, name in graph.states}
    return replace(_without(graph, tuple(new)), states=())


def _values(program: TracedFunction, params: Sequence[Field], values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    found = {}
    for f in params:
        given = values.get(f.path, values.get(f.input)) if f.path else values.get(f.input)
        if given is None:
            known = ", ".join(map(str, values)) or "nothing"
            raise GradgenError(f"values= of {program.name} has no {f.path or f.input}", hint=f"it has {known}")
        array = np.asarray(given.detach() if hasattr(given, "detach") else given)
        if array.shape != f.shape:
            raise GradgenError(f"values= has {f.path or f.input} as {list(array.shape)}, {program.name} as {list(f.shape)}")
        found[f.input] = np.array(array, f.dtype.numpy)
    return found


def recorded_step(program: TracedFunction, asked: Training, params: tuple[Field, ...]) -> tuple[Graph, Trainer]:
    """The step's Graph, and the fields of the trainer that its states are.

    The loss is the program's first result, a scalar.  Results and inputs have the program's names, new values `<field>_next`.
    """
    graph = program.graph
    loss = _loss(program)
    members = [n for n in graph.inputs if n.requires_grad]
    chosen = _chosen(program, members, asked.optimizer)
    moved = [n for n in members if n in chosen]
    lines = dict(graph.where)
    seed = Constant(asked.loss_scale, loss.dtype)
    found = gradients([loss], [seed], moved, where=graph.where, found=lines)
    slopes = {p: g for p, g in zip(moved, found) if g is not None}
    update = _Update(program, asked, {p: chosen[p] for p in slopes})
    made = update.graph()
    old = {n.name: n for n in made.inputs}
    replacement: dict[Node, Node] = {old[f"{GRADIENT}{p.name}"]: g for p, g in slopes.items() if f"{GRADIENT}{p.name}" in old}
    replacement |= {old[p.name]: p for p in slopes if p.name in old}
    new = substitute(made.outputs, replacement)
    states = tuple((f.input, f"{f.input}_next") for f in update.fields if f"{f.input}_next" in made.output_names)
    states += tuple((p.name, f"{p.name}_next") for p in slopes)
    own = tuple(n for n in made.inputs if n not in replacement)
    outputs = (*graph.outputs, *new)
    names = (*graph.output_names, *made.output_names)
    whole = Graph((*graph.inputs, *own), outputs, names, lines, graph.conditions, (*graph.states, *states))
    more = _in_two(graph, update, made, slopes, states, lines) if asked.accumulate else {}
    return whole, Trainer(params, tuple(update.fields), tuple(p.name for p in slopes), said_of(asked), STATE in graph.inputs,
                          **more)


def _in_two(
    graph: Graph, update: _Update, made: Graph, slopes: Mapping[Input, Node], states: tuple[tuple[str, str], ...],
    lines: Mapping[Node, Location],
) -> dict[str, Graph]:
    """What adds to the gradients in the trainer, and what updates by them and clears them."""
    sums = {p: Input(update.named[(SUM, p.name)], p.shape, p.dtype) for p in slopes}
    pairs = tuple((s.name, f"{s.name}_next") for s in sums.values())
    added = [map_node(placeholder(0) + placeholder(1), [sums[p], g], p.dtype) for p, g in slopes.items()]
    names = (*graph.output_names, *(new for _, new in pairs))
    accumulate = Graph((*graph.inputs, *sums.values()), (*graph.outputs, *added), names, lines, graph.conditions,
                       (*graph.states, *pairs))
    replacement: dict[Node, Node] = {n: sums[p] for n in made.inputs for p in slopes if n.name == f"{GRADIENT}{p.name}"}
    new = substitute(made.outputs, replacement)
    cleared = [Compute(p.shape, placeholder(0), [Read(Constant(0, p.dtype), ())], p.dtype) for p in slopes]
    own = tuple(n for n in made.inputs if n not in replacement)
    names = (*made.output_names, *(new for _, new in pairs))
    apply = Graph((*own, *sums.values()), (*new, *cleared), names, states=(*states, *pairs))
    return {"accumulate": accumulate, "apply": apply}


GRADIENT = "grad of "
"""Before a parameter's name in the update's own program; never seen outside."""


def _paths(program: TracedFunction) -> dict[str, str]:
    return {name: path for path, name in program.names.items()}


def _held(program: TracedFunction) -> list[Input]:
    """What the trainer has of the program: what has a gradient, what the program replaces, and all else of a model."""
    states = {old for old, _ in program.graph.states}
    own = {*states, *program.names.values()}
    return [n for n in program.graph.inputs if n.requires_grad or n.name in own]


def _loss(program: TracedFunction) -> Node:
    loss, name = program.graph.outputs[0], program.graph.output_names[0]
    if loss.shape or not loss.dtype.is_floating_point:
        raise GradgenError(f"train=: the first result of {program.name}, {name}, is "
                           f"{loss.dtype.name}{list(loss.shape)}, no loss",
                           hint="return the loss, a floating-point scalar, first")
    parameters = [n for n in program.graph.inputs if n.requires_grad]
    if not parameters or 0 not in differentiable_outputs(program.graph, parameters):
        raise GradgenError(f"train=: the loss {name} of {program.name} depends on nothing that has a gradient",
                           hint="gg.spec(..., requires_grad=True) for what is to be trained, or trace a Module")
    return loss


def _fixed(program: TracedFunction) -> None:
    for n in _held(program):
        open_ = [e for e in n.shape if not isinstance(e, int)]
        if open_:
            raise GradgenError(f"train=: {n.name}, a part of the trainer, has the open dimension {open_[0]}",
                               hint="give its spec numbers")


def _chosen(program: TracedFunction, members: Sequence[Input], optimizer: Optimizer) -> dict[Input, int]:
    """The group of every parameter that a group names; patterns are those of file names, on C's and torch's names."""
    paths, found = _paths(program), {}
    for k, group in enumerate(optimizer.param_groups):
        for pattern in group["params"]:
            hits = [n for n in members if any(fnmatch.fnmatchcase(s, pattern) for s in {n.name, paths.get(n.name, n.name)})]
            if not hits:
                raise GradgenError(f"train=: no parameter of {program.name} is called {pattern!r}",
                                   hint=f"it has {', '.join(paths.get(n.name, n.name) for n in members)}")
            for n in hits:
                if found.setdefault(n, k) != k and "*" not in pattern:
                    raise GradgenError(f"train=: {n.name} is in two parameter groups")
    return found


class _Update:
    """The optimizer's rule on all parameters, recorded as a program of its own with the gradients as inputs."""

    def __init__(self, program: TracedFunction, asked: Training, groups: Mapping[Input, int]) -> None:
        self.program, self.asked, self.groups = program, asked, groups
        self.optimizer = asked.optimizer
        self.count = len(self.optimizer.param_groups)
        wide = any(p.dtype is dtypes.float64 for p in groups)
        self.kind = dtypes.float64 if wide else dtypes.float32
        taken = {*(n.name for n in program.graph.inputs), *program.graph.output_names, *dim_names(program.graph.inputs)}
        self.fields: list[Field] = []
        self.starts: dict[Input, dict[str, Any]] = {}
        wanted: list[tuple[tuple[str, str], DType, tuple[int, ...], float]] = [((COUNT, ""), dtypes.int64, (), 0.0)]
        rates = [float(g.get("initial_lr", g["lr"])) for g in self.optimizer.param_groups]
        wanted.append(((RATE, ""), self.kind, (self.count,) if self.count > 1 else (), rates[0]))
        shared: dict[str, tuple[DType, float]] = {}
        for p, k in groups.items():
            group = {**self.optimizer.param_groups[k], "lr": rates[k]}
            with no_grad():
                begun = self.optimizer._begin_recorded(creation.zeros((1,), dtype=p.dtype), group)
            self.starts[p] = begun
            for name, value in begun.items():
                if isinstance(value, Tensor):
                    wanted.append(((name, p.name), value.dtype, tuple(p.shape), float(value)))
                elif name != "step":
                    shared[name] = (self._scalar_type(), float(value))
        each_group = (self.count,) if self.count > 1 else ()
        wanted += [((name, ""), kind, each_group, value) for name, (kind, value) in shared.items()]
        if asked.accumulate:
            wanted += [((SUM, p.name), p.dtype, tuple(p.shape), 0.0) for p in groups]
        names = c_names(["_".join(filter(None, key)) for key, *_ in wanted], taken)
        self.named: dict[tuple[str, str], str] = {}
        paths = _paths(program)
        for key, kind, shape, start in wanted:
            found = names["_".join(filter(None, key))]
            self.named[key] = found
            each = tuple(rates) if key[0] == RATE and self.count > 1 else ()
            path = paths.get(key[1], "") if key[0] == SUM else ""
            self.fields.append(Field(key[0], found, kind, shape, start, of=key[1], each=each, path=path))

    def _scalar_type(self) -> DType:
        from gradgen.ops.promotion import defaults

        return self.kind if self.kind is dtypes.float64 and defaults.dtype is dtypes.float64 else dtypes.float32

    def graph(self) -> Graph:
        """Named after the fields; new values have `_next`."""
        specs: dict[str, Spec] = {}
        for p in self.groups:
            specs[p.name] = Spec(tuple(p.shape), p.dtype)
            specs[f"{GRADIENT}{p.name}"] = Spec(tuple(p.shape), p.dtype)
        specs |= {f.input: Spec(f.shape, f.dtype) for f in self.fields if f.name != SUM}

        def update(**given: Any) -> dict[str, Any]:
            with no_grad():
                return self._run(given)

        return recorded(update, specs, None, "update", check=False).graph

    def _run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        asked, optimizer = self.asked, self.optimizer
        slopes = {p: given[f"{GRADIENT}{p.name}"] for p in self.groups}
        if asked.loss_scale != 1.0:
            slopes = {p: g * (1.0 / asked.loss_scale) for p, g in slopes.items()}
        slopes = self._clipped(slopes)
        done = given[self.named[(COUNT, "")]].to(self.kind)
        results: dict[str, Any] = {}
        groups = [self._group(k, given, done) for k in range(self.count)]
        scalars: dict[int, dict[str, Any]] = {}
        for p, k in self.groups.items():
            value = given[p.name].clone()
            state: dict[str, Any] = {}
            for name, start in self.starts[p].items():
                if isinstance(start, Tensor):
                    state[name] = given[self.named[(name, p.name)]].clone()
                else:
                    field = done if name == "step" else self._of_group(given[self.named[(name, "")]], k)
                    state[name] = field.to(self.kind).clone()
            group = {n: v.to(p.dtype) if isinstance(v, Tensor) else v for n, v in groups[k].items()}
            slope = -slopes[p] if group.get("maximize") else slopes[p]
            optimizer._update(value, slope, state, group)
            results[f"{p.name}_next"] = value
            for name, start in self.starts[p].items():
                if isinstance(start, Tensor):
                    results[f"{self.named[(name, p.name)]}_next"] = state[name]
                elif name != "step":
                    scalars.setdefault(k, {})[name] = state[name]
        for name in {n: None for s in scalars.values() for n in s}:
            field = given[self.named[(name, "")]]
            each = [scalars[k][name].to(field.dtype) if k in scalars and name in scalars[k] else self._of_group(field, k)
                    for k in range(self.count)]
            results[f"{self.named[(name, '')]}_next"] = creation.stack(each) if self.count > 1 else each[0]
        return results

    def _of_group(self, field: Any, k: int) -> Any:
        return field[k] if self.count > 1 else field

    def _group(self, k: int, given: Mapping[str, Any], done: Any) -> dict[str, Any]:
        """The options of a group, its rate as a tensor."""
        rate = self._of_group(given[self.named[(RATE, "")]], k)
        group = {**self.optimizer.param_groups[k]}
        if self.asked.schedule is not None:
            try:
                rate = self.asked.schedule.recorded(k, rate, done)
                more = self.asked.schedule._recorded_options(k, done)
            except (TypeError, ValueError) as error:
                raise GradgenError(f"schedule={type(self.asked.schedule).__name__}: {error}",
                                   hint="a schedule is a function of the step count, in operations of tensors") from None
            group |= more
        return {**group, "lr": rate if isinstance(rate, Tensor) else creation.tensor(float(rate), dtype=self.kind)}

    def _clipped(self, slopes: dict[Input, Any]) -> dict[Input, Any]:
        asked = self.asked
        if asked.clip_value is not None:
            slopes = {p: g.clamp(-asked.clip_value, asked.clip_value) for p, g in slopes.items()}
        if asked.clip_norm is not None:
            norm: Any = get_total_norm(list(slopes.values()))
            factor = (float(asked.clip_norm) / (norm + 1e-6)).clamp(max=1.0)
            slopes = {p: g * factor for p, g in slopes.items()}
        return slopes


def said_of(asked: Training) -> str:
    """One line that says how is trained: "SGD, lr 0.05, momentum 0.9; clip_norm 1.0; CosineAnnealingLR"."""
    said = [type(asked.optimizer).__name__]
    defaults = type(asked.optimizer)().defaults
    for n, v in asked.optimizer.defaults.items():
        if n == "lr" or (n in defaults and v != defaults[n]):
            said.append(f"{n} {v}")
    parts = [", ".join(said)]
    parts += [f"{n} {v:g}" for n, v in (("clip_norm", asked.clip_norm), ("clip_value", asked.clip_value)) if v is not None]
    parts += [type(asked.schedule).__name__] if asked.schedule is not None else []
    return "; ".join(parts)


def predicted(graph: Graph) -> Graph | None:
    """The part of a program whose results do not depend on the targets: inputs that the loss needs and another result not."""
    old, new = {name for name, _ in graph.states}, {name for _, name in graph.states}
    data = {n for n in graph.inputs if not n.requires_grad and n.name not in old}
    results = [(n, name) for n, name in zip(graph.outputs, graph.output_names) if name not in new]
    below = {name: data & set(topological([n])) for n, name in results}
    loss = graph.output_names[0]
    targets = {t for name, found in below.items() if name != loss for t in below[loss] - found}
    kept = [(n, name) for n, name in results if name != loss and not below[name] & targets]
    if not targets or not kept:
        return None
    nodes = tuple(n for n, _ in kept)
    needed = set(topological(nodes))
    inputs = tuple(n for n in graph.inputs if n in needed)
    dims = set(dim_names(inputs))
    conditions = tuple(r for r in graph.conditions if {s.name for s in r.condition.expr.free_symbols} <= dims)
    where = {n: line for n, line in graph.where.items() if n in needed}
    return Graph(inputs, nodes, tuple(name for _, name in kept), where, conditions)

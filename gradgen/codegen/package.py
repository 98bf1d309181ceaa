"""The Python package of a bundle: a thin `__init__.py` with plain signatures over the copied runtime."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradgen.codegen.declarations import aligned_formulas, argument_lines
from gradgen.codegen.demands import as_python, message
from gradgen.codegen.extents import constant, to_python
from gradgen.codegen.interface import HVP, JACOBIAN, JVP, Argument, Interface
from gradgen.codegen.programs import TEST_DIM, dim_values
from gradgen.codegen.templates import render
from gradgen.codegen.trainer import TrainerCode, place
from gradgen.errors import CodegenError
from gradgen.ir.assumptions import Requirement

COPIES = {
    "_runtime.py": "runtime.py",
    "_native.py": "_native.py",
    "_held.py": "_held.py",
    "_selfcheck.py": "_selfcheck.py",
    "_build.py": "build/standalone.py",
}
"""File of the bundle -> file of this package of which it is a copy."""

DERIVATIVE_COPIES = {"_derivatives.py": "_derivatives.py"}
"""Further ones where the module has derivative functions."""

STATEFUL_COPIES = {"_stateful.py": "_stateful.py"}
"""Further ones where it has states or draws random numbers."""


TRAINING_COPIES = {"_training.py": "_training.py"}
"""Further ones where it has a trainer."""


def package_files(interface: Interface, abi: int, trainer: TrainerCode | None = None) -> dict[str, str]:
    """`__init__.py` and the copied modules."""
    folder = Path(__file__).parents[1]
    copies = COPIES | (DERIVATIVE_COPIES if interface.derivatives else {})
    copies |= STATEFUL_COPIES if interface.draws or interface.states else {}
    copies |= TRAINING_COPIES if trainer is not None and trainer.trainer.step is not None else {}
    files = {name: (folder / path).read_text(encoding="utf-8") for name, path in copies.items()}
    return {"__init__.py": _init(interface, abi, trainer), **files}


def programs_files(name: str, packages: Mapping[str, str], version: str) -> dict[str, str]:
    """The package around several programs of one model, by their modes."""
    parts = [{"mode": mode, "package": package} for mode, package in packages.items()]
    exported = ", ".join(f'"{e}"' for e in sorted(["Module", "programs", *packages.values()]))
    text = render("python/programs.py.j2", name=name, summary=" and ".join(packages.values()), generator=f"gradgen {version}",
                  parts=parts, exported=exported)
    copied = (Path(__file__).parents[1] / "_programs.py").read_text(encoding="utf-8")
    return {"__init__.py": text, "_programs.py": copied}


def _init(interface: Interface, abi: int, trainer: TrainerCode | None) -> str:
    _check_dims(interface)
    inputs = [a.name for a in interface.inputs]
    parameters = [a.name for a in interface.parameters]
    data = [a.name for a in interface.data]
    held, named = [a.name for a in interface.held], bool(interface.model.names)
    outputs = [a.name for a in interface.outputs]
    seeded = "value_and_grad" in interface.functions and any(
        p.kind == "cotangent" for p in interface.functions["value_and_grad"]
    )
    exported = ["Module", "forward", "info", "saved_bytes", "self_test", "work_bytes"]
    exported += ["value_and_grad"] if interface.differentiable else []
    trains = trainer is not None and trainer.trainer.step is not None
    exported += ["Trainer"] if trains else []
    derivatives = [_derivative(interface, suffix) for suffix in interface.derivatives]
    exported += [d["name"] for d in derivatives]
    return render(
        "python/__init__.py.j2",
        derivatives=derivatives,
        trainer=_trainer(trainer) if trainer is not None and trains else None,
        name=interface.name,
        summary=f"{', '.join(outputs)} of {', '.join(inputs)}.",
        generator=f"gradgen {interface.version}",
        digest=interface.digest,
        formula_lines=_formula_lines(interface),
        exported=", ".join(f'"{e}"' for e in sorted(exported)),
        name_literal=_literal(interface.name),
        digest_literal=_literal(interface.digest),
        generator_literal=_literal(f"gradgen {interface.version}"),
        abi=abi,
        dims=_tuple([_literal(d) for d in interface.dims]),
        inputs=[_tensor(a, a in interface.parameters) for a in interface.inputs],
        outputs=[_tensor(a, a in interface.differentiable_outputs) for a in interface.outputs],
        differentiable=interface.differentiable,
        conditions=[_condition(r) for r in interface.conditions],
        sizes=_tuple([f"({_literal(d)}, {n})" for d, n in dim_values(interface, TEST_DIM).items()]),
        draws=interface.draws,
        states=_tuple([f"({_literal(old)}, {_literal(new)})" for old, new in interface.states]),
        has_states=bool(interface.states),
        stateful=bool(interface.draws or interface.states),
        bases="_stateful.Stateful, _runtime.Module" if interface.draws or interface.states else "_runtime.Module",
        seed_parameters="seed, step=0, " if interface.draws else "",
        seed_argument=", (seed, step)" if interface.draws else "",
        seed_argument_flat=", seed=seed, step=step" if interface.draws else "",
        options=_tuple([f"({_literal(k)}, {_literal(v)})" for k, v in interface.options]),
        dims_parameters=", ".join(f"{d}: int" for d in interface.dims),
        dims_tuple=_items(interface.dims),
        inputs_call=", ".join(inputs),
        inputs_tuple=_items(inputs),
        input_lines=argument_lines(interface.inputs, {}),
        outputs_text=", ".join(outputs),
        returns=_returns(outputs),
        gradient_parameter="gradient=None, " if seeded else "",
        gradient_text=f"  `gradient` is the incoming gradient of {' and '.join(outputs)}." if seeded else "",
        gradient_argument="gradient" if seeded else "None",
        parameters_text=", ".join(parameters) or "(none)",
        held_call=(", _state=None, /, *" if named else "") + "".join(f", {h}{'=None' if named else ''}" for h in held),
        held_tuple=_items(held),
        held_state=", _state" if named else "",
        names=_pairs(interface.model.names) if named else [],
        aliases=_pairs(interface.model.aliases),
        order=[_literal(p) for p in interface.model.order] if named else [],
        unused=[_tensor(a, False) for a in interface.model.unused] if named else [],
        data_call="".join(f", {d}" for d in data),
        data_tuple=_items(data),
    )


def _trainer(code: TrainerCode) -> dict[str, Any]:
    """What the template needs of the trainer."""
    trainer = code.trainer
    return {
        "summary": f"The parameters and what training keeps beside them ({trainer.recipe}), in memory of C.",
        "faces": [
            f"_training.Face({_literal(suffix)}, {_tuple([_tensor(a, False) for a in face.inputs])}, "
            f"{_tuple([_tensor(a, False) for a in face.outputs])})" for suffix, face in code.faces.items()
        ],
        "members": [
            f"_training.Member({_literal(f.input)}, {_literal(place(trainer, f))}, {_literal(f.dtype.name)}, {f.shape!r}, "
            f"{_literal(f.path)})" for f in trainer.held.values()
        ],
        "draws": trainer.draws,
    }


def _derivative(interface: Interface, suffix: str) -> dict[str, str]:
    """What the template needs of one derivative function."""
    parameters = " and ".join(a.name for a in interface.parameters)
    outputs = ", ".join(a.name for a in interface.differentiable_outputs)
    several = len(interface.differentiable_outputs) > 1
    name, session, given = suffix, suffix, ""
    if suffix == JVP:
        given, summary = "tangents", f"{outputs} and the derivative along a direction, in one pass."
        text = f"`tangents` is a tuple or dict of arrays by parameter ({parameters}); what is left out is zero.  Returns\n"
        text += "    (outputs, derivatives), each an array or a named tuple."
    elif suffix == HVP:
        given, summary = "directions", f"The Hessian of {outputs} times a direction."
        text = f"`directions` is a tuple or dict of arrays by parameter ({parameters}); what is left out is zero.\n"
        text += "    Returns a named tuple of arrays by parameter."
    else:
        first = suffix.removesuffix("_values")
        what = "First" if first == JACOBIAN else "Second"
        summary = f"{what} derivatives of {outputs} by {parameters}."
        nested = "by output and parameter" if several else "by parameter"
        nested = nested if first == JACOBIAN else "by parameter and parameter"
        rows = "the extents of the output" if first == JACOBIAN else "the extents of the one parameter"
        text = f"Returns dense arrays {nested} in named tuples:\n    {rows}, then those of the other."
        text = text.replace("of the other", "of the parameter") if first == JACOBIAN else text
        if suffix != first:
            name, session = f"{first}_sparse", "sparse"
            text = f"Returns matrices in compressed rows {nested}\n    in named tuples: triples (data, indices, indptr) "
            text += "with a shape, toarray() and scipy()."
    keywords = [*(["seed", "step=0"] if interface.draws else []), *([given] if given else [])]
    return {
        "name": name, "call": session, "summary": summary, "text": text,
        "parameter": f", *, {given}" if given else "",
        "keywords": f", *, {', '.join(keywords)}" if keywords else "",
        "argument": f", {given}" if given else "",
        "first": f'"{suffix.removesuffix("_values")}", ' if session == "sparse" else "",
    }


def _check_dims(interface: Interface) -> None:
    """Python callers give arrays, not dimensions: each must be an extent of some input."""
    for d in interface.dims:
        if not any(str(e) == d for a in interface.inputs for e in a.shape):
            raise CodegenError(
                f"dimension {d} of {interface.name} is no extent of any input, so that calls cannot know it",
                hint=f"give some input a shape in which {d} stands alone",
            )


def _returns(outputs: Sequence[str]) -> str:
    return "a NumPy array" if len(outputs) == 1 else f"a named tuple ({', '.join(outputs)}) of NumPy arrays"


def _formula_lines(interface: Interface) -> list[str]:
    lines = aligned_formulas(interface)
    wrapped = [w for line in lines for w in textwrap.wrap(line, 100, initial_indent="    ", subsequent_indent=" " * 8)]
    return [w.replace("\\", "\\\\").replace('"""', "'''") for w in wrapped]


def _literal(text: str) -> str:
    """A Python string literal in double quotes, ASCII only."""
    escaped = text.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{escaped}"'


def _items(items: Sequence[str]) -> str:
    """The inside of a tuple."""
    return ", ".join(items) + ("," if len(items) == 1 else "")


def _tuple(items: Sequence[str]) -> str:
    return f"({_items(items)})"


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The inside of a dict, an entry a line."""
    return [f"{_literal(a)}: {_literal(b)}" for a, b in pairs]


def _condition(requirement: Requirement) -> str:
    parts = [_literal(as_python(requirement.condition)), _literal(str(requirement.where or "")),
             _literal(requirement.error), _tuple([_literal(p) for p in message(requirement)])]
    return f"_runtime.Condition({', '.join(parts)})"


def _tensor(argument: Argument, requires_grad: bool) -> str:
    extents = [to_python(e) if constant(e) is not None else _literal(to_python(e)) for e in argument.shape]
    parts = [_literal(argument.name), _literal(argument.dtype.numpy.name), _tuple(extents)]
    if requires_grad or argument.formula:
        parts.append(str(requires_grad))
    if argument.formula:
        parts.append(_literal(argument.formula))
    return f"_runtime.Tensor({', '.join(parts)})"

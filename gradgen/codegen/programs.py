"""The two programs of a bundle: `example.c` shows how to call the module, `selftest.c` tests it where it is to run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradgen.codegen.declarations import args_members, state_members, wrap
from gradgen.codegen.demands import fitting
from gradgen.codegen.extents import constant, elements, evaluate, to_c
from gradgen.codegen.interface import (
    COTANGENT,
    DIM,
    FLAGS,
    GRADIENT,
    INPUT,
    OUTPUT,
    RANDOM,
    SEEDS,
    Argument,
    Interface,
    Parameter,
)
from gradgen.codegen.literals import floating
from gradgen.codegen.module_record import c_dtype, c_string
from gradgen.codegen.selftest_derivatives import derivative_parameters, derivative_tests
from gradgen.codegen.templates import render
from gradgen.ir.dtypes import ALL, REFERENCE, DType
from gradgen.ir.symbols import Extent

EXAMPLE_DIM, TEST_DIM = 4, 3
TEST_SEEDS = (1, 0)
"""Seed and step of the recorded call."""
SUMS = 31
"""So many weighted sums are recorded of a tensor, whatever its size: a prime, so that they run across rows and columns."""
MOST_INTEGERS = 1024
"""An integer input with more elements than this is 0 in the self-test: its values stand there."""


@dataclass(frozen=True)
class Recorded:
    """What the sums of one tensor should be, and how far they may be off."""

    sums: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True, eq=False)
class Samples:
    """What `selftest.c` knows about the call it makes.

    `integers` are the values of inputs that are no floats, `recorded` the results by name ("y", "grad_w"), `steps` those of
    the differences that confirm a gradient, by the input's name (0 or absent: the gradient is no slope there); `first` and
    `second` tell whether differences say anything about first and second derivative functions, `signed` whether the other
    inputs are of both signs.
    """

    dims: Mapping[str, int]
    integers: Mapping[str, Any]
    recorded: Mapping[str, Recorded]
    steps: Mapping[str, float]
    first: bool = True
    second: bool = True
    signed: bool = False


# What selftest.c computes, in NumPy; the two must stay alike.


def made_up(count: int, of: int) -> np.ndarray:
    """Numbers between 1/8 and 7/8, where most functions are smooth: exact in every dtype, in no order, all different up to
    65,536 of them, and no multiples of a large power of 2 (so that no kink or tie is met)."""
    v = (np.arange(count, dtype=np.uint64) * np.uint64(40503) + np.uint64(30011 * of + 77)) & np.uint64(0xFFFF)
    v = ((v ^ (v >> np.uint64(7))) * np.uint64(40503)) & np.uint64(0xFFFF)
    v = v ^ (v >> np.uint64(9))
    return 0.125 + (2 * v.astype(np.float64) + 1) * 3 / 524288


def direction(count: int, start: int = 0) -> np.ndarray:
    """1 and -1, in no order."""
    hashed = (np.arange(start, start + count, dtype=np.uint64) * np.uint64(2654435761)) >> np.uint64(7)
    return np.where(hashed & np.uint64(1), 1.0, -1.0)


def weights(count: int) -> np.ndarray:
    """Of the elements in the recorded sums."""
    return direction(count) * (0.5 + made_up(count, 91))


def dim_values(interface: Interface, wanted: int) -> dict[str, int]:
    """Small values for the open dimensions that the conditions allow, and with which no tensor is empty where that can be."""
    extents = [e for a in (*interface.inputs, *interface.outputs) for e in a.shape]
    values = dict.fromkeys(interface.dims, wanted)
    full = fitting(interface.dims, interface.conditions, values, lambda v: all(evaluate(e, v) > 0 for e in extents))
    if all(evaluate(e, full) > 0 for e in extents):
        return full
    return fitting(interface.dims, interface.conditions, values)


def _dims(values: Mapping[str, int]) -> list[dict[str, object]]:
    return [{"name": d, "constant": f"dim_{d}", "value": v} for d, v in values.items()]


def _count(interface: Interface, extent: Extent) -> str:
    """Elements as C over the program's constants."""
    return to_c(extent, {d: f"dim_{d}" for d in interface.dims})


def _member(interface: Interface, dtype: DType, name: str, shape: tuple[Extent, ...], values: Mapping[str, int]) -> str:
    count = elements(shape)
    size = _count(interface, count) if evaluate(count, values) > 0 else "1"  # C has no empty arrays
    return f"{dtype.ctype} {name}[{size}]"


def _block(interface: Interface, which: str, values: Mapping[str, int]) -> str:
    extent = interface.saved_bytes if which == "saved" else interface.work_bytes
    macro = f"{interface.name.upper()}_{which.upper()}_BYTES"
    macro += f"({', '.join(f'dim_{d}' for d in interface.dims)})" if interface.dims else ""
    if constant(extent) == 0 or evaluate(extent, values) == 0:
        return f"{macro} + 1"  # C has no empty arrays
    return macro


# --- example ---------------------------------------------------------------------------------------------------------


def example_text(interface: Interface, banner: str) -> str:
    values = dim_values(interface, EXAMPLE_DIM)
    floating = {a.dtype.name: a.dtype for a in interface.inputs if a.dtype.is_floating_point}
    trained = interface.parameters if interface.differentiable else ()
    stepped = {a.dtype.name: a.dtype for a in trained}
    kept = {a.name for a in state_members(interface)}
    listed = [(a.dtype, a.name, a.shape) for a in (*interface.inputs, *interface.outputs) if a.name not in kept]
    listed += [(a.dtype, f"grad_{a.name}", a.shape) for a in trained]
    listed += [(p.dtype, p.name, p.shape) for p in _given_seeds(interface) if p.dtype is not None]
    steps = "a few steps of gradient descent on made-up numbers." if interface.differentiable else "one call."
    return render(
        "c/example.c.j2",
        banner=banner,
        name=interface.name,
        purpose=steps,
        dims=_dims(values),
        differentiable=interface.differentiable,
        members=[*([f"{interface.name}_state state"] if kept else []),
                 *(_member(interface, dtype, name, shape, values) for dtype, name, shape in listed)],
        state_macro=f"{interface.name.upper()}_STATE_BYTES" if kept else "",
        saved_bytes=_block(interface, "saved", values),
        work_bytes=_block(interface, "work", values),
        fillers=[_filler(d) for d in floating.values()],
        steps=[_step(d) for d in stepped.values()],
        setup=_setup(interface, values),
        body=_training(interface) if interface.differentiable else _one_call(interface),
    )


def _filler(dtype: DType) -> dict[str, str]:
    scale, offset = floating(dtype.numpy.type(127), dtype), floating(dtype.numpy.type(0.1), dtype)
    return {"name": f"fill_{dtype.name}", "ctype": dtype.ctype, "scale": scale, "offset": offset}


def _step(dtype: DType) -> dict[str, str]:
    return {"name": f"step_{dtype.name}", "ctype": dtype.ctype, "rate": floating(dtype.numpy.type(0.1), dtype)}


def _given_seeds(interface: Interface) -> list[Parameter]:
    """The cotangents that the example fills with 1: those that may not be NULL, or the first where NULL means 0."""
    seeds = [p for p in interface.functions.get("backward", ()) if p.kind == COTANGENT]
    needed = [p for p in seeds if not p.optional]
    return needed or ([] if any(not p.shape for p in seeds) else seeds[:1])


def _setup(interface: Interface, values: Mapping[str, int]) -> list[str]:
    lines = []
    for a in interface.inputs:
        count = _count(interface, elements(a.shape))
        if a.dtype.is_floating_point:
            lines.append(f"fill_{a.dtype.name}({_at(a.name, interface)}, {count});")
        elif a.dtype.category == 0:
            lines.append(f"memset({_at(a.name, interface)}, 1, sizeof {_at(a.name, interface)});")
        else:
            lines.append(f"memset({_at(a.name, interface)}, 0, sizeof {_at(a.name, interface)}); /* index 0 */")
    for p in _given_seeds(interface):
        count = _count(interface, elements(p.shape))
        if evaluate(elements(p.shape), values) > 0:  # compilers warn of a loop up to 0
            lines += [f"for (size_t k = 0; k < {count}; k++) {{", f"    t.{p.name}[k] = 1;", "}"]
    return lines


def _at(name: str, interface: Interface) -> str:
    """Where the example has a tensor."""
    return f"t.state.{name}" if any(a.name == name for a in state_members(interface)) else f"t.{name}"


def _training(interface: Interface) -> list[str]:
    zeroed = [_value(p, interface) for p in interface.functions["zero_grad"]]
    lines = _call_setup(interface)
    lines.append("for (int step = 0; step < STEPS; step++) {")
    if interface.draws and args_members(interface):
        lines.append("    args.step = (uint64_t)step;")
    lines.append(f"    {interface.name}_zero_grad({wrap(zeroed, ' ' * 8).lstrip()});")
    lines += [f"    {line}" for line in _call(interface, "forward")]
    lines += [f"    {line}" for line in _call(interface, "backward")]
    lines += [f"    {line}" for line in _print("step %d", ["step"], interface)]
    for a in interface.parameters:
        count = _count(interface, elements(a.shape))
        lines.append(f"    step_{a.dtype.name}({_at(a.name, interface)}, t.grad_{a.name}, {count});")
    lines += [f"    memcpy({_at(old, interface)}, t.{new}, sizeof t.{new});" for old, new in interface.states]
    return [*lines, "}"]


def _one_call(interface: Interface) -> list[str]:
    return [*_call_setup(interface), *_call(interface, "forward"), *_print(interface.name, [], interface)]


def _print(head: str, values: Sequence[str], interface: Interface) -> list[str]:
    formats, items = [head], list(values)
    for a in interface.outputs:
        element = "" if not a.shape else "[0]"
        formats.append(f"{a.name}{element} %.6f" if a.dtype.is_floating_point else f"{a.name}{element} %ld")
        items.append(f"({'double' if a.dtype.is_floating_point else 'long'})t.{a.name}[0]")
    text = c_string("  ".join(formats) + "\n")
    return [f"printf({wrap([text, *items], ' ' * 11).lstrip()});"]


def _value(parameter: Parameter, interface: Interface) -> str:
    if parameter.kind == DIM:
        return f"dim_{parameter.name}"
    if parameter.kind == RANDOM:
        return "1" if parameter.name == SEEDS[0] else "(uint64_t)step" if interface.differentiable else "0"
    if parameter.kind == FLAGS:
        return "0"
    if parameter.kind == COTANGENT:
        return f"t.{parameter.name}" if parameter in _given_seeds(interface) else "NULL"
    return _at(parameter.name, interface) if parameter.kind in (INPUT, OUTPUT, GRADIENT) else parameter.name


def _call_setup(interface: Interface) -> list[str]:
    """With many tensors, the parameters go into a struct."""
    lines = []
    if args_members(interface):
        lines += [f"{interface.name}_args args;", "memset(&args, 0, sizeof args);"]
        for p in args_members(interface):
            if _value(p, interface) not in ("NULL", "0", "(uint64_t)step"):
                lines.append(f"args.{p.name} = {_value(p, interface)};")
    return lines


def _call(interface: Interface, suffix: str) -> list[str]:
    if args_members(interface):
        call = f"{interface.name}_{suffix}_args(&args)"
    else:
        values = [_value(p, interface) for p in interface.functions[suffix]]
        call = f"{interface.name}_{suffix}({wrap(values, ' ' * 16).lstrip()})"
    return [f"if (failed({c_string(suffix)}, {call})) {{", "    return 1;", "}"]


# --- self-test -------------------------------------------------------------------------------------------------------


def selftest_text(interface: Interface, banner: str, samples: Samples | None) -> str:
    if samples is None:
        steps = {a.name: a.dtype.step for a in interface.parameters}
        samples = Samples(dim_values(interface, TEST_DIM), {}, {}, steps)
    values = dict(samples.dims)
    groups = _groups(interface)
    largest = max([evaluate(elements(a.shape), values) for a in interface.parameters], default=1)
    listed = [(a.dtype, prefix + a.name, a.shape) for prefix, arguments in groups.values() for a in arguments]
    listed += [(p.dtype, p.name, p.shape) for p in derivative_parameters(interface) if p.dtype is not None]
    return render(
        "c/selftest.c.j2",
        derivatives=derivative_tests(interface, values, samples.first, samples.second),
        banner=banner,
        name=interface.name,
        recorded_text="results recorded when it was generated, " if samples.recorded else "",
        dims=_dims(values),
        counts={name: len(arguments) for name, (_, arguments) in groups.items()},
        sum_count=SUMS,
        signed=int(samples.signed),
        largest=max(largest, 1),
        members=[_member(interface, dtype, name, shape, values) for dtype, name, shape in listed],
        saved_bytes=_block(interface, "saved", values) + " + 1",
        work_bytes=_block(interface, "work", values) + " + 1",
        recorded=_recorded(interface, samples),
        **_types(interface),
        tables=[
            {"name": name, "rows": [_row(interface, name, prefix, a, samples) for a in arguments]}
            for name, (prefix, arguments) in groups.items()
        ],
        dim_values=", ".join([f"dim_{d}" for d in interface.dims] + _seeds(interface) or ["0"]),
    )


def _types(interface: Interface) -> dict[str, object]:
    """What the self-test says of element types: those with arithmetic of their own, and those of arguments."""
    used = {a.dtype for a in (*interface.inputs, *interface.outputs)}
    types = [d for d in ALL if d.wider is None or d in used]
    floats = sorted((d for d in types if d.is_floating_point), key=lambda d: d.digits)
    return {
        "types": [_type(d) for d in types],
        "set": [_type(d) for d in (*floats, *(d for d in types if d not in floats))],
        "floating": " || ".join(f"inputs[i].dtype == {c_dtype(d)}" for d in floats),
        "epsilon": _by_type("dtype", {d: 2.0 ** (1 - d.digits) for d in floats}),
        "slack": _by_type("x->dtype", {d: d.slack for d in floats}),
    }


def _type(d: DType) -> dict[str, str]:
    inexact = d.itemsize == 8 if d.category == 1 else d.is_floating_point and d is not REFERENCE
    narrowed = "value" if d is REFERENCE else f"({d.ctype})(value > 0.5)" if d.category == 0 else f"({d.ctype})value"
    return {"constant": c_dtype(d), "ctype": d.ctype, "widened": "(double)" if inexact else "", "narrowed": narrowed}


def _by_type(subject: str, numbers: Mapping[DType, float]) -> str:
    """A number for each type, rounded up to two digits; the last one for what remains."""
    texts = []
    for dtype, number in numbers.items():
        exponent = math.floor(math.log10(number))
        texts.append((f"{subject} == {c_dtype(dtype)} ? ", f"{math.ceil(number / 10.0**exponent * 10) / 10:g}e{exponent}"))
    return "".join(f"{test}{text} : " for test, text in texts[:-1]) + texts[-1][1]


def _seeds(interface: Interface) -> list[str]:
    return [str(s) for s in TEST_SEEDS] if interface.draws else []


def _groups(interface: Interface) -> dict[str, tuple[str, tuple[Argument, ...]]]:
    """Table -> prefix of its members and the arguments they belong to."""
    return {
        "inputs": ("", interface.inputs),
        "outputs": ("", interface.outputs),
        "gradients": ("grad_", interface.parameters),
        "cotangents": ("grad_", interface.differentiable_outputs),
    }


def _row(interface: Interface, table: str, prefix: str, argument: Argument, samples: Samples) -> str:
    whole = interface.outputs if table == "cotangents" else interface.inputs
    owner = whole.index(argument) if prefix else 0
    name = prefix + argument.name
    given = f"given_{name}" if table == "inputs" and argument.name in samples.integers else "NULL"
    found = samples.recorded.get(name) if table in ("outputs", "gradients") else None
    sums, tolerance = (f"sums_{name}", _literal(found.tolerance)) if found is not None and found.sums else ("NULL", "0.0")
    step = _literal(samples.steps.get(argument.name, 0.0) if table == "gradients" else 0.0)
    count = _count(interface, elements(argument.shape))
    members = (c_string(name), c_dtype(argument.dtype), count, f"t.{name}", str(owner), given, sums, tolerance, step)
    return f"{{{', '.join(members)}}}"


def _recorded(interface: Interface, samples: Samples) -> list[str]:
    """The tables of integers and of sums."""
    tables = []
    for a in interface.inputs:
        if a.name in samples.integers:
            numbers = [_integer(int(v)) for v in np.asarray(samples.integers[a.name]).ravel()] or ["0"]
            tables.append(f"static const {a.dtype.ctype} given_{a.name}[] = {{\n{wrap(numbers, '    ')}\n}};")
    names = [a.name for a in interface.outputs] + [f"grad_{a.name}" for a in interface.parameters]
    for name in names:
        if name in samples.recorded and samples.recorded[name].sums:
            numbers = [_literal(v) for v in samples.recorded[name].sums]
            tables.append(f"static const double sums_{name}[] = {{\n{wrap(numbers, '    ')}\n}};")
    return tables


def _integer(value: int) -> str:
    if value == -(2**63):
        return "INT64_MIN"
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"


def _literal(value: float) -> str:
    """A literal of C's double that gives the same bits back."""
    if math.isnan(value):
        return "(double)NAN"
    if math.isinf(value):
        return "(double)INFINITY" if value > 0 else "-(double)INFINITY"
    return repr(float(value))

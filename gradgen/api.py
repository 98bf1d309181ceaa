"""What the generator calls: build and emit bundles, and jit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gradgen.build.load import load_package, load_programs
from gradgen.codegen.bundle import write_bundle
from gradgen.codegen.interface import Argument, Model
from gradgen.codegen.names import check_module_name
from gradgen.codegen.package import programs_files
from gradgen.compiler.pipeline import generate
from gradgen.errors import GradgenError
from gradgen.ir import dtypes
from gradgen.options import Options
from gradgen.record.traced import TracedFunction
from gradgen.show import show
from gradgen.target import NATIVE, target_of
from gradgen.trace.choice import CHOICES, prepared
from gradgen.trace.jit import jit
from gradgen.trace.scan import scan
from gradgen.training.asking import TRAINING, with_trainer
from gradgen.version import VERSION

Programs = TracedFunction | Mapping[str, TracedFunction]


def emit(program: Programs, name: str | None = None, out: str | Path = "generated", **options: Any) -> Path:
    """Writes the bundle of `program` to `<out>/<name>/` and returns that folder.  Needs no compiler.

    Several programs of one model, {"train": program, "eval": another}, become one package of bundles `<name>_train` and
    `<name>_eval` with a Module over one state, whose train(), eval() and use(name) say which is called.
    What the module offers: `outputs=` and `gradients=`, names of results and of floating-point arguments (all results
    and the gradients that the specs ask for, unless given), and `dtype=`, float32 or float64 for all floating-point
    arguments, for which the function is traced again.
    How it is generated: the options of `gradgen.options.Options`: simplify="none|safe|fast", nan_safe, forward_only,
    single_file, threads, in_place, derivatives=("jvp", "jacobian", "hvp", "hessian") or some of them, sparse=("jacobian",
    "hessian") likewise.
    Training: train=, an optimizer made without parameters, emits <name>_trainer with <name>_train_step, _predict and _reset
    (C contract 14), with clip_norm=, clip_value=, loss_scale= and schedule=, a schedule made without an optimizer; predict=,
    the program that predicts where that is another one; values=, parameters for <name>_trained.
    For what: target="portable" (any PC, and right everywhere), "native", "scalar", "cortex-m0", "cortex-m4", "cortex-m7",
    "avr", "riscv32", "wasm" or a `gradgen.Target` of your own; optimise="speed|size"; flash=, ram= and stack=, bytes that the
    module may take, BudgetError with the numbers where it takes more.
    Raises InvalidNameError for names that are not C identifiers, GradgenError for names that the program does not
    have; nothing is written unless everything can be.
    """
    name, files, _ = _all_files(program, name, options)
    folder = Path(out) / name
    write_bundle(files, folder)
    return folder


def build(
    program: Programs, name: str | None = None, out: str | Path = "generated", **options: Any
) -> ModuleType:
    """Writes the bundle, compiles it and returns the imported module `<out>.<name>`.

    Options as for `emit`, target="native" unless given: compiled for the processor of this machine.  What is meant for
    another target is compiled for any processor of this machine's kind, to be tried here.  A second build of the same thing
    compiles nothing.  Raises CompilerNotFoundError where there is no C compiler (the bundle is written all the
    same) and CompileError with the compiler's own words.
    """
    options = {"target": NATIVE, **options}
    name, files, parts = _all_files(program, name, options)
    folder = Path(out) / name
    write_bundle(files, folder)
    profile = "native" if target_of(options["target"]).name == NATIVE.name else "portable"
    threads = bool(options.get("threads"))
    if parts:
        return load_programs(folder, name, files, parts, profile=profile, threads=threads)
    return load_package(folder, name, files=files, profile=profile, threads=threads)


def _all_files(program: Programs, name: str | None, options: dict[str, Any]) -> tuple[str, dict[str, str], list[str]]:
    """The name, the files, and the folders of several programs."""
    if not isinstance(program, Mapping):
        return *_files(program, name, options), []
    if not program:
        raise GradgenError("there is no program", hint='gg.build({"train": program, "eval": another}, name="net")')
    wanted_name = next(iter(program.values())).name if name is None else name
    check_module_name(wanted_name)
    parts = {mode: f"{wanted_name}_{mode}" for mode in program}
    files = programs_files(wanted_name, parts, VERSION)
    for mode, one in program.items():
        files |= {f"{parts[mode]}/{path}": text for path, text in _files(one, parts[mode], options)[1].items()}
    return wanted_name, files, list(parts.values())


def _files(program: TracedFunction, name: str | None, options: dict[str, Any]) -> tuple[str, dict[str, str]]:
    program, rest = prepared(program, options)
    trainer, rest = with_trainer(program, rest)
    wanted_name = program.name if name is None else name
    check_module_name(wanted_name)
    try:
        wanted = Options(**rest)
    except TypeError as error:
        known = ", ".join((*CHOICES, *Options.__slots__, *TRAINING))
        raise GradgenError(f"unknown option: {error}", hint=f"options are {known}") from None
    return wanted_name, generate(program.graph, wanted_name, wanted, model_of(program), trainer)


def model_of(program: TracedFunction) -> Model:
    """What the program is of a model: the names of its parameters and buffers."""
    inputs = {n.name for n in program.graph.inputs}
    names = {p: n for p, n in program.names.items() if n in inputs}
    aliases = {p: of for p, of in program.aliases.items() if of in names}
    unused = {p: program.state.get(program.aliases.get(p, p), COUNTER) for p in program.order if p not in {*names, *aliases}}
    return Model(tuple(names.items()), tuple(aliases.items()), program.order,
                 tuple(Argument(p, dtypes.dtype(v.dtype.name), v.shape) for p, v in unused.items()))


COUNTER = np.zeros((), np.int64)
"""What of a state_dict an importer leaves out: PyTorch's num_batches_tracked."""


__all__ = ["build", "emit", "jit", "scan", "show"]

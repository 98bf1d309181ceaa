"""The command line: arguments in, calls of library functions, tables out.  Nothing is decided here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradgen.errors import GradgenError
from gradgen.target import KNOWN, OBJECTIVES
from gradgen.version import VERSION

OK, FAILED, USER_ERROR, INTERNAL_ERROR = 0, 1, 2, 3

EXAMPLES = """
\b
Examples:
  gradgen build model.py:loss --out generated
  gradgen build model.py:loss --arg x=N,784 --arg t=N:int64 --arg w=784,10:grad --name softmax
  gradgen emit model.py:loss --single-file          # C only, needs no compiler
  gradgen emit model.py:loss --gradients w --dtype float64 --derivatives jvp,hvp
  gradgen emit model.py:loss --target cortex-m4 --optimise size --ram 64000
  gradgen size model.py:loss --target cortex-m4     # flash, RAM by tensor, stack, multiply-adds
  gradgen show model.py:loss                        # the formulas, forward and gradient
  gradgen show model.py:loss --svg graph.svg
  gradgen check model.py:loss                       # gradients against differences and PyTorch
  gradgen import model.py:Net --example 1,3,64,64   # a PyTorch model, and its weights beside the C
  gradgen import model.py:Net --example N,784 --loss cross_entropy --loss-example N:int64
  gradgen import model.onnx

\b
TARGET is script.py:name (or package.module:name).  The name is a function over tensors, whose
specs come from --arg, or from its own defaults or annotations (def loss(x=gg.spec("N", 784), ...)),
or what gg.trace or gg.from_sympy returned, or a function without arguments that returns that.

\b
Exit status: 0 fine, 1 a check failed, 2 a mistake in what was given, 3 a fault of gradgen.
"""


def _console(*, error: bool = False) -> Console:
    return Console(stderr=error, highlight=False, soft_wrap=True)


def report(error: GradgenError) -> None:
    """What went wrong, where and what to do, in colour where the terminal has it."""
    lines = str(error).splitlines()
    text = Text("error: ", style="bold red")
    text.append(lines[0] if lines else type(error).__name__, style="bold")
    for line in lines[1:]:
        label, colon, rest = line.partition(":")
        text.append("\n")
        text.append(label + colon, style="cyan" if label.strip() in ("where", "hint") else "")
        text.append(rest)
    _console(error=True).print(text)


def guarded(command: Callable[..., int | None]) -> Callable[..., None]:
    """Exit codes instead of exceptions; tracebacks only with --debug."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        debug = click.get_current_context().find_root().params.get("debug", False)
        try:
            status = command(*args, **kwargs) or OK
        except click.exceptions.ClickException:
            raise
        except GradgenError as error:
            if debug:
                raise
            report(error)
            status = USER_ERROR
        except OSError as error:
            if debug:
                raise
            report(GradgenError(f"{type(error).__name__}: {error}"))
            status = USER_ERROR
        except Exception as error:
            if debug:
                raise
            report(GradgenError(f"{type(error).__name__}: {error}",
                                hint="this is a fault of gradgen; `gradgen --debug ...` shows where"))
            status = INTERNAL_ERROR
        sys.exit(status)

    return run


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(VERSION, message="gradgen %(version)s")
def main(debug: bool) -> None:
    """Python functions over tensors become C: forward, accumulating backward, zero_grad."""


def _listed(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """`a,b` as ("a", "b"); None where the flag was not given."""
    return None if text is None else tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _with(*options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that gives a command these options, in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_generation_options = _with(
    click.option("--outputs", metavar="NAMES", callback=_listed,
                 help="Offer these results only, e.g. loss,logits [default: all]."),
    click.option("--gradients", metavar="NAMES", callback=_listed,
                 help="Offer these gradients only, e.g. w,b; '' for none [default: what the specs say]."),
    click.option("--simplify", type=click.Choice(["none", "safe", "fast"]), default="safe", show_default=True),
    click.option("--nan-safe", is_flag=True, help="Branches not taken never make a gradient nan."),
    click.option("--forward-only", is_flag=True, help="No backward."),
    click.option("--derivatives", metavar="NAMES", callback=_listed,
                 help="Further functions, dense: jvp,jacobian,hvp,hessian or some of them."),
    click.option("--sparse", metavar="NAMES", callback=_listed,
                 help="Further functions, in compressed rows: jacobian,hessian or one of them."),
    click.option("--target", "machine", metavar="NAME",
                 help=f"What the C is for: {', '.join(KNOWN)} [default: portable; of build: native]."),
    click.option("--optimise", type=click.Choice(OBJECTIVES), help="Time, or bytes of code [default: speed]."),
    *(click.option(f"--{limit}", type=click.IntRange(0), metavar="BYTES", help=f"Refuse what takes more {word}.")
      for limit, word in (("flash", "flash"), ("ram", "RAM (SAVED and WORK)"), ("stack", "stack"))),
)

_argument_options = _with(
    click.argument("target"),
    click.option("--arg", "arguments", multiple=True, metavar="NAME=EXTENTS[:DTYPE][:grad]",
                 help="Spec of an argument, e.g. x=N,784:float32; a name is a run-time dimension."),
    click.option("--bound", "bounds", multiple=True, metavar="NAME=[MIN]..[MAX][:MULTIPLE]",
                 help="What is known of a named dimension, e.g. N=3..4096:4, N=1.. or N=..:4."),
    click.option("--grad", "grad", multiple=True, metavar="NAME", help="This argument requires a gradient."),
    click.option("--output", "names", multiple=True, metavar="NAME", help="Names of the results, in order."),
    click.option("--dtype", metavar="DTYPE", help="float32 or float64, for all floating-point arguments."),
)

_bundle_options = _with(
    click.option("--out", type=click.Path(path_type=Path), default=Path("generated"), show_default=True,
                 help="Folder in which the module's folder is made."),
    click.option("--name", help="Name of the module [default: the function's]."),
    click.option("--single-file", is_flag=True, help="Everything in one header."),
    click.option("--threads", type=click.IntRange(0), default=0, show_default=True, help="OpenMP threads."),
)


def _program_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return _argument_options(_generation_options(command))


def _load(target: str, arguments: Any, bounds: Any, gradients: Any, outputs: Any) -> Any:
    from gradgen.scripts import load_program

    return load_program(target, arguments, gradients, outputs or None, bounds)


@main.command()
@_program_options
@_bundle_options
@guarded
def build(target: str, out: Path, name: str | None, **given: Any) -> None:
    """Write the bundle of TARGET, compile it, and import it once."""
    from gradgen.api import build as build_module

    start = time.perf_counter()
    program, options = _split(target, given)
    module = build_module(program, name, out, **options)
    _written(out / (name or program.name), program, time.perf_counter() - start)
    package, _, own = module.__name__.rpartition(".")
    _console().print(Text(f"from {package or out.name} import {own}", style="green"))


@main.command()
@_program_options
@_bundle_options
@guarded
def emit(target: str, out: Path, name: str | None, **given: Any) -> None:
    """Write the bundle of TARGET only: needs no compiler."""
    from gradgen.api import emit as emit_bundle

    start = time.perf_counter()
    program, options = _split(target, given)
    folder = emit_bundle(program, name, out, **options)
    _written(folder, program, time.perf_counter() - start)


def _split(target: str, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The program, and the options of code generation that were given."""
    program = _load(target, given.pop("arguments"), given.pop("bounds"), given.pop("grad"), given.pop("names"))
    return program, _options(given)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    given["target"] = given.pop("machine", None)
    return {k: v for k, v in given.items() if v is not None}


def _written(folder: Path, program: Any, seconds: float) -> None:
    table = Table(title=f"{folder}  ({seconds:.2f} s)", title_justify="left", box=None, pad_edge=False)
    table.add_column("file", style="cyan", no_wrap=True)
    table.add_column("bytes", justify="right")
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        table.add_row(path.name, f"{path.stat().st_size:,}")
    console = _console()
    console.print(Text(repr(program).strip("<>")))
    console.print(table)


@main.command("import")
@click.argument("source")
@click.option("--example", "examples", multiple=True, metavar="[NAME=]EXTENTS[:DTYPE]",
              help="An input of the model, e.g. 1,3,64,64 or N,16:int64; a word is a run-time dimension.  Once for each.")
@click.option("--loss", metavar="NAME", help="A function of the script or of nn.functional; its value is the result.")
@click.option("--loss-example", "loss_examples", multiple=True, metavar="EXTENTS[:DTYPE]",
              help="A further argument of the loss, e.g. N:int64.  Once for each.")
@click.option("--train", is_flag=True, help="As in training: dropout, batches' statistics.")
@click.option("--eval", "evaluation", is_flag=True,
              help="As in evaluation [default, but with --loss: --train].  With --train: both, over one state.")
@click.option("--dim", "dims", multiple=True, metavar="NAME=SIZE",
              help="Size of a named dimension while the model is exported; of an ONNX model's dimension, for good.")
@click.option("--weights", type=click.Path(path_type=Path), help="Load this state_dict first (.pt, .safetensors).")
@click.option("--save", "saved", type=click.Path(path_type=Path),
              help="Write the weights here: .safetensors, .pt, .npz [default: OUT/NAME.safetensors].")
@click.option("--no-compile", is_flag=True, help="Write the bundle only: needs no compiler.")
@click.option("--dtype", metavar="DTYPE", help="float32 or float64, for all floating-point values.")
@_bundle_options
@_generation_options
@guarded
def import_model(source: str, out: Path, name: str | None, train: bool, evaluation: bool, dims: tuple[str, ...],
                 saved: Path | None, no_compile: bool, examples: Any, loss: str | None, loss_examples: Any,
                 weights: Path | None, dtype: str | None, **given: Any) -> None:
    """Make C and a weights file of a model: model.py:Net, model.onnx, or model.pt2.

    The name in model.py is a torch.nn.Module or one of gradgen, its class, or a function without arguments that returns it.
    """
    from gradgen.api import build as build_module
    from gradgen.api import emit as emit_bundle
    from gradgen.model_files import WEIGHTS, ModelFile, write_weights
    from gradgen.model_files import import_model as model_of

    if saved is not None and saved.suffix not in WEIGHTS:
        raise click.BadParameter(f"{saved} is none of {', '.join(WEIGHTS)}", param_hint="--save")
    start = time.perf_counter()
    asked = ModelFile(source, examples, loss, loss_examples, dict(map(_dimension, dims)), weights, dtype, name)
    mode = train if train or evaluation else None if source.endswith((".onnx", ".pt2")) else loss is not None
    program, options = model_of(asked, mode), _options(given)
    made = {"train": program, "eval": model_of(asked, False)} if train and evaluation else program
    folder = out / (name or program.name)
    module = None
    if no_compile:
        folder = emit_bundle(made, name, out, **options)
    else:
        module = build_module(made, name, out, **options)
    path = saved or out / f"{folder.name}.safetensors"
    write_weights(program, path)
    _written(folder, program, time.perf_counter() - start)
    _console().print(Text(f"weights: {path}", style="cyan"))
    if module is not None:
        package, _, own = module.__name__.rpartition(".")
        _console().print(Text(f"from {package or out.name} import {own}", style="green"))


@main.command()
@_program_options
@click.option("--formulas", "view", flag_value="formulas", default=True, help="The mathematics (default).")
@click.option("--latex", "view", flag_value="latex", help="The mathematics as LaTeX.")
@click.option("--graph", "view", flag_value="graph", help="The nodes, one a line.")
@click.option("--dot", "view", flag_value="dot", help="The graph for Graphviz.")
@click.option("--passes", "view", flag_value="passes", help="What each pass decided.")
@click.option("--program", "view", flag_value="program", help="Loops and buffers.")
@click.option("--c", "view", flag_value="c", help="The emitted C file.")
@click.option("--stages", "view", flag_value="stages", help="Seconds per stage.")
@click.option("--cost", "view", flag_value="cost", help="Memory of each function.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the graph into a file (Graphviz).")
@guarded
def show(target: str, view: str, svg: Path | None, **given: Any) -> None:
    """Print what TARGET becomes: formulas, LaTeX, graph, loops or C."""
    from gradgen.show import show as view_of

    program, options = _split(target, given)
    if svg is not None:
        from gradgen.notation.dot import svg as draw

        svg.write_text(draw(view_of(program, "dot", **options)), encoding="utf-8")
        _console().print(Text(f"{svg}"))
        return
    click.echo(view_of(program, view or "formulas", **options))


@main.command()
@_program_options
@click.option("--dim", "dims", multiple=True, metavar="NAME=SIZE", help="Size of a named dimension.")
@click.option("--name", help="Name of the module [default: the function's].")
@click.option("--threads", type=click.IntRange(0), default=0, show_default=True, help="OpenMP threads.")
@guarded
def size(target: str, dims: tuple[str, ...], name: str | None, **given: Any) -> None:
    """Print what the emitted module of TARGET takes: flash, RAM by tensor, stack, multiply-adds."""
    from gradgen.show import bill

    program, options = _split(target, given)
    click.echo(str(bill(program, name, **options).value(**dict(map(_dimension, dims)))))


@main.command()
@_program_options
@click.option("--dim", "dims", multiple=True, metavar="NAME=SIZE", help="Size of a named dimension.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random point.")
@click.option("--samples", default=16, show_default=True, help="Elements of each gradient that are differenced.")
@click.option("--rtol", type=float, help="Tolerance relative to the greatest element.")
@click.option("--atol", type=float, help="Absolute tolerance.")
@click.option("--torch/--no-torch", default=None, help="Compare with PyTorch [default: where it is installed].")
@guarded
def check(
    target: str, dims: tuple[str, ...], seed: int, samples: int, rtol: float | None, atol: float | None,
    torch: bool | None, **given: Any,
) -> int:
    """Compare the compiled gradients of TARGET with finite differences and with PyTorch."""
    from gradgen.checking import TOLERANCE
    from gradgen.checking import check as check_program

    program, options = _split(target, given)
    tolerance = None
    if rtol is not None or atol is not None:
        worst = TOLERANCE["float32"]
        tolerance = (worst[0] if rtol is None else rtol, worst[1] if atol is None else atol)
    found = check_program(program, dims=dict(map(_dimension, dims)), seed=seed, samples=samples, torch=torch,
                          tolerance=tolerance, **options)
    _print_report(found)
    return OK if found.passed else FAILED


def _dimension(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if not name or not size.isdigit():
        raise click.BadParameter(f"{text!r} is not NAME=SIZE", param_hint="--dim")
    return name, int(size)


def _print_report(found: Any) -> None:
    sizes = ", ".join(f"{k}={v}" for k, v in found.dims.items())
    title = f"{found.name} at {sizes}" if sizes else found.name
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in ("value", "dtype", "shape"):
        table.add_column(column, no_wrap=True)
    for column in ("greatest", "differences: abs", "rel", "PyTorch: abs", "rel", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for row in found.rows:
        verdict = Text("ok", style="green") if row.passed else Text("FAILED", style="bold red")
        cells = [c for side in (row.reference, row.torch) for c in _errors(side)]
        table.add_row(row.name, row.dtype, str(list(row.shape)), f"{row.greatest:.4g}", *cells, verdict)
    console = Console(highlight=False, width=max(Console().width, 120))
    console.print(table)
    for note in found.notes:
        console.print(Text(f"note: {note}", style="yellow"))


def _errors(side: Any) -> tuple[str, str]:
    return ("-", "-") if side is None else (f"{side.absolute:.1e}", f"{side.relative:.1e}")


if __name__ == "__main__":
    main()

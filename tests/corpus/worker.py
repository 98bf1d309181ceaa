"""Generates, builds and runs the programs of the corpus with whatever gradgen is on the path, into a folder.

    python tests/corpus/worker.py FOLDER NAMES.json          # PYTHONPATH says which tree

Run from a file, not as a module: the tree that is looked at need not have a corpus.  Writes results.json (seconds to
generate, bytes of C and of object text, what failed) and one .npz of outputs and gradients a program.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
Factory = Callable[[], tuple[Any, dict[str, Any]]]
OPEN = 5
"""The length of open dimensions."""


def programs() -> Iterator[tuple[str, Factory]]:
    """Name -> what gives the program and its options: goldens, examples, models, and the stored random programs."""
    small = importlib.import_module("tests.golden.small").PROGRAMS
    for name, (factory, options) in small.items():
        yield f"golden-{name}", lambda factory=factory, options=options: (factory(), options)
    reference = importlib.import_module("tests.golden.reference")
    for name, source in reference.EXAMPLES.items():
        yield f"example-{name}", lambda source=source: (reference.example(source).program(), {})
    for name, make in importlib.import_module("tests.models.cases").CASES.items():
        yield f"model-{name}", lambda make=make: (_model(make), {})
    for stored in json.loads((HERE / "programs.json").read_text()):
        for dtype in ("float32", "float64"):
            yield f"random-{stored['seed']}-{dtype}", lambda stored=stored, dtype=dtype: (_random(stored, dtype), {})


def _model(make: Any) -> Any:
    import gradgen as gg

    function, arrays, wanted = make()
    letters = [f"x{k}" for k in range(len(arrays))]
    scope = {"function": function, "gg": gg}
    exec(f"def model({', '.join(letters)}):\n    return function(gg, {', '.join(letters)})", scope)
    specs = {n: gg.spec(*a.shape, dtype=a.dtype.name, requires_grad=bool(w)) for n, a, w in zip(letters, arrays, wanted)}
    return gg.trace(scope["model"], name="model", **specs)


def _random(stored: dict[str, Any], dtype: str) -> Any:
    import gradgen as gg

    names: dict[str, Any] = {"torch": gg, "F": gg.nn.functional}
    exec(compile(stored["source"], f"program{stored['seed']}.py", "exec"), names)
    specs = {f"x{k}": gg.spec(*s, dtype=dtype, requires_grad=k in stored["wanted"]) for k, s in enumerate(stored["shapes"])}
    return gg.trace(names["f"], name="program", **specs, k0=gg.spec(3, dtype=gg.int64))


def given(program: Any) -> dict[str, np.ndarray]:
    """Inputs by name, the same in every tree: integers are small positions, floats are normal."""
    found = {}
    for k, node in enumerate(n for n in program.graph.inputs if not n.name.startswith("gradgen_")):  # seed and step
        rng = np.random.default_rng(k)
        shape = [e if isinstance(e, int) else int(e.xreplace({s: OPEN for s in e.free_symbols})) for e in node.shape]
        if node.dtype.name == "bool":
            found[node.name] = rng.integers(0, 2, shape).astype(bool)
        elif node.dtype.is_floating_point:
            found[node.name] = rng.normal(size=shape).astype(node.dtype.numpy)
        else:
            found[node.name] = rng.integers(0, 3, shape).astype(node.dtype.numpy)
    return found


def measured(factory: Factory, folder: Path, name: str) -> dict[str, Any]:
    """Generates, builds and runs one program."""
    import gradgen as gg
    from gradgen.autodiff import differentiate

    program, options = factory()
    start = time.perf_counter()
    made = Path(gg.emit(program, name="program", out=folder / name, **options))
    seconds = time.perf_counter() - start
    sources = [made / "program.c"] if (made / "program.c").exists() else []
    text = object_text(sources[0]) if sources else 0
    module = gg.build(program, name="program", out=folder / f"{name}-built", **options)
    arrays = given(program)
    drawn = {"seed": 1, "step": 2} if any(n.name.startswith("gradgen_") for n in program.graph.inputs) else {}
    outputs = module.forward(**arrays, **drawn)
    results = dict(_named("out", outputs))
    wanted = [n for n in program.graph.inputs if n.requires_grad]
    if wanted and not options.get("forward_only"):
        heads = [name for name, _ in differentiate(program.graph, wanted).seeds]
        by_name = dict(zip(program.graph.output_names, outputs if isinstance(outputs, tuple) else [outputs]))
        gradient: Any = {name: np.ones_like(by_name[name]) for name in heads}
        if len(by_name) == 1:
            gradient = None if not np.shape(outputs) else gradient[heads[0]]
        call = {} if gradient is None else {"gradient": gradient}
        results |= dict(_named("grad", module.value_and_grad(**arrays, **drawn, **call)))
    np.savez(folder / f"{name}.npz", **results)
    return {"seconds": seconds, "c": sum(f.stat().st_size for f in sources), "text": text}


def _named(prefix: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, (tuple, list)):
        for k, v in enumerate(value):
            yield from _named(f"{prefix}_{k}", v)
    elif value is not None:
        yield prefix, np.asarray(value)


def object_text(source: Path) -> int:
    """Bytes of code and constants of the module's object file at -O2."""
    subprocess.run(["cc", "-std=c99", "-O2", "-c", source.name, "-o", "size.o"], cwd=source.parent, check=True)
    lines = subprocess.run(["size", "size.o"], cwd=source.parent, check=True, capture_output=True, text=True).stdout
    return int(lines.splitlines()[1].split()[0])


def main() -> None:
    folder, names = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
    sys.path.insert(0, str(Path.cwd()))
    warnings.filterwarnings("ignore")
    results: dict[str, Any] = {}
    for name, factory in programs():
        if names and not any(part in name for part in names):
            continue
        try:
            results[name] = measured(factory, folder, name)
        except Exception as error:
            results[name] = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        print(name, flush=True)
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()

"""python -m benchmarks.models [MODEL ...] [--reduced]: the acceptance models beside torch; writes docs/models.md.

Each model runs in a process of its own.  float32 is built as `gg.build` does by default and gives sizes and times, all of
them processor time on one thread: of tracing and writing C, of the compiler, of a step (forward and backward) and torch's,
sampled by turns.  float64 gives the agreement and twenty steps of training; its C is compiled with flags that take less time.
`--wide` tries the other models of benchmarks/wide.py in their place: import and agreement in float64.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("models.json")
DOCS = Path(__file__).parents[1] / "docs" / "models.md"
QUICK = "-O1 -ftree-loop-vectorize -fvect-cost-model=dynamic"
ROUNDS, BUDGET = 7, 20.0


def clock() -> tuple[float, float]:
    """Processor seconds of this process and of those that it waited for."""
    return time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def sizes_and_times(name: str, reduced: bool, note: dict[str, Any]) -> None:
    import torch

    import gradgen as gg
    from benchmarks import agreement, zoo

    sample = zoo.sample(name, reduced, torch.float32)
    double = zoo.sample(name, reduced, torch.float64)
    exact = agreement.of_torch(double, torch.float64)
    begin = clock()
    program = agreement.program_of(sample, torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        gg.emit(program, name="model_c", out=folder, target="native")
        note["generation"] = clock()[0] - begin[0]
        note["source"] = (Path(folder) / "model_c" / "model_c.c").stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        begin = clock()
        built = gg.build(program, name="model_c", out=folder)
        note["compile"] = clock()[1] - begin[1]
        library = next((Path(folder) / "model_c").glob("*.so"))
        lines = subprocess.run(["size", str(library)], check=True, capture_output=True, text=True).stdout.splitlines()
        note["text"] = int(lines[1].split()[0])
        net = agreement.Net(built, program, sample)
        note["parameters"] = sum(p.numel() for p in sample.model.parameters())
        note["float32"] = agreement.distance(net.found(), exact)
        note["torch32"] = agreement.distance(agreement.of_torch(sample, torch.float32), exact)

        def by_torch() -> None:
            sample.model.zero_grad()
            sample.loss(sample.model(*sample.args, **sample.kwargs), *sample.targets).backward()

        def by_gradgen() -> None:
            net.module.zero_grad()
            net()

        note["step"], note["torch_step"] = alternating(by_gradgen, by_torch)


def alternating(first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of each, one after the other in every round."""
    first(), second()
    begin, found = time.process_time(), []
    while len(found) < ROUNDS and (len(found) < 3 or time.process_time() - begin < BUDGET):
        start = time.process_time()
        first()
        middle = time.process_time()
        second()
        found.append((middle - start, time.process_time() - middle))
    return tuple(statistics.median(column) for column in zip(*found))  # type: ignore[return-value]


def agreement_and_training(name: str, reduced: bool, note: dict[str, Any]) -> None:
    import torch

    import gradgen as gg
    from benchmarks import agreement, zoo

    os.environ["CFLAGS"] = QUICK
    sample = zoo.sample(name, reduced, torch.float64)
    program = agreement.program_of(sample, torch.float64)
    with tempfile.TemporaryDirectory() as folder:
        built = gg.build(program, name="model_c", out=folder)
        note["float64"] = agreement.distance(agreement.Net(built, program, sample).found(),
                                             agreement.of_torch(sample, torch.float64))
        net = agreement.Net(built, program, sample)
        agreement.compiled(Path(folder) / "model_c",
                           f"{QUICK} -march=native -fno-trapping-math -fno-math-errno -fopenmp-simd")
        by_torch = agreement.trained_by_torch(sample)
        note["module"] = agreement.drift(agreement.trained_module(net), by_torch)
        note["c"] = agreement.drift(agreement.trained_in_c(Path(folder) / "model_c", net), by_torch)


STAGES = {"times": sizes_and_times, "training": agreement_and_training}


def wide(name: str, note: dict[str, Any]) -> None:
    """The import of one model of the wide list, and how well it agrees in float64."""
    import torch

    import gradgen as gg
    from benchmarks import agreement
    from benchmarks.wide import sample

    os.environ["CFLAGS"] = "-O0"
    made = sample(name)
    program = agreement.program_of(made, torch.float64)
    note["inputs"] = len(program.graph.inputs)
    with tempfile.TemporaryDirectory() as folder:
        built = gg.build(program, name="model_c", out=folder)
        note["float64"] = agreement.distance(agreement.Net(built, program, made).found(),
                                             agreement.of_torch(made, torch.float64))


def run(name: str, kind: str, timeout: float) -> dict[str, Any]:
    """The notes of one process; "error" where it ended otherwise."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TRANSFORMERS_VERBOSITY="error",
                           GRADGEN_CACHE_DIR=os.path.join(tempfile.gettempdir(), f"gradgen-models-{os.getpid()}"))
        try:
            subprocess.run([sys.executable, "-W", "ignore", "-m", "benchmarks.models", name, "--worker", kind, file.name],
                           env=environment, timeout=timeout, check=False)
            text = Path(file.name).read_text()
            return json.loads(text) if text else {"error": "the process ended early"}
        except subprocess.TimeoutExpired:
            text = Path(file.name).read_text()
            return {**(json.loads(text) if text else {}), "error": f"more than {timeout:.0f} s"}


def worker(name: str, kind: str, path: str) -> None:
    import torch

    torch.set_num_threads(1)
    note: dict[str, Any] = {}
    try:
        if kind == "wide":
            wide(name, note)
        else:
            size, stage = kind.split("-")
            STAGES[stage](name, size == "reduced", note)
    except Exception as error:
        if os.environ.get("GRADGEN_DEBUG"):
            raise
        note["error"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    Path(path).write_text(json.dumps(note))


def kept() -> dict[str, dict[str, Any]]:
    """What was found by size and model."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(size: str, name: str, note: dict[str, Any]) -> None:
    known = kept()
    before = {k: v for k, v in known.get(size, {}).get(name, {}).items() if k != "error"}
    known.setdefault(size, {})[name] = {**before, **note}
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("models", nargs="*", help="names; default: all")
    parser.add_argument("--reduced", action="store_true", help="small images and extents")
    parser.add_argument("--wide", action="store_true", help="the models of benchmarks/wide.py")
    parser.add_argument("--stage", choices=STAGES, help="one of the two only")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for one process")
    parser.add_argument("--worker", nargs=2, metavar=("KIND", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.models[0], *options.worker)
        return
    if options.wide:
        from benchmarks.wide import MODELS

        size, stages = "wide", ["wide"]
    else:
        from benchmarks.zoo import MODELS

        size = "reduced" if options.reduced else "full"
        stages = [f"{size}-{stage}" for stage in ([options.stage] if options.stage else STAGES)]
    for stage in stages:
        for name in options.models or MODELS:
            note = run(name, stage, options.timeout)
            print(name, stage, note, flush=True)
            keep(size, name, note)
    from benchmarks.models_report import written

    DOCS.write_text(written(kept()))


if __name__ == "__main__":
    main()

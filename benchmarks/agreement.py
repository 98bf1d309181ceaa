"""How far a program of `gg.from_torch` is from torch: the loss, every gradient, and what both become by training."""

from __future__ import annotations

import copy
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

import gradgen as gg
from benchmarks.zoo import Sample

RATE, MOMENTUM, STEPS = 0.01, 0.9, 20
NOTHING = 1e-12
"""A gradient that is 0 in exact arithmetic (of a bias in front of a normalisation, of a key's bias) is rounding alone in
both: where torch's largest entry is below this part of the largest of all gradients, that one is what errors are measured
by."""


class Doubled(TorchFunctionMode):
    """Models that compute in float32 whatever they are given (rotary embeddings, RMS norms) compute in float64; so does
    the derivative of hardsigmoid, in which torch 2.13 has 1/6 rounded to float32 (3e-8 off)."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def of(value: Any) -> Any:
            return torch.float64 if value is torch.float32 else value

        if getattr(func, "__name__", "") == "hardsigmoid":
            return torch.nn.functional.relu6(args[0] + 3) / 6
        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*map(of, args), **{k: of(v) for k, v in (kwargs or {}).items()})


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        if dtype is torch.float64:
            with Doubled():
                yield
        else:
            yield
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True)
class Found:
    loss: float
    gradients: dict[str, np.ndarray]


def of_torch(sample: Sample, dtype: torch.dtype) -> Found:
    """The loss and gradients by torch's own means; frozen and unused parameters have none."""
    model = copy.deepcopy(sample.model)  # running statistics stay as they are
    with precision(dtype):
        loss = sample.loss(model(*sample.args, **sample.kwargs), *sample.targets)
        loss.backward()
    gradients = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    return Found(loss.item(), gradients)


def program_of(sample: Sample, dtype: torch.dtype) -> Any:
    kind = {torch.float64: gg.float64, torch.float32: gg.float32}[dtype]
    return gg.from_torch(sample.model, sample.args, sample.kwargs, loss=sample.loss, loss_args=sample.targets, dtype=kind)


class Net:
    """A built program with its parameters, called with a sample's data."""

    def __init__(self, built: Any, program: Any, sample: Sample) -> None:
        self.program, self.names = program, program.names
        self.module = built.Module({path: value.copy() for path, value in program.state.items()})
        self.given = given(program, sample)

    def __call__(self) -> Any:
        """Forward and backward; the loss."""
        found = self.module.forward(**self.given)
        self.module.backward()
        return found if not isinstance(found, tuple) else found[0]

    def found(self) -> Found:
        loss = float(np.asarray(self()))
        return Found(loss, {p: np.asarray(self.module.grad[p]).copy() for p in self.trained()})

    def trained(self) -> list[str]:
        wanted = {n.name for n in self.program.graph.inputs if n.requires_grad}
        return [p for p, n in self.names.items() if n in wanted]


def given(program: Any, sample: Sample) -> dict[str, np.ndarray]:
    """The sample's tensors by the names of the program's inputs: arguments, targets, keywords."""
    free = [n.name for n in program.graph.inputs if n.name not in {*program.names.values()}]
    tensors = [t for t in (*sample.args, *sample.targets) if isinstance(t, torch.Tensor)]
    positional = [n for n in free if n not in sample.kwargs]
    return dict(zip(positional, (t.numpy() for t in tensors), strict=True)) | {
        n: t.numpy() for n, t in sample.kwargs.items() if n in free}


def distance(found: Found, expected: Found, scale: Found | None = None) -> tuple[float, float, str]:
    """Of the loss, relative; of the gradients, the worst by each tensor's largest entry, with its name."""
    scale = scale or expected
    most = max(np.abs(g).max(initial=0) for g in scale.gradients.values())
    worst, where = 0.0, ""
    missing = expected.gradients.keys() - found.gradients.keys()
    for path, wanted in expected.gradients.items():
        largest = np.abs(scale.gradients[path]).max(initial=0)
        got = found.gradients.get(path)
        if got is None and largest == 0:
            continue  # no derivative comes here: torch says zeros, gradgen has no gradient of that name
        if got is None:
            raise AssertionError(f"no gradient of {', '.join(sorted(missing))}")
        error = np.abs(got.astype(np.float64) - wanted).max(initial=0) / (largest if largest > NOTHING * most else most)
        if not error <= worst:
            worst, where = float(error), path
    return abs(found.loss - expected.loss) / max(abs(expected.loss), 1e-30), worst, where


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    losses: np.ndarray
    state: dict[str, np.ndarray]


def trained_by_torch(sample: Sample, steps: int = STEPS) -> Trained:
    """torch.optim.SGD with momentum."""
    model = copy.deepcopy(sample.model)
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    losses = []
    with precision(torch.float64):
        for _ in range(steps):
            optimiser.zero_grad()
            loss = sample.loss(model(*sample.args, **sample.kwargs), *sample.targets)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return Trained(np.array(losses), {n: t.detach().numpy() for n, t in state.items()})


def trained_module(net: Net, steps: int = STEPS) -> Trained:
    """torch's optimiser on the built module's own arrays."""
    module, held = net.module, net.module.state_dict()
    parameters = {p: torch.from_numpy(held[p]).requires_grad_() for p in net.trained()}
    optimiser = torch.optim.SGD(parameters.values(), lr=RATE, momentum=MOMENTUM)
    losses = []
    for _ in range(steps):
        module.zero_grad()
        losses.append(float(np.asarray(net())))
        for p, parameter in parameters.items():
            parameter.grad = torch.from_numpy(np.asarray(module.grad[p]))
        optimiser.step()
    return Trained(np.array(losses), {p: v for p, v in module.state_dict().items() if p in net.names})


def drift(found: Trained, expected: Trained) -> float:
    """The worst of losses, parameters and running statistics after training, by each tensor's largest entry."""
    worst = float(np.max(np.abs(found.losses - expected.losses) / np.abs(expected.losses).max()))
    for path, value in found.state.items():
        wanted = expected.state[path]
        worst = max(worst, float(np.abs(value - wanted).max(initial=0) / max(np.abs(wanted).max(initial=0), RATE)))
    return worst


MAIN = """/* {steps} steps of gradient descent with momentum: values from a file, losses and new values to another. */
#include "{name}.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *take(size_t bytes, FILE *from) {{
    void *memory = aligned_alloc(64, (bytes + 127) / 64 * 64);
    memset(memory, 0, bytes);
    if (from && fread(memory, 1, bytes, from) != bytes) exit(2);
    return memory;
}}

int main(int count, char **files) {{
    static const size_t sizes[] = {{{sizes}}}, moved[] = {{{moved}}}, follows[] = {{{follows}}}, results[] = {{{results}}};
    enum {{ INPUTS = {inputs}, MOVED = {n_moved}, STATES = {n_states}, RESULTS = {n_results} }};
    static void *p[INPUTS], *g[MOVED + 1], *v[MOVED + 1], *r[RESULTS];
    if (count != 3) return 1;
    FILE *from = fopen(files[1], "rb"), *to = fopen(files[2], "wb");
    for (int k = 0; k < INPUTS; k++) p[k] = take(sizes[k], from);
    for (int k = 0; k < MOVED; k++) g[k] = take(sizes[moved[k]], NULL), v[k] = take(sizes[moved[k]], NULL);
    for (int k = 0; k < RESULTS; k++) r[k] = take(results[k], NULL);
    void *work = take({name}_work_bytes() + 64, NULL);
    for (int step = 0; step < {steps}; step++) {{
        if ({name}_value_and_grad({call})) return 3;
        fwrite(r[0], sizeof(double), 1, to);
        for (int k = 0; k < MOVED; k++) {{
            double *x = p[moved[k]], *d = g[k], *m = v[k];
            for (size_t i = 0; i < sizes[moved[k]] / sizeof(double); i++) {{
                m[i] = {momentum} * m[i] + d[i];
                x[i] -= {rate} * m[i];
            }}
        }}
        for (int k = 0; k < STATES; k++) memcpy(p[follows[2 * k]], r[follows[2 * k + 1]], sizes[follows[2 * k]]);
    }}
    for (int k = 0; k < INPUTS; k++) fwrite(p[k], 1, sizes[k], to);
    return fclose(to) != 0;
}}
"""


def main_of(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray], steps: int) -> str:
    """The C program: whatever is an argument by its place among inputs, gradients and results."""
    inputs = [i["name"] for i in manifest["inputs"]]
    outputs = [o["name"] for o in manifest["outputs"]]
    moved = [i["name"] for i in manifest["inputs"] if i["requires_grad"]]
    bytes_of = {"float64": 8, "float32": 4, "int64": 8, "int32": 4, "bool": 1}
    places = {"input": lambda a: f"p[{inputs.index(a['name'])}]", "output": lambda a: f"r[{outputs.index(a['name'])}]",
              "gradient": lambda a: f"g[{moved.index(a['of'])}]", "work": lambda a: "work",
              "cotangent": lambda a: "NULL", "flags": lambda a: "GRADGEN_SET_GRAD"}
    results = [int(np.prod(o["shape"], dtype=int)) * bytes_of[o["dtype"]] for o in manifest["outputs"]]
    states = manifest.get("states", {})
    return MAIN.format(
        name=manifest["name"], steps=steps, rate=RATE, momentum=MOMENTUM, inputs=len(inputs), n_moved=len(moved),
        n_states=len(states), n_results=len(outputs), sizes=", ".join(str(arrays[n].nbytes) for n in inputs),
        moved=", ".join(str(inputs.index(n)) for n in moved) or "0", results=", ".join(map(str, results)),
        follows=", ".join(f"{inputs.index(a)}, {outputs.index(b)}" for a, b in states.items()) or "0",
        call=", ".join(places[a["kind"]](a) for a in manifest["functions"]["value_and_grad"]))


def compiled(folder: Path, flags: str) -> None:
    """The bundle's C to objects, as gradgen's build does, with these flags."""
    compiler = os.environ.get("CC", "cc")
    sources = json.loads(next(folder.glob("*.json")).read_text())["sources"]
    subprocess.run([*shlex.split(compiler), "-std=c11", "-w", *shlex.split(flags), "-c", *sources], cwd=folder, check=True)


def trained_in_c(folder: Path, net: Net, steps: int = STEPS) -> Trained:
    """The program linked with the compiled bundle, run with the net's values as they are."""
    manifest = json.loads(next(folder.glob("*.json")).read_text())
    held = {**{net.names[p]: v for p, v in net.program.state.items() if p in net.names}, **net.given}
    types = {i["name"]: i["dtype"] for i in manifest["inputs"]}
    arrays = {n: np.ascontiguousarray(held[n], dtype=types[n]) for n in types}
    (folder / "training.c").write_text(main_of(manifest, arrays, steps))
    objects = [str(Path(s).with_suffix(".o")) for s in manifest["sources"]]
    subprocess.run(["cc", "-std=c11", "-O1", "training.c", *objects, "-lm", "-o", "training"], cwd=folder, check=True)
    with open(folder / "in.bin", "wb") as file:
        for array in arrays.values():
            file.write(array.tobytes())
    subprocess.run([str(folder / "training"), "in.bin", "out.bin"], cwd=folder, check=True)
    data = (folder / "out.bin").read_bytes()
    losses, place, state = np.frombuffer(data[: 8 * steps]), 8 * steps, {}
    paths = {n: p for p, n in net.names.items()}
    for name, array in arrays.items():
        if name in paths:
            state[paths[name]] = np.frombuffer(data[place : place + array.nbytes], array.dtype).reshape(array.shape)
        place += array.nbytes
    for file_name in ("in.bin", "out.bin"):
        (folder / file_name).unlink()
    return Trained(losses, state)


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

"""Makers of peers: the same function in gradgen, eager PyTorch, torch.compile, JAX, CasADi's C and C by hand.

A function of a case is written against a PyTorch-like namespace, so that gradgen and torch run the same text.
"""

from __future__ import annotations

import ctypes
import itertools
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Arrays, Case, Maker, Peer, Setup

FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fopenmp-simd")
_serial = itertools.count()


def gradients(
    name: str, arrays: Callable[..., Arrays], function: Callable[..., Any], wrt: Sequence[str],
    jax: Callable[..., Any] | None = None, *, compiled: bool = False, more: Mapping[str, Maker] | None = None,
    **options: Any,
) -> Case:
    """A case that times `function(ns, *arrays)`, a scalar, and its gradients by the arguments `wrt`, in their order."""
    makers: dict[str, Maker] = {"gradgen": gradgen(function, wrt), "torch": torch_gradients(function, wrt)}
    if compiled:
        makers["torch.compile"] = torch_gradients(function, wrt, compiled=True)
    if jax is not None:
        makers["jax"] = jax_gradients(jax, wrt)
    return Case(name, arrays, {**makers, **(more or {})}, **options)


def values(
    name: str, arrays: Callable[..., Arrays], function: Callable[..., Any], jax: Callable[..., Any] | None = None,
    *, compiled: bool = False, more: Mapping[str, Maker] | None = None, **options: Any,
) -> Case:
    """A case that times what `function(ns, *arrays)` returns, forward only."""
    makers: dict[str, Maker] = {"gradgen": gradgen(function), "torch": torch_values(function)}
    if compiled:
        makers["torch.compile"] = torch_values(function, compiled=True)
    if jax is not None:
        makers["jax"] = jax_values(jax)
    return Case(name, arrays, {**makers, **(more or {})}, **options)


# --- gradgen ---------------------------------------------------------------------------------------------------------


def bound(function: Callable[..., Any], ns: Any, names: Sequence[str]) -> Callable[..., Any]:
    """`function(ns, a, b)` as a function of a and b, with their names as its parameters; nested results in one tuple."""
    scope: dict[str, Any] = {"function": lambda *given: unnested(function(*given)), "ns": ns}
    exec(f"def program({', '.join(names)}):\n    return function(ns, {', '.join(names)})", scope)
    return scope["program"]


def unnested(result: Any) -> Any:
    """Tuples in tuples as one tuple: a traced function returns tensors or a tuple of them."""
    if not isinstance(result, (tuple, list)):
        return result
    return tuple(r for one in result for r in (unnested(one) if isinstance(one, (tuple, list)) else (one,)))


def traced(function: Callable[..., Any], arrays: Arrays, wrt: Sequence[str] = ()) -> Any:
    """The case's function as a gradgen program at the shapes and dtypes of `arrays`."""
    import gradgen as gg

    specs: dict[str, Any] = {
        k: gg.spec(*v.shape, dtype=getattr(gg, v.dtype.name), requires_grad=k in wrt) for k, v in arrays.items()
    }
    return gg.trace(bound(function, gg, list(arrays)), **specs)


def built(program: Any, setup: Setup, **options: Any) -> Any:
    """The program's module, freshly generated and compiled."""
    import gradgen as gg

    folder = tempfile.mkdtemp(prefix="gradgen-bench-")
    if setup.threads > 1:
        options["threads"] = setup.threads
    return gg.build(program, name=f"case{next(_serial)}", out=folder, **options)


def gradgen(function: Callable[..., Any], wrt: Sequence[str] = (), **options: Any) -> Maker:
    """The generated module, called from Python; with `wrt` its value_and_grad, else its forward."""

    def make(arrays: Arrays, setup: Setup) -> Peer:
        module = built(traced(function, arrays, wrt), setup, **options)
        entry, given = (module.value_and_grad if wrt else module.forward), list(arrays.values())
        return Peer(lambda: entry(*given))

    return make


def gradgen_c(
    function: Callable[..., Any] | None, wrt: Sequence[str] = (), program: Callable[[Arrays], Any] | None = None,
    **options: Any,
) -> Maker:
    """The bundle linked with a loop in C that calls value_and_grad, or forward: no Python, no allocation.

    `program(arrays)` makes the traced function where `function` is None.
    """

    def make(arrays: Arrays, setup: Setup) -> Peer:
        import gradgen as gg

        made = program(arrays) if program is not None else traced(function, arrays, wrt)  # type: ignore[arg-type]
        name = f"case{next(_serial)}"
        folder = gg.emit(made, name=name, out=tempfile.mkdtemp(prefix="gradgen-bench-"), **options)
        entry = f"{name}_value_and_grad" if wrt else f"{name}_forward"
        parameters = _parameters((folder / f"{name}.h").read_text(), entry)
        graph = made.graph
        results = [np.zeros(n.shape, n.dtype.numpy) for n in graph.outputs]
        results += [np.zeros(n.shape, n.dtype.numpy) for n in graph.inputs if wrt and n.requires_grad]
        work = f"static _Alignas(64) char work[{name.upper()}_WORK_BYTES + 64];"
        tail = {"work": "work", "saved": "NULL", "flags": "GRADGEN_SET_GRAD"}
        given = iter(range(len(parameters)))
        passed = [tail[p.split()[-1].lstrip("*")] if p.split()[-1].lstrip("*") in tail
                  else f"({p.rsplit('*', 1)[0]}*)p[{next(given)}]" for p in parameters]
        source = f"""#include "{name}.h"
        {work}
        void repeat(long times, void **p) {{ while (times-- > 0) (void){entry}({', '.join(passed)}); }}"""
        library = compiled_c(source, [f"-I{folder}", str(folder / f"{name}.c")], standard="gnu11")
        buffers = [np.ascontiguousarray(a) for a in arrays.values()] + results
        return repeating(library.repeat, buffers, results)

    return make


def _parameters(header: str, entry: str) -> list[str]:
    found = re.search(rf"\b{entry}\(([^)]*)\);", header)
    if found is None:
        raise LookupError(f"{entry} is not declared")
    return [" ".join(p.split()) for p in found.group(1).split(",")]


# --- C ---------------------------------------------------------------------------------------------------------------


def compiled_c(source: str, more: Sequence[str] = (), standard: str = "gnu99") -> ctypes.CDLL:
    """Compiles one file with gcc at -O3 for this processor and loads it."""
    folder = Path(tempfile.mkdtemp(prefix="gradgen-bench-c-"))
    (folder / "peer.c").write_text(source)
    command = ["gcc", f"-std={standard}", *FLAGS, *more, "-w", "-shared", "-fPIC", "peer.c", "-o", "peer.so", "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return ctypes.CDLL(str(folder / "peer.so"))


def repeating(function: Any, buffers: Sequence[np.ndarray], results: Sequence[np.ndarray], check: bool = True) -> Peer:
    """A peer whose C function `repeat(long times, void **buffers)` loops by itself; it keeps its buffers alive."""
    pointers = (ctypes.c_void_p * len(buffers))(*(b.ctypes.data for b in buffers))
    function.argtypes, function.restype = [ctypes.c_long, ctypes.c_void_p], None

    def call() -> list[np.ndarray]:
        function(1, pointers)
        return [r.copy() for r in results]

    def repeat(n: int, _kept: Any = tuple(buffers)) -> None:
        function(n, pointers)

    return Peer(call, repeat, check)


def c_by_hand(body: str, results: Callable[[Arrays], Sequence[np.ndarray]], preamble: str = "") -> Maker:
    """A function body in C over the arrays by their names (and results r0, r1, ...), repeated in a loop in C."""

    def make(arrays: Arrays, setup: Setup) -> Peer:
        made = list(results(arrays))
        names = {**arrays, **{f"r{k}": r for k, r in enumerate(made)}}
        ctype = {"float32": "float", "float64": "double", "int64": "long", "int32": "int"}
        kinds = [(n, ctype[a.dtype.name]) for n, a in names.items()]
        lines = "".join(f"    {kind} *restrict {n} = buffers[{k}];\n" for k, (n, kind) in enumerate(kinds))
        sizes = "".join(f"    enum {{ {n}_{k} = {e} }};\n" for n, a in names.items() for k, e in enumerate(a.shape))
        source = f"""#include <math.h>
#include <string.h>
#include <stdlib.h>
{preamble}
static __attribute__((noinline)) void once(void **buffers)
{{
{lines}{sizes}{body}
}}
void repeat(long times, void **p) {{ while (times-- > 0) once(p); }}"""
        return repeating(compiled_c(source).repeat, [np.ascontiguousarray(a) for a in names.values()], made)

    return make


def copy_of(*names: str) -> Maker:
    """A bound: one read of the named arrays and one write of as much, by memcpy into memory that is already there."""

    def make(arrays: Arrays, setup: Setup) -> Peer:
        sources = [arrays[n] for n in names]
        targets = [np.zeros_like(a) for a in sources]

        def call() -> None:
            for target, source in zip(targets, sources, strict=True):
                ctypes.memmove(target.ctypes.data, source.ctypes.data, source.nbytes)

        return Peer(call, check=False)

    return make


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_tensors(arrays: Arrays, wrt: Sequence[str], setup: Setup) -> tuple[Any, list[Any], list[Any]]:
    """torch, all tensors and those with gradients."""
    import torch

    torch.set_num_threads(setup.threads)
    tensors = {k: torch.from_numpy(v.copy()) for k, v in arrays.items()}
    leaves = [tensors[k].requires_grad_() for k in wrt]
    return torch, list(tensors.values()), leaves


def torch_gradients(function: Callable[..., Any], wrt: Sequence[str], compiled: bool = False) -> Maker:
    """Eager PyTorch or torch.compile: forward, then backward into fresh gradients."""

    def make(arrays: Arrays, setup: Setup) -> Peer:
        torch, tensors, leaves = torch_tensors(arrays, wrt, setup)
        run: Callable[..., Any] = lambda *given: function(torch, *given)  # noqa: E731  torch.compile wants a function
        if compiled:
            run = torch.compile(run)

        def call() -> Any:
            for leaf in leaves:
                leaf.grad = None
            loss = run(*tensors)
            loss.backward()
            return loss, [leaf.grad for leaf in leaves]

        return Peer(call)

    return make


def torch_values(function: Callable[..., Any], compiled: bool = False) -> Maker:
    """Eager PyTorch or torch.compile without recording gradients."""

    def make(arrays: Arrays, setup: Setup) -> Peer:
        torch, tensors, _ = torch_tensors(arrays, (), setup)
        run: Callable[..., Any] = lambda *given: function(torch, *given)  # noqa: E731
        if compiled:
            run = torch.compile(run)
        return Peer(lambda: run(*tensors))

    return make


# --- JAX -------------------------------------------------------------------------------------------------------------


def _jax() -> tuple[Any, Any]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)  # other peers compute integers and doubles at full width, too
    return jnp, jax


def jax_gradients(function: Callable[..., Any], wrt: Sequence[str]) -> Maker:
    """jit of value_and_grad of `function(jnp, jax, *arrays)`; results are waited for."""

    def make(arrays: Arrays, setup: Setup) -> Peer:
        jnp, jax = _jax()
        positions = tuple(list(arrays).index(k) for k in wrt)
        run = jax.jit(jax.value_and_grad(lambda *given: function(jnp, jax, *given), argnums=positions))
        given = [jnp.asarray(v) for v in arrays.values()]
        return Peer(lambda: jax.block_until_ready(run(*given)))

    return make


def jax_values(function: Callable[..., Any]) -> Maker:
    """jit of `function(jnp, jax, *arrays)`."""

    def make(arrays: Arrays, setup: Setup) -> Peer:
        jnp, jax = _jax()
        run = jax.jit(lambda *given: function(jnp, jax, *given))
        given = [jnp.asarray(v) for v in arrays.values()]
        return Peer(lambda: jax.block_until_ready(run(*given)))

    return make


# --- CasADi ----------------------------------------------------------------------------------------------------------


def casadi_c(
    function: Callable[[Any], Any], results: Callable[[Arrays], Sequence[np.ndarray]],
    mapped: Mapping[str, str | None] | None = None, count: Callable[[Arrays], int] = lambda arrays: 1,
) -> Maker:
    """CasADi's generated C, compiled with gcc -O3 -march=native in one file with the loop over calls.

    `function(casadi)` makes the Function.  Its inputs are the arrays `mapped`, in order: from a name to None (the whole
    array), to "" (row i of the array for call i), or to the name of an index array (row index[i]).  CasADi's matrices
    are dense by columns: transpose where rows are wanted.  `results` gives arrays with one row per call.
    """

    def make(arrays: Arrays, setup: Setup) -> Peer:
        import casadi

        made = function(casadi)
        folder = tempfile.mkdtemp(prefix="gradgen-bench-casadi-")
        generator = casadi.CodeGenerator(f"{made.name()}.c", {"with_header": False})
        generator.add(made)
        generator.generate(folder + "/")
        n, how = count(arrays), mapped if mapped is not None else dict.fromkeys(arrays)
        out = list(results(arrays))
        names = list(arrays)
        setting, buffers = [], [np.ascontiguousarray(a) for a in arrays.values()] + out
        for k, (name, index) in enumerate(how.items()):
            row = arrays[name][0].size if index is not None else 0
            at = "0" if index is None else "i" if index == "" else f"((const long *)p[{names.index(index)}])[i]"
            setting.append(f"arg[{k}] = (const double *)p[{names.index(name)}] + {row} * {at};")
        for k, r in enumerate(out):
            setting.append(f"res[{k}] = (double *)p[{len(names) + k}] + {r.size // n} * i;")
        source = f"""#include "{folder}/{made.name()}.c"
        static double w[{made.sz_w() + 1}]; static casadi_int iw[{made.sz_iw() + 1}];
        void repeat(long times, void **p)
        {{
            const double *arg[{made.sz_arg() + 1}]; double *res[{made.sz_res() + 1}];
            while (times-- > 0)
                for (long i = 0; i < {n}; ++i) {{
                    {' '.join(setting)}
                    {made.name()}(arg, res, iw, w, 0);
                }}
        }}"""
        return repeating(compiled_c(source).repeat, buffers, out)

    return make

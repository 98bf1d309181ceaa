"""Fixed positions on open axes: exactly sized heap blocks under AddressSanitizer, dimensions too small and large enough."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradgen as gg
from tests.embed.toolchain import C_COMPILERS, needs_c, program, run

F = gg.nn.functional
SIZES = (0, 1, 2, 3, 4, 5, 8)

PROGRAMS: dict[str, tuple[Callable[..., Any], dict[str, tuple[Any, ...]], Callable[[Mapping[str, int]], bool]]] = {
    "third": (lambda x: x[2] ** 2 + x[-3], {"x": ("N",)}, lambda d: d["N"] >= 3),
    "column": (lambda x: (x[:, 2] * x[:, -1]).sum(), {"x": ("N", "M")}, lambda d: d["M"] >= 3),
    "narrowed": (lambda x: x.narrow(0, 1, 3).pow(2).sum(), {"x": ("N", 2)}, lambda d: d["N"] >= 4),
    "windows": (lambda x: x.unfold(0, 3, 2).pow(2).sum(), {"x": ("N",)}, lambda d: d["N"] >= 3),
    "pooled": (lambda x: F.max_pool1d(x, 3).sum() + F.avg_pool1d(x, 2, 1).pow(2).sum(), {"x": (1, 2, "N")},
               lambda d: d["N"] >= 3),
    "convolved": (lambda x, w: F.conv1d(x, w, stride=2).pow(2).sum(), {"x": ("B", 2, "N"), "w": (3, 2, 4)},
                  lambda d: d["N"] >= 4),
    "written": (lambda x, w: _written(x, w), {"x": ("N",), "w": ()}, lambda d: d["N"] >= 4),
    "clamped": (lambda x: x[:3].sum() + x[-2:].pow(2).sum() + x.diff().sum(), {"x": ("N",)}, lambda d: True),
    "quarters": (lambda x: x.reshape(-1, 4).sum(0).pow(2).sum(), {"x": (gg.dim("N", multiple=4),)},
                 lambda d: d["N"] % 4 == 0),
    "larger": (lambda x, w: F.conv1d(x, w).sum(), {"x": (1, 1, "N"), "w": (1, 1, "K")}, lambda d: d["N"] >= d["K"] >= 1),
}


def _written(x: Any, w: Any) -> Any:
    y = x * 1
    y[3] = w * w
    return (y * y).sum()


def _emitted(name: str, folder: Path) -> dict[str, Any]:
    function, shapes, _ = PROGRAMS[name]
    specs = {n: gg.spec(*s, requires_grad=True) for n, s in shapes.items()}
    made = gg.emit(gg.trace(function, name=name, outputs=["out"], **specs), name, out=folder)
    return json.loads((made / f"{name}.json").read_text())


HEAD = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wrong;

static float *block(size_t count) /* exactly as long as it says, so that the sanitizer sees one element too many */
{
    float *p = malloc(count * sizeof(float) + (count == 0));
    for (size_t k = 0; k < count; ++k) {
        p[k] = 0.5f + 0.25f * (float)(k % 3);
    }
    return p;
}

static void *aligned(size_t bytes)
{
    void *p = NULL;
    if (bytes == SIZE_MAX || posix_memalign(&p, 64, bytes + (bytes == 0)) != 0) {
        return NULL;
    }
    memset(p, 0xff, bytes);
    return p;
}

static void expect(const char *what, int got, int wanted)
{
    if (got != wanted) {
        ++wrong;
        printf("%s: %d, not %d\\n", what, got, wanted);
    }
}
"""


def _host(name: str, manifest: dict[str, Any]) -> str:
    """One function that calls the module's with every combination of small dimensions."""
    names = [f"{t['name']}" for t in manifest["inputs"]]
    lines = [f"static void try_{name}(void)", "{"]
    for values in itertools.product(SIZES, repeat=len(manifest["dims"])):
        dims = dict(zip(manifest["dims"], values))
        fits = PROGRAMS[name][2](dims)
        text, call = ", ".join(map(str, values)), ", ".join(names)
        status = "GRADGEN_OK" if fits else "GRADGEN_ERR_DIM"
        label = f"{name} at {dims}".replace('"', "").replace("'", "")
        blocks = [(n, t["shape"]) for n, t in zip(names, manifest["inputs"])]
        blocks += [(f"grad_{n}", shape) for n, shape in blocks] + [("out", [])]
        lines += ["    {"]
        for n, shape in blocks:
            lines.append(f"        float *{n} = block({int(np.prod([eval(str(e), {}, dims) for e in shape]))});")
        lines += [
            f"        const size_t saved_bytes = {name}_saved_bytes({text});",
            f"        void *saved = aligned(saved_bytes), *work = aligned({name}_work_bytes({text}));",
            f'        expect("{label} size", saved_bytes == SIZE_MAX, {int(not fits)});',
            f'        expect("{label} forward", (int){name}_forward({text}, {call}, out, saved, work), {status});',
            f'        expect("{label} backward", (int){name}_backward({text}, {call}, saved, NULL, '
            f'{", ".join(f"grad_{n}" for n in names)}, work, 0), {status});',
            f'        expect("{label} both", (int){name}_value_and_grad({text}, {call}, out, '
            f'{", ".join(f"grad_{n}" for n in names)}, work, GRADGEN_SET_GRAD), {status});',
            "        " + " ".join(f"free({n});" for n, _ in blocks) + " free(saved); free(work);",
            "    }",
        ]
    return "\n".join([*lines, "}"])


@needs_c
def test_nothing_is_read_outside(tmp_path: Path) -> None:
    manifests = {name: _emitted(name, tmp_path) for name in PROGRAMS}
    includes = "\n".join(f'#include "{name}/{name}.h"' for name in PROGRAMS)
    hosts = "\n\n".join(_host(name, manifest) for name, manifest in manifests.items())
    calls = "\n".join(f"    try_{name}();" for name in PROGRAMS)
    main = f"int main(void)\n{{\n{calls}\n    puts(wrong ? \"wrong\" : \"fine\");\n    return 0;\n}}\n"
    (tmp_path / "host.c").write_text("\n".join([includes, HEAD, hosts, "", main]))
    sources = ["host.c", *(f"{name}/{name}.c" for name in PROGRAMS)]
    flags = ("-D_POSIX_C_SOURCE=200809L", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert run([program(C_COMPILERS[0], sources, tmp_path, *flags)], tmp_path) == "fine\n"


def test_the_record_says_the_conditions(tmp_path: Path) -> None:
    _emitted("third", tmp_path)
    (tmp_path / "record.c").write_text(
        '#include <stdio.h>\n#include "third/third.h"\nint main(void)\n{\n    const gradgen_module *m = third_module();\n'
        "    for (int64_t k = 0; k < m->n_conditions; ++k) {\n        puts(m->conditions[k].text);\n    }\n    return 0;\n}\n"
    )
    if C_COMPILERS:
        assert run([program(C_COMPILERS[0], ["record.c", "third/third.c"], tmp_path)], tmp_path) == "N >= 3\n"


# --- from Python -------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[str, dict[str, tuple[int, ...]], type[Exception], str]] = [
    ("third", {"x": (2,)}, IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
    ("column", {"x": (0, 2)}, IndexError, "index 2 is out of bounds for dimension 1 with size 2"),
    ("windows", {"x": (2,)}, RuntimeError, "maximum size for tensor at dimension 0 is 2 but size is 3"),
    ("quarters", {"x": (6,)}, ValueError, "N % 4 == 0 was stated by gg.dim('N', multiple=4), and N is 6"),
    ("larger", {"x": (1, 1, 2), "w": (1, 1, 3)}, RuntimeError,
     "Calculated padded input size per channel: (2). Kernel size: (3). Kernel size can't be greater than actual input size"),
]


@needs_c
def test_python_says_what_eager_use_says(tmp_path: Path) -> None:
    built: dict[str, Any] = {}
    for name, shapes, kind, words in REFUSED:
        function, specs, _ = PROGRAMS[name]
        given = {n: gg.spec(*s, requires_grad=True) for n, s in specs.items()}
        module = built.setdefault(name, None) or gg.build(gg.trace(function, name=name, **given), name, tmp_path)
        arrays = [np.ones(s, np.float32) for s in shapes.values()]
        for call in (module.forward, module.value_and_grad):
            with pytest.raises(kind) as caught:
                call(*arrays)
            assert type(caught.value) is kind and str(caught.value) == words
        assert caught.value.__notes__[0].startswith(f"{name} needs ")
        if kind is not ValueError:
            with pytest.raises(kind) as eager:
                function(*(gg.tensor(a) for a in arrays))
            assert str(eager.value) == words


@needs_c
def test_a_module_with_conditions_tests_itself(tmp_path: Path) -> None:
    """self_test, selftest.c and gg.check pick dimensions that satisfy them."""
    given = gg.spec(gg.dim("N", multiple=4), requires_grad=True)
    made = gg.trace(lambda x: x[6] * x.reshape(-1, 4).sum(0).pow(2).sum(), x=given, name="eighth")
    module = gg.build(made, "eighth", tmp_path)
    assert module.self_test()["x"] < 0.1
    assert gg.check(made, torch=False).passed
    said = run([program(C_COMPILERS[0], ["selftest.c", "eighth.c"], tmp_path / "eighth")], tmp_path)
    assert "all tests passed" in said
    run([program(C_COMPILERS[0], ["example.c", "eighth.c"], tmp_path / "eighth", name="example")], tmp_path)


@needs_c
@pytest.mark.parametrize("cc", C_COMPILERS)
def test_empty_tensors_compile_strictly(cc: str, tmp_path: Path) -> None:
    """A sort over nothing: a gradient without elements, loops up to 0, a dimension that zero_grad does not need."""
    folder = gg.emit(gg.trace(lambda x: x.sort(1)[0], x=gg.spec("N", 0, requires_grad=True), name="nothing"), "nothing",
                     out=tmp_path)
    for main in ("example.c", "selftest.c"):
        run([program(cc, [main, "nothing.c"], folder, name=main.removesuffix(".c"))], folder)

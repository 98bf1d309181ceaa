"""Emitted modules have no definition that nothing reaches, and formulas of a length that compilers take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gradgen as gg
from gradgen.codegen.gemm import GemmTarget, _general_function
from gradgen.codegen.prune import _items, pruned
from gradgen.compiler.pipeline import generate
from gradgen.notation.formula import shortened
from gradgen.options import Options
from gradgen.paths import templates_dir

TEXTS = {
    "pair": """\
/* Two parts. */
typedef struct {
    float hi, lo;
} pair;

/* The sum
 * of two. */
static inline pair two_sum(float a, float b)
{
    pair r = {a + b, 0};
    return r;
}
""",
    "uses": """\
#if defined(__GNUC__)
#define FAST static __attribute__((noinline, cold))
#else
#define FAST static
#endif

#define TWICE(x) \\
    ((x) + \\
     (x))
static const float table[2] = {
    1.0f, 2.0f,
};
FAST float far(float x) { return TWICE(x) * table[0]; }
static float near(float x) {
    return two_sum(x, x).hi; /* not far( */
}
""",
}


def test_only_what_is_reached_stays() -> None:
    found = pruned(TEXTS, ["y = near(x);"])
    assert "two_sum" in found["pair"] and "} pair;" in found["pair"] and "/* Two parts. */" in found["pair"]
    assert "near" in found["uses"]
    for gone in ("TWICE", "FAST", "table", "float far"):
        assert gone not in found["uses"]


def test_macros_tables_and_attributes_are_followed() -> None:
    found = pruned(TEXTS, ["y = far(x);"])
    assert "pair" not in found
    for kept in ("define TWICE", "#endif", "table[2]", "float far"):
        assert kept in found["uses"]
    assert "near(float" not in found["uses"]


def test_a_name_in_a_comment_is_no_use() -> None:
    assert pruned(TEXTS, ["/* far(x) */"]) == {}


def test_pragmas_stay() -> None:
    text = "#if defined(__clang__)\n#pragma clang diagnostic ignored \"-Wpass-failed\"\n#endif\n"
    assert pruned({"quiet": text}, [""]) == {"quiet": text.strip("\n")}


def kernel_texts() -> list[tuple[str, str]]:
    folder = templates_dir() / "kernels" / "math"
    found = [(f.name, f.read_text(encoding="utf-8")) for f in sorted(Path(folder).glob("*.h"))]
    return [*found, ("gemm", _general_function("float32", GemmTarget()))]


@pytest.mark.parametrize(("name", "text"), kernel_texts(), ids=lambda v: v if len(v) < 30 else "")
def test_kernels_are_cut_without_loss(name: str, text: str) -> None:
    items = _items(text)
    assert "".join("".join(i.text for i in items).split()) == "".join(text.split())
    for item in items:
        code = re.sub(r"/\*.*?\*/", "", item.text, flags=re.S)
        assert len(re.findall(r"^\{|^\S.*\) \{$", code, re.M)) <= 1, f"{name}: two functions in one item"
        assert item.names


def test_no_unused_function_in_a_module() -> None:
    program = gg.trace(lambda x: gg.log(x).sum(), x=gg.spec("N", requires_grad=True))
    text = generate(program.graph, "logs", Options())["logs.c"]
    for name in re.findall(r"^(?:GG_\w+|static)[^;={}]*?\b(gg_\w+)\(", text, re.M):
        assert len(re.findall(rf"\b{name}\b", text)) > 1, name


def test_formulas_end_somewhere() -> None:
    program = gg.trace(lambda x: gg.scan(lambda c, s: (gg.sin(c * s) + c, None), x, gg.ones(5))[0].sum(),
                       x=gg.spec(3, requires_grad=True))
    for text in re.findall(r'((?:"(?:[^"\\]|\\.)*"\s*)+)', generate(program.graph, "s", Options())["s.c"]):
        assert len(text) < 4095
    assert shortened("a\nb\nc", 2, 100) == "a\nb\n  ... and 1 more lines"
    assert shortened("a\nb", 2, 100) == "a\nb"
    assert shortened("a" * 50, 2, 20) == "a" * 16 + " ..."

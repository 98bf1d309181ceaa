"""The fragments of C: what they say of themselves is so, none is out of reach, and a new one is one file."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import gradgen as gg
from gradgen.codegen import fragments
from gradgen.codegen.c_types import FLOATS, INTEGERS
from gradgen.codegen.expressions import INDEX_HELPERS
from gradgen.codegen.fragments import Helper, cut, defined, find, helper, is_macro, sections, with_needs
from gradgen.compiler.pipeline import generate
from gradgen.errors import CodegenError
from gradgen.ir.kernels import KERNELS
from gradgen.ir.scalar_table import REGISTRY
from gradgen.loops.statements import HALVED
from gradgen.notation.formula import shortened
from gradgen.options import Options

COMMENT = re.compile(r"/\*.*?\*/", re.S)
KEYS = {"counter": "int64_t", "size": 4, "depth": 256, "rows": 240, "large": 1, "wide": 1, "many": 1, "short": 1}


def filled(name: str) -> Helper:
    return fragments.filled(name, **KEYS)


def sections_of(name: str) -> str:
    found = find(name)
    assert found is not None, name
    return found[0].file


def all_names() -> list[str]:
    """Every name for every dtype that it has."""
    found: dict[str, None] = {}
    for name, section in sections().items():
        if section.file.startswith("gemm/") and "gg_" not in name and not name.startswith("GG_KERNEL"):
            continue  # macros of the kernel, defined and undefined with its dtype
        dtypes = {"{{ s }}": FLOATS if not section.file.startswith("sort/") else (*FLOATS, *INTEGERS), "{{ i }}": INTEGERS}
        several = [name]
        for key, suffixes in dtypes.items():
            several = [n.replace(key, s) for n in several for s in (suffixes if key in n else ("",))]
        found |= dict.fromkeys(several)
    return list(found)


def test_a_fragment_says_what_it_defines_and_what_it_needs() -> None:
    names = set(all_names())
    for name in names:
        made = filled(name)
        code = COMMENT.sub(" ", made)
        words = set(re.findall(r"[A-Za-z_]\w*", code))
        assert set(made.names) <= words, name
        assert words & names - set(made.names) == {n for n in made.needs if n in names}, name
        assert "{{" not in made and name in made.names
        # a function that a fragment defines is one of its names
        functions = re.findall(r"^(?:GG_\w+|static)[^;={}()]*?\b(gg_\w+)\(", code, re.M)
        assert set(functions) <= set(made.names), name


def emitted_operations() -> Iterator[tuple[str, str]]:
    """What the scheduler may leave of scalar functions: every key with every suffix of types whose C is a fragment."""
    for key, kind in REGISTRY.items():
        record = kind.record
        written = record.operator or record.instruction
        yield from ((key, s) for s in (INTEGERS if written else (*FLOATS, *INTEGERS)))


def test_no_fragment_is_out_of_reach() -> None:
    roots: list[str | Helper] = [f"gg_{op}_{s}" for op in ("add", "sub", "mul", "neg") for s in INTEGERS]
    for op, suffix in emitted_operations():
        roots += [n for n in (f"gg_{op}_{suffix}", f"gg_{op}_scalar_{suffix}") if defined(n)]
    roots += [f"gg_to_{i}_{f}" for i in INTEGERS for f in FLOATS]
    roots += [f"gg_sum_of_{n}_{f}" for n in HALVED for f in FLOATS]
    roots += [f"gg_sincos_scalar_{f}" for f in FLOATS]
    roots += [f"gg_{sum_}_{f}{what}" for sum_ in ("pairwise", "cascade") for f in FLOATS for what in ("", "_add", "_total")]
    roots += [f"gg_{k}_{s}" for k in KERNELS for s in FLOATS if defined(f"gg_{k}_{s}")]
    roots += [f"gg_argsort_{s}" for s in INTEGERS]
    roots += [*map(filled, INDEX_HELPERS), "gg_at", "gg_at_if", "GG_NOINLINE", "GG_CHUNK", "GG_KERNEL"]
    reached = {n for made in with_needs(roots).values() for n in made.names}
    rest = {n for n in all_names() if not sections_of(n).startswith("gemm/")} - reached
    assert rest == set()


def test_needs_come_first_and_once() -> None:
    made = with_needs(["gg_softplus_f32", "gg_exp_f32", "gg_sin_f64"])
    order = [n for text in made.values() for n in text.names]
    assert len(order) == len(set(order))
    for text in made.values():
        assert all(order.index(n) < order.index(text.names[0]) for n in text.needs)
    assert with_needs([]) == {}
    assert is_macro("GG_INLINE") and not is_macro("gg_exp_f32")


@pytest.mark.parametrize("name", ["gg_frobnicate_f32", "gg_exp_i32", "gg_pow_u8"])
def test_what_is_not_there_is_an_error(name: str) -> None:
    assert not defined(name)
    with pytest.raises(CodegenError, match=name):
        helper(name)


def test_a_new_fragment_is_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """\
//= small: 0.001f | 1e-6
//: gg_sinh_ratio_{{ s }} < GG_INLINE, gg_sinh_{{ s }}
/* sinh(x) / x */
GG_INLINE {{ T }} gg_sinh_ratio_{{ s }}({{ T }} x)
{
    return fabs{{ f }}(x) < {{ small }} ? 1.0{{ f }} : gg_sinh_{{ s }}(x) / x;
}
"""
    (made,) = cut("math/sinh_ratio.h", text)
    monkeypatch.setitem(sections(), made.names[0], made)
    single, double = helper("gg_sinh_ratio_f32"), helper("gg_sinh_ratio_f64")
    assert "fabsf(x) < 0.001f ? 1.0f" in single and "fabs(x) < 1e-6 ? 1.0 :" in double
    assert list(with_needs(["gg_sinh_ratio_f64"]))[-2:] == ["gg_sinh_f64", "gg_sinh_ratio_f64"]
    helper.cache_clear()


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

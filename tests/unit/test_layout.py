"""Emitted lines are short; breaking them changes white space alone."""

from __future__ import annotations

import re

import pytest

import gradgen as gg
from gradgen.codegen.layout import WIDTH, code_lines, comment
from gradgen.compiler.pipeline import generate
from gradgen.options import Options


def plain(lines: list[str]) -> str:
    """The tokens of C, without white space."""
    return "".join("".join(lines).split())


LONG = {
    "sum": "    const double t1 = " + " + ".join(f"t{k} * s{k}" for k in range(30)) + ";",
    "call": "        value(" + ", ".join(f"argument_{k}" for k in range(30)) + ");",
    "condition": "    if (" + " && ".join(f"n{k} >= 0" for k in range(30)) + ") {",
    "pointer": "    float *const s3 = (float *)gg_at(saved, "
               + " + ".join(f"((N * {k} + 63) / 64) * 64" for k in range(4)) + ");",
}


@pytest.mark.parametrize("name", LONG)
def test_lines_are_short_and_say_the_same(name: str) -> None:
    found = code_lines(LONG[name])
    assert max(map(len, found)) <= WIDTH
    assert plain(found) == plain([LONG[name]])
    assert re.findall(r"[\w:.]+", "\n".join(found)) == re.findall(r"[\w:.]+", LONG[name])


WORD = "z" * 130


@pytest.mark.parametrize("line", [f"    x = f({WORD}, {WORD}, b) + {WORD};", f"{' ' * 120}x = a + b;", "    short = 1;"])
def test_words_longer_than_a_line(line: str) -> None:
    """Breaking lines once ran for ever where a word did not fit: each piece takes something away."""
    found = code_lines(line)
    assert plain(found) == plain([line])
    assert all(part.strip() for part in found)


@pytest.mark.parametrize("texts", [
    [WORD], [f"{WORD} add"], [f"a {WORD} b {WORD}", "second"], ["word " * 40], ["one */ two"],
    [", ".join(["f.py:3 add"] * 40)],
])
@pytest.mark.parametrize("indent", ["", "    ", " " * 112])
def test_comments_look_like_one(texts: list[str], indent: str) -> None:
    found = comment(texts, indent)
    assert found[0].startswith(f"{indent}/* ") and found[-1].endswith(" */")
    assert all(line.startswith(f"{indent} * ") for line in found[1:])
    assert sum(line.count("*/") for line in found) == 1
    words = [w for line in found for w in line.removesuffix(" */").split() if w not in ("/*", "*")]
    assert words == [w for text in texts for w in text.replace("*/", "* /").split() if w != "*"]
    assert all(len(line) <= WIDTH for line in found) or any(len(w) > 20 for w in words) or len(indent) > 100


def test_a_module_has_short_lines() -> None:
    def loss(x: gg.Tensor, t: gg.Tensor, w: gg.Tensor, b: gg.Tensor) -> gg.Tensor:
        return gg.nn.functional.cross_entropy(gg.relu(x @ w + b), t)

    program = gg.trace(loss, x=gg.spec("N", 6), t=gg.spec("N", dtype=gg.int64), w=gg.spec(6, 4, requires_grad=True),
                       b=gg.spec(4, requires_grad=True))
    text = generate(program.graph, "narrow", Options())["narrow.c"]
    long = [line for line in text.splitlines() if len(line) > 120 and '"' not in line and "sha256" not in line]
    assert not long

"""Emitted lines are short; folding changes white space alone."""

from __future__ import annotations

import re

import pytest

import gradgen as gg
from gradgen.codegen.fold import WIDTH, folded
from gradgen.compiler.pipeline import generate
from gradgen.options import Options


def plain(text: str) -> str:
    """The tokens of C, without white space and comments."""
    return "".join(re.sub(r"/\*.*?\*/", "", text, flags=re.S).split())


LONG = {
    "sum": "    const double t1 = " + " + ".join(f"t{k} * s{k}" for k in range(30)) + ";",
    "call": "        value(" + ", ".join(f"argument_{k}" for k in range(30)) + ");",
    "condition": "    if (" + " && ".join(f"n{k} >= 0" for k in range(30)) + ") {",
    "pointer": "    float *const s3 = saved == NULL ? NULL : (float *)(void *)((unsigned char *)saved + "
               + " + ".join(f"((N * {k} + 63) / 64) * 64" for k in range(4)) + ");",
    "comment": "    /* " + ", ".join(f"file.py:{k} add" for k in range(30)) + " */",
    "inside": "/*\n * " + ", ".join(f"file.py:{k} add" for k in range(30)) + "\n */",
}


@pytest.mark.parametrize("name", LONG)
def test_lines_are_short_and_say_the_same(name: str) -> None:
    found = folded(LONG[name])
    assert max(map(len, found.splitlines())) <= WIDTH
    assert plain(found) == plain(LONG[name])
    words = re.findall(r"[\w:.]+", LONG[name])
    assert re.findall(r"[\w:.]+", found) == words


WORD = "z" * 130


@pytest.mark.parametrize("line", [
    f"    /* {WORD} */", f"    /* {WORD} add */", f"    /* a {WORD} b {WORD} */", f"    /** {WORD} {WORD} */",
    f"/*\n * {WORD} sum of {WORD}\n */", f"/*\n   {WORD} sum of {WORD}\n*/", f"{' ' * 120}/* far {WORD} out */",
    f"    x = f({WORD}, {WORD}, b) + {WORD};", f"{' ' * 120}x = a + b;", f"/*{'*' * 130} {WORD}\n*/",
])
def test_words_longer_than_a_line(line: str) -> None:
    """Folding once ran for ever where a word did not fit: each piece takes something away."""
    found = folded(line)
    assert found.split() == line.split() or set(found.split()) - set(line.split()) <= {"*"}
    assert plain(found) == plain(line)
    assert all(part.strip() for part in found.splitlines())


@pytest.mark.parametrize(("line", "prefix"), [
    ("/* " + "word " * 40 + "*/", " *   "), ("    /* " + "word " * 40 + "*/", "     *   "),
    ("/**\n *  " + "word " * 40 + "\n */", " *   "), ("/*\n   " + "word " * 40 + "\n*/", "     "),
])
def test_a_folded_comment_looks_like_one(line: str, prefix: str) -> None:
    body = [part for part in folded(line).splitlines() if "word" in part]
    assert len(body) > 1
    assert all(part.startswith(f"{prefix}word") for part in body[1:])


@pytest.mark.parametrize("line", ['    {"name", "' + "x y " * 40 + '"},', "#define A(x) \\", "#define B " + "x + " * 40 + "x",
                                  " * digest sha256:" + "a b" * 60, "    short = 1;"])
def test_what_is_left_alone(line: str) -> None:
    assert folded(line) == line


def test_a_module_has_short_lines() -> None:
    def loss(x: gg.Tensor, t: gg.Tensor, w: gg.Tensor, b: gg.Tensor) -> gg.Tensor:
        return gg.nn.functional.cross_entropy(gg.relu(x @ w + b), t)

    program = gg.trace(loss, x=gg.spec("N", 6), t=gg.spec("N", dtype=gg.int64), w=gg.spec(6, 4, requires_grad=True),
                       b=gg.spec(4, requires_grad=True))
    text = generate(program.graph, "narrow", Options())["narrow.c"]
    long = [line for line in text.splitlines() if len(line) > WIDTH and '"' not in line and "sha256" not in line]
    assert not [line for line in long if not line.startswith(("#", "GG_", "static"))], long

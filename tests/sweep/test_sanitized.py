"""Emitted C under the sanitizers: exactly sized blocks, SAVED and WORK filled with 0xff, small dimensions, sets of NULLs.
`python -m tests.sweep sanitized` compiles all programs and makes all calls."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweep import generated, sanitized
from tests.sweep.after_passes import Report
from tests.sweep.programs import CASES

PROGRAMS = [
    "inner_scan", "scan_over_empty_rows", "recurrent_network",  # rows, and rows of packed panels
    "many_rotations",  # lanes, the last block of them not whole
    "large_products", "convolution",  # packed blocks of the matrix kernel
    "linear_system", "sorting",  # scratch memory of named kernels
    "gather_and_scatter", "table_of_open_size",  # positions that are data
    "borders", "mixture",  # windows, strips
    "threads_in_a_small_batch", "four_outputs", "long_rows", "integers_and_truths",
]  # fmt: skip
GENERATED = range(4, 8)
CALLS = 60  # of each function, beside one for each set of dimensions


def sanitizers() -> bool:
    """gcc and the libraries of both sanitizers."""
    if not shutil.which("gcc"):
        return False
    probe = subprocess.run(["gcc", *sanitized.FLAGS, "-x", "c", "-", "-o", "/dev/null"], capture_output=True, text=True,
                           input="int main(void) { return 0; }\n")
    return probe.returncode == 0


pytestmark = pytest.mark.skipif(not sanitizers(), reason="gcc has no sanitizers here")


def test_programs(tmp_path: Path) -> None:
    programs = [*(CASES[n].program for n in PROGRAMS), *map(generated.differentiable, GENERATED)]
    report = Report()
    sanitized.run(sanitized.build(programs, tmp_path), tmp_path, report, most=CALLS)
    assert report.programs == len(programs) and report.runs > 2000
    assert not report.wrong, "\n".join(report.wrong)


def replaced(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text, text
        return text.replace(old, new)

    return edit


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "a loop that is too long": (replaced("j < 3;", "j < 4;"), "heap-buffer-overflow"),
    "an index that is not tested": (replaced("return GRADGEN_ERR_INDEX;", ";"), "AddressSanitizer"),
    "memory that nobody fills": (replaced("memset(", "if (0) memset("), "instead of"),
    "a NULL that is not tested": (replaced("!= NULL", "!= (void *)8"), "runtime error"),
    "a size that is not tested": (replaced("!golden_lookup_dims_fit(K)", "0"), "golden_lookup"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_found(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit, said = BROKEN[what]
    right = sanitized.generate

    def broken(graph: object, name: str, options: object) -> dict[str, str]:
        files = right(graph, name, options)  # type: ignore[arg-type]
        return files | {f"{name}.c": edit(files[f"{name}.c"])}

    monkeypatch.setattr(sanitized, "generate", broken)
    monkeypatch.setattr(sanitized, "CRASHES", 2)
    report = Report()
    binary = sanitized.build([CASES["golden_lookup"].program], tmp_path)
    sanitized.run(binary, tmp_path, report, most=60)
    assert said in "\n".join(report.wrong), report.wrong

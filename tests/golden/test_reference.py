"""The committed bundles are what is generated now, byte for byte, whatever the hash seed, and every compiler takes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.embed.toolchain import C_COMPILERS, CXX_COMPILERS, STRICT, STRICT_CXX, needs_c, program, run
from tests.golden.reference import EXAMPLES, GENERATED, PROGRAMS, ROOT, SHARED, SMALL, bundle, bundles, differences

MODULES = [*(SMALL / name for name in PROGRAMS), *(GENERATED / name for name in EXAMPLES)]
COMPLETE = [p for p in MODULES if p.parent == GENERATED]


@pytest.fixture(scope="module")
def generated() -> dict[str, dict[str, str]]:
    return {folder.name: files for folder, files, _ in bundles()}


@pytest.mark.parametrize("folder", MODULES, ids=lambda p: p.name)
def test_committed_bytes(folder: Path, generated: dict[str, dict[str, str]]) -> None:
    """To accept a change: python -m tests.golden.reference --update."""
    text = "".join(differences(folder, generated[folder.name]))
    assert not text, text[:4000]


def test_fixed_files_are_the_same_everywhere() -> None:
    """What the small programs are kept without."""
    one = bundle("one", PROGRAMS["pointwise"])
    for name in sorted(SHARED & set(one)):
        for folder in COMPLETE:
            assert (folder / name).read_text(encoding="utf-8") == one[name], f"{folder.name}/{name}"


def test_hash_seeds() -> None:
    """Three processes with different orders of sets and dicts of strings make the same bytes."""
    digests = set()
    for seed in "012":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "tests.golden.reference", "--digest"], cwd=ROOT, env=environment, capture_output=True,
            text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory, generated: dict[str, dict[str, str]]) -> Path:
    """All bundles with all their files."""
    top = tmp_path_factory.mktemp("bundles")
    shared = {n: t for n, t in bundle("one", PROGRAMS["pointwise"]).items() if n in SHARED}
    for name, files in generated.items():
        (top / name).mkdir()
        for path, text in {**shared, **files}.items():
            (top / name / path).write_text(text, encoding="utf-8")
    return top


@needs_c
@pytest.mark.parametrize("name", [p.name for p in MODULES])
@pytest.mark.parametrize("cc", C_COMPILERS)
def test_strict_compilers(complete: Path, name: str, cc: str, tmp_path: Path) -> None:
    """-O0 and -O3 see different things; C++ is for the first compiler of C to wait for."""
    for level in ("-O0", "-O3"):
        run([cc, "-std=c99", *STRICT, level, "-c", f"{name}.c", "-o", tmp_path / "o.o"], complete / name)
    for cxx in CXX_COMPILERS[:1] if cc == C_COMPILERS[0] else ():
        run([cxx, "-x", "c++", "-std=c++11", *STRICT_CXX, "-c", f"{name}.c", "-o", tmp_path / "o.o"], complete / name)


@needs_c
@pytest.mark.parametrize("name", [p.name for p in MODULES])
def test_programs_of_the_bundle(complete: Path, name: str, tmp_path: Path) -> None:
    """The example runs, and the self-test finds the gradients right, with the sanitizers watching."""
    folder = complete / name
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    module = tmp_path / "module.o"
    run([C_COMPILERS[0], "-std=c99", *STRICT, *flags, "-c", f"{name}.c", "-o", module], folder)
    for which in ("example", "selftest"):
        said = run([program(C_COMPILERS[0], [str(folder / f"{which}.c"), str(module)], tmp_path, *flags)], tmp_path)
        assert which == "example" or "all tests passed" in said


@needs_c
@pytest.mark.parametrize("name", [p.name for p in MODULES])
def test_single_precision_stays_single(complete: Path, name: str, tmp_path: Path) -> None:
    """A module without a float64 tensor has no double instruction and calls no double function."""
    text = (complete / name / f"{name}.h").read_text(encoding="utf-8")
    if "float64" in text:
        pytest.skip("a float64 module")
    run([C_COMPILERS[0], "-std=c99", "-O2", "-c", f"{name}.c", "-o", tmp_path / "o.o"], complete / name)
    code = run(["objdump", "-d", "--no-show-raw-insn", tmp_path / "o.o"], tmp_path)
    wide = [w for w in ("addsd", "mulsd", "subsd", "divsd", "cvtss2sd", "cvtps2pd", "addpd", "mulpd") if f"\t{w}" in code]
    assert not wide

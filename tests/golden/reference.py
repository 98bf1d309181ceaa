"""The committed bundles: generated/ of the examples, and tests/golden/small_bundles of small programs.

    python -m tests.golden.reference --check       # generates in memory; a difference is shown as a unified diff, exit 1
    python -m tests.golden.reference --update      # writes what has changed
    python -m tests.golden.reference --digest      # one digest of everything, for comparing runs
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from gradgen.compiler.pipeline import generate
from gradgen.options import Options
from tests.golden.small import PROGRAMS, Program

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "generated"
SMALL = Path(__file__).with_name("small_bundles")

EXAMPLES = {n: n for n in ("linear_bce", "digits", "pendulum", "pinn")}
"""Name of a bundle in generated/ -> the example whose program() makes it."""

SHARED = {"_build.py", "_held.py", "_native.py", "_runtime.py", "_selfcheck.py", "gradgen_abi.h"}
"""Files that are the same in every bundle.  The small programs are kept without them: generated/ has them, and the manifests
have their checksums."""


def example(name: str) -> ModuleType:
    """examples/<name>.py as a module, without putting that folder on sys.path."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and inspect look there
    spec.loader.exec_module(module)
    return module


def bundle(name: str, program: Program) -> dict[str, str]:
    """Path -> text of one bundle."""
    factory, options = program
    return generate(factory().graph, name, Options(**options))


def bundles() -> Iterator[tuple[Path, dict[str, str], bool]]:
    """Folder, files, and whether the folder holds all files of the bundle."""
    for name, source in EXAMPLES.items():
        if (ROOT / "examples" / f"{source}.py").exists():
            yield GENERATED / name, bundle(name, (example(source).program, {})), True
    for name, program in PROGRAMS.items():
        files = bundle(name, program)
        yield SMALL / name, {p: t for p, t in files.items() if p not in SHARED}, False


def differences(folder: Path, files: dict[str, str]) -> Iterator[str]:
    """Unified diffs of what is committed against what is generated, and names of files that should not be there."""
    for path, new in sorted(files.items()):
        file = folder / path
        old = file.read_bytes().decode("utf-8") if file.exists() else ""
        if old != new:
            where = file.relative_to(ROOT).as_posix()
            lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), where, f"{where} (generated now)", n=2)
            yield "".join(lines) or f"{where}: line endings differ\n"
    for path in unexpected(folder, files):
        yield f"{(folder / path).relative_to(ROOT).as_posix()}: not part of the bundle\n"


def unexpected(folder: Path, files: Iterable[str]) -> list[str]:
    """Sources in the folder that are not the bundle's.  Compiled files are git-ignored and may be there."""
    found = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file()]
    binary = (".so", ".pyd", ".o", ".pyc")
    return [p for p in found if p not in set(files) and not p.endswith(binary) and not Path(p).name.startswith(".gradgen")]


def update(folder: Path, files: dict[str, str]) -> bool:
    """Writes one bundle; True where that changed something."""
    changed = False
    for path in unexpected(folder, files):
        (folder / path).unlink()
        changed = True
    for path, text in files.items():
        file = folder / path
        if not file.exists() or file.read_bytes() != text.encode():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
            changed = True
    return changed


def digest() -> str:
    """One number for every byte of every bundle."""
    whole = hashlib.sha256()
    for folder, files, _ in bundles():
        for path, text in sorted(files.items()):
            whole.update(f"{folder.name}/{path}\0{text}\0".encode())
    return whole.hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    for flag in ("--check", "--update", "--digest"):
        what.add_argument(flag, action="store_true")
    wanted = parser.parse_args()
    if wanted.digest:
        print(digest())
        return 0
    found = 0
    for folder, files, _ in bundles():
        if wanted.update:
            print(f"{'written' if update(folder, files) else 'as it was':<10} {folder.relative_to(ROOT).as_posix()}")
            continue
        for text in differences(folder, files):
            found += 1
            sys.stdout.write(text)
    if wanted.update:
        (GENERATED / "__init__.py").write_text('"""Modules generated by gradgen."""\n')
    if found:
        print(f"{found} files differ; if that is meant: python -m tests.golden.reference --update")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())

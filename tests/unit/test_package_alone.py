"""The package of a bundle on its own: built at first import, rebuilt when stale, moved, and light; without gradgen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradgen.codegen.bundle import make_bundle, write_bundle
from tests.embed.handmade import linear_bce, with_interface
from tests.embed.toolchain import C_COMPILERS

pytestmark = pytest.mark.skipif(not C_COMPILERS, reason="no C compiler")


def outside(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python where gradgen cannot be imported."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=variables, capture_output=True, text=True)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A folder `generated` with sources only, as in a fresh clone."""
    write_bundle(make_bundle(linear_bce()), tmp_path / "generated" / "linear_bce")
    return tmp_path


USE = """
import sys
for room in ("gradgen", "sympy", "jinja2"):
    sys.modules[room] = None
from generated import linear_bce
print(linear_bce.self_test()["w"] < 1e-3)
"""


def test_fresh_clone_builds_itself_without_gradgen(fresh: Path) -> None:
    done = outside(USE, fresh)
    assert done.stdout == "True\n", done.stderr
    built = list((fresh / "generated" / "linear_bce").glob("_linear_bce_cffi*"))
    stamp = built[0].stat().st_mtime_ns
    assert outside(USE, fresh, CC="/nonexistent").stdout == "True\n"  # nothing to compile any more
    assert built[0].stat().st_mtime_ns == stamp


def test_no_compiler_is_a_clear_import_error(fresh: Path) -> None:
    done = outside("import generated.linear_bce", fresh, CC="/nonexistent")
    last = done.stderr.strip().splitlines()[-1]
    assert "ImportError: generated.linear_bce is not compiled for this Python" in done.stderr
    assert "-m generated.linear_bce._build" in last


def test_stale_extension_is_rebuilt(fresh: Path) -> None:
    assert outside(USE, fresh).stdout == "True\n"
    changed = with_interface(linear_bce(), digest="sha256:" + "ab" * 32)
    write_bundle(make_bundle(changed), fresh / "generated" / "linear_bce")
    code = "from generated import linear_bce as m; print(m.info.digest[:11]); m.self_test()"
    done = outside(code, fresh)
    assert done.stdout == "sha256:abab\n", done.stderr


def test_truncated_extension_is_rebuilt(fresh: Path) -> None:
    assert outside(USE, fresh).stdout == "True\n"
    (built,) = (fresh / "generated" / "linear_bce").glob("_linear_bce_cffi*")
    built.write_bytes(built.read_bytes()[:1000])
    assert outside(USE, fresh).stdout == "True\n"


def test_read_only_sources(fresh: Path) -> None:
    """Sources in a folder that cannot be written: the error says why and what to do."""
    if os.geteuid() == 0:
        pytest.skip("root can write everywhere")
    folder = fresh / "generated" / "linear_bce"
    folder.chmod(0o555)
    done = outside("import generated.linear_bce", fresh)
    folder.chmod(0o755)
    assert "ImportError: generated.linear_bce is not compiled" in done.stderr


def test_package_moves(fresh: Path) -> None:
    """A bundle works under any package name, also at the top level."""
    shutil.move(fresh / "generated" / "linear_bce", fresh / "renamed")
    done = outside("import renamed; print(renamed.self_test()['b'] < 1e-3)", fresh)
    assert done.stdout == "True\n", done.stderr


def test_import_brings_nothing_heavy(fresh: Path) -> None:
    assert outside(USE, fresh).stdout == "True\n"  # built
    code = (
        "import sys, numpy, _cffi_backend\nbefore = set(sys.modules)\n"
        "import generated.linear_bce\nprint(*sorted(set(sys.modules) - before))"
    )
    done = outside(code, fresh)
    assert done.returncode == 0, done.stderr
    new = {m for m in done.stdout.split() if not m.startswith("generated")}
    heavy = {"cffi", "json", "dataclasses", "inspect", "subprocess", "argparse", "pathlib"}
    assert not new & (heavy | {"sympy", "jinja2", "gradgen"})


def test_a_package_in_an_archive_says_that_it_must_be_unpacked(fresh: Path) -> None:
    shutil.move(fresh / "generated", fresh / "packed")
    shutil.make_archive(str(fresh / "bundle"), "zip", fresh, "packed")
    shutil.rmtree(fresh / "packed")
    begin = "import sys; sys.path.insert(0, 'bundle.zip'); "
    done = outside(f"{begin}import packed.linear_bce", fresh)
    assert "ImportError: packed.linear_bce is inside of an archive" in done.stderr and "unpack it" in done.stderr
    done = outside(f"{begin}from packed.linear_bce import _build", fresh)
    assert "unpack it" in done.stderr
    assert [p.name for p in fresh.iterdir()] == ["bundle.zip"]

"""A bundle that CMake has installed is found by other projects, by find_package and by pkg-config, also where it was moved
to; and one that is cross-compiled builds its library alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import gradgen as gg
from tests.embed.toolchain import C_COMPILERS, needs_c, run

needs_cmake = pytest.mark.skipif(not shutil.which("cmake"), reason="CMake is not installed")
ARM = "arm-none-eabi-gcc"
HOST = """#include <{name}.h>
int main(void) {{ return {name}_module()->abi_version == GRADGEN_ABI_VERSION ? 0 : 1; }}
"""
PROJECT = """cmake_minimum_required(VERSION 3.13)
project(host C)
find_package({name} REQUIRED)
add_executable(host host.c)
target_link_libraries(host PRIVATE {name}::{name})
"""


def installed(bundle: Path, tmp_path: Path, *options: str) -> Path:
    """The prefix of an installation, after it was moved."""
    build, prefix, moved = (tmp_path / name for name in ("build", "prefix", "moved"))
    run(["cmake", "-S", bundle, "-B", build, f"-D{bundle.name.upper()}_PROGRAMS=OFF", *options], tmp_path)
    run(["cmake", "--build", build], tmp_path)
    run(["cmake", "--install", build, "--prefix", prefix], tmp_path)
    return prefix.rename(moved)


def uses(name: str, prefix: Path, tmp_path: Path) -> None:
    """Another project builds and runs with what is there, through CMake and through pkg-config."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "host.c").write_text(HOST.format(name=name))
    (folder / "CMakeLists.txt").write_text(PROJECT.format(name=name))
    run(["cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}"], tmp_path)
    run(["cmake", "--build", folder / "build"], tmp_path)
    run([folder / "build" / "host"], tmp_path)
    if shutil.which("pkg-config"):
        (description,) = prefix.rglob(f"{name}.pc")
        words = f"PKG_CONFIG_PATH={description.parent} pkg-config --cflags --libs {name}"
        command = f"{C_COMPILERS[0]} {folder}/host.c $({words}) -Wl,-rpath,{description.parents[1]} -o {folder}/host"
        run(["sh", "-c", command], tmp_path)
        run([folder / "host"], tmp_path)


@needs_c
@needs_cmake
@pytest.mark.parametrize("shared", ["OFF", "ON"])
def test_installed(bundles: Path, shared: str, tmp_path: Path) -> None:
    prefix = installed(bundles / "linear_bce", tmp_path, f"-DBUILD_SHARED_LIBS={shared}")
    assert {f.name for f in (prefix / "include").iterdir()} == {"linear_bce.h", "gradgen_abi.h"}
    uses("linear_bce", prefix, tmp_path)


@needs_c
@needs_cmake
def test_installed_with_threads_and_in_one_file(tmp_path: Path) -> None:
    """A static library leaves OpenMP to whoever links it."""
    program = gg.trace(lambda x: x.sin().sum(), name="waves", x=gg.spec("N", 1000))
    folder = Path(gg.emit(program, out=tmp_path / "emitted", threads=2, single_file=True))
    prefix = installed(folder, tmp_path)
    assert {f.name for f in (prefix / "include").iterdir()} == {"waves.h"}
    uses("waves", prefix, tmp_path)


@needs_cmake
@pytest.mark.skipif(shutil.which(ARM) is None, reason=f"no {ARM}")
def test_cross_compiled(bundles: Path, tmp_path: Path) -> None:
    """No programs, which could not be linked here, and no code for shared libraries."""
    tools = [f"-DCMAKE_C_COMPILER={ARM}", "-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
             "-DCMAKE_C_FLAGS=-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard",
             "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    run(["cmake", "-S", bundles / "linear_bce", "-B", tmp_path, *tools], tmp_path)
    run(["cmake", "--build", tmp_path], tmp_path)
    commands = (tmp_path / "compile_commands.json").read_text()
    assert (tmp_path / "liblinear_bce.a").exists() and "selftest" not in commands and "-fPIC" not in commands
    run(["cmake", "--install", tmp_path, "--prefix", tmp_path / "prefix"], tmp_path)
    assert (tmp_path / "prefix" / "lib" / "liblinear_bce.a").exists()

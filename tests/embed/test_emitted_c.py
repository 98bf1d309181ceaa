"""The emitted C as an embedder meets it: strict compilers, symbols, programs, sanitizers, states, threads."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.embed.handmade import ALL
from tests.embed.toolchain import (
    C_COMPILERS,
    CXX_COMPILERS,
    STRICT,
    STRICT_CXX,
    needs_c,
    needs_cxx,
    program,
    run,
)

pytestmark = needs_c
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("cc", C_COMPILERS)
def test_strict_c99(bundles: Path, name: str, cc: str, tmp_path: Path) -> None:
    for level in ("-O0", "-O2"):
        run([cc, "-std=c99", *STRICT, level, "-c", f"{name}.c", "-o", tmp_path / "o.o"], bundles / name)


@pytest.mark.skipif("clang" not in C_COMPILERS, reason="clang is the cross compiler that is always whole")
@pytest.mark.parametrize("target", ["i686-linux-gnu", "thumbv7em-linux-gnueabihf"])
def test_strict_on_32_bits(bundles: Path, target: str, tmp_path: Path) -> None:
    """Where size_t has 32 bits and int64_t is long long.  The host's headers serve, with an empty file they miss."""
    (tmp_path / "gnu").mkdir()
    for kind in ("32", "soft", "hard"):
        (tmp_path / "gnu" / f"stubs-{kind}.h").touch()
    headers = ["-I", tmp_path, "-isystem", "/usr/include/x86_64-linux-gnu", "-isystem", "/usr/include"]
    probe = ["clang", f"--target={target}", "-std=c99", "-fsyntax-only", *headers]
    (tmp_path / "empty.c").write_text("#include <math.h>\n#include <stdio.h>\n#include <string.h>\nextern int x;\n")
    if subprocess.run([*probe, "empty.c"], cwd=tmp_path, capture_output=True).returncode != 0:
        pytest.skip("no headers for a 32-bit target")
    for name in ALL:
        for source in (f"{name}.c", "example.c", "selftest.c"):
            run([*probe, *STRICT, source], bundles / name)


@needs_cxx
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("cxx", CXX_COMPILERS)
def test_strict_cxx11(bundles: Path, name: str, cxx: str, tmp_path: Path) -> None:
    command = [cxx, "-x", "c++", "-std=c++11", *STRICT_CXX, "-c", f"{name}.c", "-o", tmp_path / "o.o"]
    run(command, bundles / name)


@pytest.mark.parametrize("name", ALL)
def test_header_alone(bundles: Path, name: str, tmp_path: Path) -> None:
    """A file that includes nothing but the header compiles in both languages, twice included."""
    (tmp_path / "alone.c").write_text(f'#include "{name}.h"\n#include "{name}.h"\nextern int nothing;\n')
    for cc in C_COMPILERS:
        run([cc, "-std=c99", *STRICT, f"-I{bundles / name}", "-c", "alone.c"], tmp_path)
    for cxx in CXX_COMPILERS:
        run([cxx, "-x", "c++", "-std=c++11", *STRICT_CXX, f"-I{bundles / name}", "-c", "alone.c"], tmp_path)


@pytest.mark.parametrize("name", ALL)
def test_symbols(bundles: Path, name: str, tmp_path: Path) -> None:
    """Exactly the promised external symbols; nothing from a heap, stdio, or mutable data."""
    # position-independent code keeps constant tables with addresses among the data, where nm cannot tell them apart
    run([C_COMPILERS[0], "-std=c99", "-fno-pic", "-c", f"{name}.c", "-o", tmp_path / "o.o"], bundles / name)
    rows = [line.split() for line in run(["nm", tmp_path / "o.o"], tmp_path).splitlines()]
    defined = {row[-1] for row in rows if len(row) == 3 and row[1].isupper()}
    promised = re.findall(rf"^GRADGEN_API .*\b({name}_\w+)\(", (bundles / name / f"{name}.h").read_text(), re.M)
    assert defined == set(promised)
    assert not [row[-1] for row in rows if row[-2] in "dDbB"], "mutable data"
    undefined = {row[-1].lstrip("_") for row in rows if row[-2] == "U"}
    libm = {"expf", "log1pf", "fmaxf", "fabsf", "memset", "memcpy", "stack_chk_fail", "GLOBAL_OFFSET_TABLE_"}
    assert undefined <= libm


def test_float32_module_has_no_double_arithmetic(bundles: Path, tmp_path: Path) -> None:
    """No double instruction in the object file, wrappers and checks included."""
    for cc in C_COMPILERS:
        run([cc, "-std=c99", "-O2", "-c", "linear_bce.c", "-o", tmp_path / "o.o"], bundles / "linear_bce")
        text = run(["objdump", "-d", "--no-show-raw-insn", tmp_path / "o.o"], tmp_path)
        wide = re.findall(r"\b(?:v?(?:add|sub|mul|div|sqrt|min|max)[sp]d|v?cvtss2sd|v?cvtps2pd)\b", text)
        assert not wide


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("which", ["example", "selftest"])
@pytest.mark.parametrize("cc", C_COMPILERS)
def test_programs_run_under_sanitizers(bundles: Path, name: str, which: str, cc: str, tmp_path: Path) -> None:
    sources = [str(bundles / name / f"{which}.c"), str(bundles / name / f"{name}.c")]
    said = run([program(cc, sources, tmp_path, *SANITIZED)], tmp_path)
    assert "all tests passed" in said if which == "selftest" else said


@pytest.mark.parametrize("name", ALL)
def test_single_file_programs(single_files: Path, name: str, tmp_path: Path) -> None:
    """One header that is all, compiled through its two-line .c, or by a program that asks for the implementation."""
    folder = single_files / name
    assert not (folder / "gradgen_abi.h").exists()
    selftest = (folder / "selftest.c").read_text()
    (tmp_path / "one.c").write_text(f"#define {name.upper()}_IMPLEMENTATION\n{selftest}")
    assert "all tests passed" in run([program(C_COMPILERS[0], ["one.c"], tmp_path, f"-I{folder}")], tmp_path)
    sources = [str(folder / "selftest.c"), str(folder / f"{name}.c")]
    assert "all tests passed" in run([program(C_COMPILERS[0], sources, tmp_path)], tmp_path)


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_valgrind(bundles: Path, tmp_path: Path) -> None:
    folder = bundles / "linear_bce"
    made = program(C_COMPILERS[0], [str(folder / "selftest.c"), str(folder / "linear_bce.c")], tmp_path, "-g", "-O1")
    run(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", made], tmp_path)


@pytest.mark.parametrize("cc", C_COMPILERS)
def test_selftest_finds_a_wrong_gradient(bundles: Path, cc: str, tmp_path: Path) -> None:
    """The emitted test fails, and says where, for a module whose gradient is 1 percent off."""
    folder = shutil.copytree(bundles / "linear_bce", tmp_path / "wrong")
    source = (folder / "linear_bce.c").read_text()
    assert source.count("grad_b[j] = seed * of_b") == 2
    (folder / "linear_bce.c").write_text(source.replace("grad_b[j] = seed * of_b", "grad_b[j] = 1.01f * seed * of_b"))
    made = program(cc, ["selftest.c", "linear_bce.c"], folder)
    done = subprocess.run([made], capture_output=True, text=True)
    assert done.returncode == 1 and "FAILED: gradient against finite differences: b" in done.stdout


def test_two_modules_in_one_program(bundles: Path, tmp_path: Path) -> None:
    """Both headers in one file, both objects in one program; and two copies of one model under two names."""
    (tmp_path / "both.c").write_text(
        '#include "linear_bce.h"\n#include "lookup.h"\n#include <stdio.h>\n'
        "int main(void)\n{\n"
        '    return printf("%s %s\\n", linear_bce_module()->name, lookup_module()->name) < 0;\n}\n'
    )
    folders = [bundles / "linear_bce", bundles / "lookup"]
    includes = [f"-I{f}" for f in folders]
    sources = ["both.c", str(folders[0] / "linear_bce.c"), str(folders[1] / "lookup.c")]
    for cc in C_COMPILERS:
        assert run([program(cc, sources, tmp_path, *includes)], tmp_path) == "linear_bce lookup\n"


@needs_cxx
@pytest.mark.parametrize("cxx", CXX_COMPILERS)
def test_cxx_host(bundles: Path, cxx: str, tmp_path: Path) -> None:
    """A C++ program links against the module compiled as C."""
    folder = bundles / "linear_bce"
    run([C_COMPILERS[0], "-std=c99", "-c", folder / "linear_bce.c", "-o", "module.o"], tmp_path)
    (tmp_path / "host.cpp").write_text(
        '#include "linear_bce.h"\n#include <vector>\n'
        "int main()\n{\n"
        "    std::vector<float> x(20, 1.0f), y(12, 0.5f), w(15, 0.1f), b(3), gw(15), gb(3);\n"
        "    GRADGEN_ALIGNED static unsigned char saved[LINEAR_BCE_SAVED_BYTES(4)];\n"
        "    float loss = -1.0f;\n"
        "    if (linear_bce_forward(4, x.data(), y.data(), w.data(), b.data(), &loss, saved, nullptr)) return 1;\n"
        "    if (linear_bce_backward(4, x.data(), y.data(), w.data(), b.data(), saved, nullptr, gw.data(), gb.data(),\n"
        "                            nullptr, GRADGEN_SET_GRAD)) return 2;\n"
        "    return loss > 0.0f && gw[0] > 0.0f && gb[0] > 0.0f ? 0 : 3;\n}\n"
    )
    run([cxx, "-std=c++11", *STRICT_CXX, f"-I{folder}", "host.cpp", "module.o", "-lm", "-o", "host"], tmp_path)
    run([tmp_path / "host"], tmp_path)


def test_host_that_wants_static_functions(bundles: Path, tmp_path: Path) -> None:
    """GRADGEN_API can be `static`: the module inside one source file, with no external symbol at all."""
    (tmp_path / "host.c").write_text(
        "#define GRADGEN_API static\n"
        '#include "lookup.c"\n'
        'int main(void)\n{\n    return lookup_module()->name[0] == \'l\' ? 0 : 1;\n}\n'
    )
    made = program(C_COMPILERS[0], ["host.c"], tmp_path, f"-I{bundles / 'lookup'}")
    run([made], tmp_path)


@pytest.mark.parametrize("name", ["states", "threads"])
@pytest.mark.parametrize("cc", C_COMPILERS)
def test_hosts(bundles: Path, name: str, cc: str, tmp_path: Path) -> None:
    """Programs in C that go through every rule of the contract, and through eight threads."""
    host = Path(__file__).with_name(f"host_{name}.c")
    folder = bundles / "linear_bce"
    lookup = bundles / "lookup"
    sources = [str(host), str(folder / "linear_bce.c"), str(lookup / "lookup.c")]
    sanitizer = ("-O1", "-g", "-fsanitize=thread") if name == "threads" else SANITIZED
    made = program(cc, sources, tmp_path, f"-I{folder}", f"-I{lookup}", "-pthread", *sanitizer)
    run([made], tmp_path)


@pytest.mark.skipif(not shutil.which("cmake"), reason="CMake is not installed")
@pytest.mark.parametrize("shared", ["OFF", "ON"])
def test_cmake(bundles: Path, shared: str, tmp_path: Path) -> None:
    """A project with two bundles as subfolders, and one bundle on its own with its tests."""
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(host C)\n"
        f"add_subdirectory({bundles / 'linear_bce'} one)\nadd_subdirectory({bundles / 'lookup'} two)\n"
        "add_executable(host host.c)\ntarget_link_libraries(host PRIVATE linear_bce lookup)\n"
    )
    (tmp_path / "host.c").write_text(
        '#include "linear_bce.h"\n#include "lookup.h"\n'
        "int main(void) { return linear_bce_module() == lookup_module(); }\n"
    )
    option = f"-DBUILD_SHARED_LIBS={shared}"
    run(["cmake", "-S", tmp_path, "-B", tmp_path / "build", option], tmp_path)
    run(["cmake", "--build", tmp_path / "build"], tmp_path)
    run([tmp_path / "build" / "host"], tmp_path)
    run(["cmake", "-S", bundles / "linear_bce", "-B", tmp_path / "alone", option], tmp_path)
    run(["cmake", "--build", tmp_path / "alone"], tmp_path)
    assert "100% tests passed" in run(["ctest", "--test-dir", tmp_path / "alone"], tmp_path)

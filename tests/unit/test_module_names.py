"""Every module can be imported and used by its dotted name, also where a function hides its package."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import gradgen

OPTIONAL = ("torch", "jax", "onnx")
"""Packages that an importer may need, and a user need not have."""


def test_dotted_names():
    for found in pkgutil.walk_packages(gradgen.__path__, "gradgen."):
        if found.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(found.name)
        except ModuleNotFoundError as error:  # what stands behind a door needs what the door is for
            assert found.name.startswith("gradgen.importers.") and (error.name or "") in OPTIONAL, found.name
            continue
        value = gradgen
        for part in found.name.split(".")[1:]:
            value = getattr(value, part)
        assert value is module or callable(value), found.name  # a function that its module is named after


def test_first_import():
    """In an interpreter that has not seen the module before, by each form of the statement."""
    program = """
import gradgen.build.standalone
import gradgen.build.compiler as compiler
import gradgen.trace.scan as scan
from gradgen.build import flags
import sys
assert gradgen.build.standalone is sys.modules["gradgen.build.standalone"]
assert compiler is sys.modules["gradgen.build.compiler"] and flags is sys.modules["gradgen.build.flags"]
assert scan is sys.modules["gradgen.trace.scan"] and callable(gradgen.build) and callable(gradgen.trace)
"""
    subprocess.run([sys.executable, "-c", program], check=True)

"""DESIGN section 6, line by line: every case shows with gradgen what it shows with PyTorch."""

import pytest
from harness import CASES, all_cases, load, recorded, run

import gradgen


@pytest.fixture(autouse=True)
def compiled_in_a_hurry(monkeypatch):
    """Some nine hundred small modules, looked at once: what an optimiser makes of operations is looked at in tests/ops."""
    monkeypatch.setenv("CFLAGS", "-O0")


@pytest.mark.parametrize(("stem", "name"), all_cases())
def test_as_pytorch_recorded_it(stem, name):
    assert run(load(CASES / f"{stem}.py")[name], gradgen) == recorded(stem)[name]


@pytest.mark.parametrize(("stem", "name"), all_cases())
def test_the_record_is_what_pytorch_shows(stem, name):
    torch = pytest.importorskip("torch")
    if not torch.__version__.startswith("2.13"):
        pytest.skip("the record was made with PyTorch 2.13")
    assert run(load(CASES / f"{stem}.py")[name], torch) == recorded(stem)[name]

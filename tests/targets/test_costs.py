"""What the C costs on a Cortex-M4F is what is recorded, or less; `python -m tests.targets` does the same for all cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.targets.costs import CASES, Bundle, measured, rows, wanted
from tests.targets.machines import MACHINES
from tests.targets.recorded import recorded, worse


@pytest.mark.parametrize("key", ["cortex-m4 linear", "cortex-m4 network", "cortex-m4 network_one"])
def test_nothing_costs_more_than_recorded(key: str) -> None:
    """Where this fails because a change is worth it: `python -m tests.targets --update` and say so in the commit."""
    ((_, machine, name),) = (row for row in rows([]) if row[0] == key)
    if wanted(machine):
        pytest.skip(wanted(machine))
    row = recorded()[key]
    if row["compiler"] != machine.version():
        pytest.skip(f"recorded with {row['compiler']}")
    now = measured(machine, name)
    then = {what: row["costs"].get(what) for what in now}
    grown = [f"{what}: {then[what]} -> {n}" for what, n in now.items() if then[what] is None or worse(what, then[what], n)]
    assert not grown, "\n".join(grown)


def test_freestanding_costs_nothing(tmp_path: Path) -> None:
    """-ffreestanding takes memcpy's meaning away; copies of bits, of which mathematics is full, stay free."""
    machine = MACHINES["cortex-m4"]
    if machine.lacks():
        pytest.skip(machine.lacks())
    bundle = Bundle.made("linear", machine, tmp_path)
    plain, freestanding = bundle.calls(), bundle.calls("-ffreestanding")
    assert all(freestanding[what] <= 1.01 * number + 100 for what, number in plain.items()), (plain, freestanding)


def test_every_case_is_recorded() -> None:
    assert recorded().keys() == {f"{machine} {name}" for machine, name in CASES}


def test_worse_is_told_from_better() -> None:
    assert worse("work 1", 1000, 1017) and not worse("work 1", 1000, 1016) and not worse("work 1", 1000, 1)
    assert worse("value_and_grad 1", 100_000, 101_001) and not worse("value_and_grad 1", 100_000, 101_000)
    assert worse("generation", 100_000, 105_001) and not worse("generation", 100_000, 105_000)

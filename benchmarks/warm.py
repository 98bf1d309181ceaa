"""What is loaded at first use is loaded before first calls are timed: a tiny program through every compiler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.harness import Setup
from benchmarks.peers import gradients


def warm(peers: Iterable[str], wanted: Sequence[str], setup: Setup) -> None:
    """Builds and calls sum(x * x) by every wanted peer."""
    case = gradients(
        "warm", lambda rng: {"x": np.ones(3, np.float32)}, lambda ns, x: (x * x).sum(), ("x",),
        lambda jnp, jax, x: (x * x).sum(), compiled="torch.compile" in peers,
    )
    for name, maker in case.makers.items():
        if name == "gradgen" or name in wanted:
            try:
                maker(case.inputs(setup), setup).call()
            except ImportError:
                continue

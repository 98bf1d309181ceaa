"""torch.random by its names: seeds and states of the default stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gradgen.eager import generators
from gradgen.eager.creation import make_leaf
from gradgen.eager.generators import default_generator, initial_seed, manual_seed, seed
from gradgen.eager.tensor import Tensor
from gradgen.ir.dtypes import int64


def get_rng_state() -> Tensor:
    """The state of the default stream: PyTorch's bytes, as int64 since there is no uint8."""
    return make_leaf(np.asarray(generators.get_rng_state()).astype(np.int64), int64, None, False)


def set_rng_state(new_state: Any) -> None:
    """Continues the default stream from a state."""
    state = new_state.numpy() if isinstance(new_state, Tensor) else np.asarray(new_state)  # type: ignore[attr-defined]
    generators.set_rng_state(state.astype(np.uint8))


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **options: Any) -> Iterator[None]:
    """Restores the stream at the end of the block."""
    with generators.fork_rng(devices, enabled):
        yield


__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]

"""The Mersenne twister MT19937 with PyTorch's seeding, and its state in PyTorch's bytes.

The engine is that of M. Matsumoto and T. Nishimura, "Mersenne Twister" (ACM TOMACS 8(1), 1998), with their seeding of
2002; NumPy has it, and its stream of 32-bit words is PyTorch's. How words become 64 bits and units in [0, 1), and the
layout of a saved state, were found by experiment with PyTorch 2.13.
"""

from __future__ import annotations

import operator
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import Self

__all__ = ["MersenneTwister"]

_DEFAULT_SEED = 67280421310721  # what torch.Generator() starts from
_STATE_WORDS = 624
# The bytes of a saved state: seed, draws left, seeded flag, position, 624 words in 64 bits each, three doubles of which
# the second is the spare normal, its flag, and a spare float that the CPU never uses.
_STATE = struct.Struct(f"<QiiQ{_STATE_WORDS}Q3di4xf?3x")


class MersenneTwister:
    """A stream of bits and units, with the seeds and states of `torch.Generator`.

    A new stream starts from PyTorch's default seed. Only the CPU has one; any other device is a RuntimeError.
    """

    def __init__(self, device: Any = "cpu") -> None:
        kind = str(device).split(":")[0]
        if kind != "cpu":
            raise RuntimeError(f"Device type {kind} is not supported for torch.Generator() api.")
        self.device = device
        self._engine = np.random.MT19937(0)
        self._restart(_DEFAULT_SEED)

    def manual_seed(self, seed: int) -> Self:
        """Start again from `seed`, in [-2^63, 2^64); a negative one counts from 2^64. Only its low 32 bits matter.

        Returns the generator. Raises RuntimeError for what is not an integer, ValueError out of range.
        """
        try:
            value = operator.index(seed)
        except TypeError:
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}") from None
        if not -(2**63) <= value < 2**64:
            raise ValueError("Overflow when unpacking long long")
        self._restart(value % 2**64)
        return self

    def seed(self) -> int:
        """Start again from a seed taken from the operating system, and return it."""
        self._restart(int.from_bytes(os.urandom(8), "little"))
        return self._initial_seed

    def initial_seed(self) -> int:
        """The seed the stream was last started from, in [0, 2^64)."""
        return self._initial_seed

    def _restart(self, seed: int) -> None:
        self._initial_seed = seed
        words = np.random.RandomState(seed & 0xFFFFFFFF).get_state(legacy=False)["state"]["key"]
        self._set_engine(words, _STATE_WORDS)
        self._untouched = True  # recorded in a saved state as position 0 instead of 624
        self._spare_normal: float | None = None

    def _set_engine(self, words: np.ndarray, position: int) -> None:
        self._engine.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": position}}

    def get_state(self) -> np.ndarray:
        """The state as PyTorch saves it: 5056 bytes (uint8), exchangeable with `torch.Generator` both ways."""
        engine = self._engine.state["state"]
        position = int(engine["pos"])
        left = _STATE_WORDS + 1 - position
        spare = self._spare_normal
        packed = _STATE.pack(
            self._initial_seed, left, 1, 0 if self._untouched else position, *engine["key"].tolist(),
            0.0, 0.0 if spare is None else spare, 0.0, spare is not None, 0.0, False,
        )  # fmt: skip
        return np.frombuffer(packed, np.uint8).copy()

    def set_state(self, new_state: np.ndarray) -> None:
        """Continue from a state of `get_state`, or of a PyTorch CPU generator (5056 bytes, uint8).

        Raises TypeError for another dtype, RuntimeError for another size or bytes that are no state.
        """
        if not hasattr(new_state, "dtype"):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        if new_state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if new_state.size != _STATE.size:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_STATE.size} but found the input RNG state size to be "
                f"{new_state.size}"
            )
        seed, left, seeded, position, *rest = _STATE.unpack(np.asarray(new_state, order="C").tobytes())
        words, (_, spare, _, has_spare, _, _) = rest[:_STATE_WORDS], rest[_STATE_WORDS:]
        untouched = left == 1 and position == 0
        if not seeded or not (1 <= left <= _STATE_WORDS) or not (untouched or position + left == _STATE_WORDS + 1):
            raise RuntimeError("Invalid mt19937 state")
        self._set_engine(np.array(words, np.uint64).astype(np.uint32), _STATE_WORDS if untouched else position)
        self._initial_seed, self._untouched = seed, untouched
        self._spare_normal = spare if has_spare else None

    def clone_state(self) -> Self:
        """A generator of its own in the same state."""
        clone = type(self)(self.device)
        clone.set_state(self.get_state())
        return clone

    def _draw32(self, count: int) -> np.ndarray:
        """The next `count` words of 32 bits (as uint64)."""
        if count:
            self._untouched = False
        return self._engine.random_raw(count)

    def _draw64(self, count: int) -> np.ndarray:
        """`count` words of 64 bits; the first of the two drawn for each is the high half."""
        halves = self._draw32(2 * count)
        return (halves[0::2] << np.uint64(32)) | halves[1::2]

    def _unit32(self, count: int) -> np.ndarray:
        """float32 in [0, 1): the low 24 bits of a word, times 2^-24."""
        return (self._draw32(count) & np.uint64(2**24 - 1)).astype(np.float32) * np.float32(2.0**-24)

    def _unit64(self, count: int) -> np.ndarray:
        """float64 in [0, 1): the low 53 bits of a double word, times 2^-53."""
        return (self._draw64(count) & np.uint64(2**53 - 1)).astype(np.float64) * 2.0**-53

"""Random bits without a state: Philox 4x32 with ten rounds, in NumPy, as the emitted C computes them.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011).  What comes out
follows from the key and the counter alone, so that any element of any draw can be had at any time, in any order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as fractions of 2^32


def philox(key: Any, high: Any, low: Any) -> tuple[Any, Any]:
    """128 bits as two int64 (first words first) for the counter `high` 2^64 + `low`; arrays or numbers of int64."""
    parts = np.broadcast_arrays(*(np.asarray(x, np.int64).astype(np.uint64) for x in (key, high, low)))
    words = [x for part in (parts[2], parts[1]) for x in (part & _WORD, part >> _HALF)]
    keys = [parts[0] & _WORD, parts[0] >> _HALF]
    for _ in range(10):
        p, q = words[0] * _MULTIPLIERS[0], words[2] * _MULTIPLIERS[1]
        words = [(q >> _HALF) ^ words[1] ^ keys[0], q & _WORD, (p >> _HALF) ^ words[3] ^ keys[1], p & _WORD]
        keys = [(k + step) & _WORD for k, step in zip(keys, _STEPS)]
    a, b, c, d = words
    return (b << _HALF | a).astype(np.int64), (d << _HALF | c).astype(np.int64)

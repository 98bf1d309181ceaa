"""Sequences of different lengths: padded to one tensor, and taken out of it again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from gradgen.eager import creation, namespace
from gradgen.eager.tensor import Tensor
from gradgen.ir.dtypes import int64

_functions: Any = namespace.functions()


def pad_sequence(
    sequences: Tensor | Sequence[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """[length_k, ...] tensors as one of [longest, count, ...] (batch_first: [count, longest, ...]), filled up with
    `padding_value` at the end, or in front with padding_side "left"."""
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be 'left' or 'right', but got {padding_side}")
    parts: list[Any] = list(sequences.unbind(0) if isinstance(sequences, Tensor) else sequences)  # type: ignore[attr-defined]
    if not parts:
        raise RuntimeError("Expected a non-empty list of tensors")
    longest = max(p.shape[0] for p in parts)
    pad = namespace.functions("nn.functional")["pad"]
    padded = []
    for p in parts:
        missing = longest - p.shape[0]
        sides = (missing, 0) if padding_side == "left" else (0, missing)
        padded.append(pad(p, (0, 0) * (p.ndim - 1) + sides, value=padding_value) if missing else p)
    found: Tensor = _functions["stack"](padded, 0 if batch_first else 1)
    return found


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of the given lengths out of a padded tensor: the inverse of pad_sequence."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [rows[k][: int(n)] for k, n in enumerate(_as_list(lengths))]


def _as_list(lengths: Any) -> list[int]:
    return [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]


class PackedSequence(NamedTuple):
    """The steps of all sequences, longest first: at step t the `batch_sizes[t]` sequences that are that long."""

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        return self._replace(data=self.data.to(*args, **kwargs))


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one."""
    if permutation is None:
        return None
    found: Tensor = permutation.argsort()  # type: ignore[attr-defined]
    return found


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Drops the padding of [longest, count, ...] (batch_first: [count, longest, ...])."""
    sizes = _as_list(lengths)
    count = input.shape[0 if batch_first else 1]
    if len(sizes) != count:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} (batch_size={count})"
        )
    if any(n <= 0 for n in sizes):
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    order = None
    if enforce_sorted:
        if any(a < b for a, b in pairwise(sizes)):
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
                "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
                "do not need ONNX exportability."
            )
    else:
        ranks = sorted(range(count), key=lambda k: -sizes[k])
        order = creation.tensor(ranks, dtype=int64)
        sizes = [sizes[k] for k in ranks]
        input = input.index_select(0 if batch_first else 1, order)
    steps = input.transpose(0, 1) if batch_first else input
    batch_sizes = [sum(n > t for n in sizes) for t in range(sizes[0])]
    data = _functions["cat"]([steps[t, :n] for t, n in enumerate(batch_sizes)])
    return PackedSequence(data, creation.tensor(batch_sizes, dtype=int64), order, invert_permutation(order))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """The padded tensor and the lengths that a PackedSequence came from."""
    sizes = _as_list(sequence.batch_sizes)
    longest = len(sizes) if total_length is None else total_length
    if longest < len(sizes):
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {len(sizes)}"
        )
    pad = namespace.functions("nn.functional")["pad"]
    rest = sequence.data.ndim - 1
    steps = []
    for part in sequence.data.split(sizes):
        steps.append(pad(part, (0, 0) * rest + (0, sizes[0] - part.shape[0]), value=padding_value))
    padded: Any = _functions["stack"](steps, 0)
    if longest > len(sizes):
        padded = pad(padded, (0, 0) * (rest + 1) + (0, longest - len(sizes)), value=padding_value)
    lengths: Any = creation.tensor([sum(n > k for n in sizes) for k in range(sizes[0])], dtype=int64)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pack_sequence(sequences: Sequence[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences of different lengths, packed."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)

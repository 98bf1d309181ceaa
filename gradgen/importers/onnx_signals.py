"""ONNX's Fourier transforms, of axes whose extent is known: products with matrices of cosines and sines.

A complex number is the last axis of two elements (real, imaginary), a real one that of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradgen.eager.creation import from_numpy
from gradgen.importers.onnx_moving import padded
from gradgen.importers.onnx_table import Int, Known, Tensor, entry, lib, refuse


def _waves(n: int, count: int, inverse: bool, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi j k / n, [n, count]; exact where the angle is a quarter of the circle."""
    turns = np.outer(np.arange(n), np.arange(count)) % n
    angle = 2 * np.pi * turns / n
    cos, sin = (np.where(4 * turns % n == 0, np.round(f(angle)), f(angle)) for f in (np.cos, np.sin))
    factor = 1 / n if inverse else 1
    return tuple(from_numpy(np.array(v * factor)).to(like.dtype) for v in (cos, sin if inverse else -sin))  # type: ignore


def _along_last(x: Tensor, n: Any, onesided: bool, inverse: bool) -> Tensor:
    """[..., m, 1 or 2] transformed along m, cut or filled with zeros to n."""
    m = x.shape[-2]
    if not isinstance(n, int) or not isinstance(m, int):
        raise refuse(f"a Fourier transform of {n} elements")
    x = lib.narrow(x, -2, 0, n) if n < m else padded(x, (0, 0), (n - m, 0))
    count = n // 2 + 1 if onesided and not inverse else n
    cos, sin = _waves(n, count, inverse, x)
    real = lib.select(x, -1, 0)
    found = lib.matmul(real, cos), lib.matmul(real, sin)
    if x.shape[-1] == 2:
        imaginary = lib.select(x, -1, 1)
        found = found[0] - lib.matmul(imaginary, sin), found[1] + lib.matmul(imaginary, cos)
    return lib.stack(list(found), -1)


def _transformed(x: Tensor, n: Any, axis: int, inverse: int, onesided: int) -> Tensor:
    at = axis % len(x.shape)
    wanted, n = n, x.shape[at] if n is None else n
    if inverse and onesided:
        return _real(lib.transpose(x, at, -2), x.shape[at] * 2 - 2 if wanted is None else wanted, at)
    found = _along_last(lib.transpose(x, at, -2), n, bool(onesided), bool(inverse))
    return lib.transpose(found, at, -2)


def _real(x: Tensor, n: Any, at: int) -> Tensor:
    """The n real numbers whose transform begins with x: the other half of it is that half's conjugate."""
    if not isinstance(n, int):
        raise refuse(f"a Fourier transform to {n} elements")
    m, half = x.shape[-2], n // 2 + 1
    x = lib.narrow(x, -2, 0, half) if half < m else padded(x, (0, 0), (half - m, 0))
    cos, sin = _waves(n, n, True, x)
    twice = np.where((np.arange(half) == 0) | (2 * np.arange(half) == n), 1, 2)[:, None]
    twos = from_numpy(np.broadcast_to(twice, (half, n)).copy()).to(x.dtype)
    real, imaginary = lib.select(x, -1, 0), lib.select(x, -1, 1)
    found = lib.matmul(real, lib.narrow(cos, 0, 0, half) * twos) - lib.matmul(imaginary, lib.narrow(sin, 0, 0, half) * twos)
    return lib.transpose(lib.unsqueeze(found, -1), at, -2)


@entry("DFT", 20)
def _dft(input: Tensor, dft_length: Int, axis: Int, inverse: int, onesided: int) -> Tensor:
    return _transformed(input, dft_length, -2 if axis is None else axis, inverse, onesided)


@entry("DFT", 17)
def _dft_17(input: Tensor, dft_length: Int, axis: int, inverse: int, onesided: int) -> Tensor:
    return _transformed(input, dft_length, axis, inverse, onesided)


@entry("MelWeightMatrix", 17)
def _mel(
    num_mel_bins: Known, dft_length: Known, sample_rate: Known, lower_edge_hertz: Known, upper_edge_hertz: Known,
    output_datatype: int
) -> Tensor:
    """Its inputs have to be known, and what is known has been computed before an entry is asked for."""
    raise refuse("frequencies that are no numbers")


@entry("STFT", 17)
def _stft(signal: Tensor, frame_step: Int, window: Tensor, frame_length: Int, onesided: int) -> Tensor:
    length = window.shape[0] if frame_length is None else frame_length
    x = signal if len(signal.shape) == 3 else lib.unsqueeze(signal, -1)
    frames = lib.transpose(x.unfold(1, length, frame_step), 2, 3)
    if window is not None:
        frames = frames * window.reshape((-1, 1))
    return _along_last(frames, length, bool(onesided), False)

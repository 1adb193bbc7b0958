"""W7 and W8 in NumPy, as an expert writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import Array, Candidate, Pieces, Player

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 512
"""Of W7's transforms where a piece is longer."""


def bleed(taps: Array) -> list[Candidate]:
    """W7: a matrix product for each tap; and one for each band of overlapping pieces (overlap-save)."""
    inputs, length = taps.shape[1:]
    before = length - 1

    def each_tap(pieces: Pieces) -> Player:
        layers = np.ascontiguousarray(np.moveaxis(taps, 2, 0))

        def play() -> Iterator[Array]:
            past = np.zeros((inputs, before))
            for piece in pieces:
                frames = piece.shape[1]
                x = np.concatenate([past, piece], axis=1)
                out = layers[0] @ piece
                for k in range(1, length):
                    out += layers[k] @ x[:, before - k : before - k + frames]
                past = x[:, frames:]
                yield out

        return play

    def each_band(pieces: Pieces) -> Player:
        bands = {
            size: np.ascontiguousarray(np.moveaxis(np.fft.rfft(taps, size), 2, 0))
            for size in {_size(piece.shape[1]) for piece in pieces}
        }

        def play() -> Iterator[Array]:
            past = np.zeros((inputs, before))
            for piece in pieces:
                frames = piece.shape[1]
                size = _size(frames)
                hop = size - before
                count = -(-frames // hop)
                x = np.zeros((inputs, count * hop + before))
                x[:, :before], x[:, before : before + frames] = past, piece
                windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=1)[:, ::hop]
                spectra = np.fft.rfft(windows).transpose(2, 0, 1)
                made = np.fft.irfft((bands[size] @ spectra).transpose(1, 2, 0), size)
                past = x[:, frames : frames + before]
                yield made[..., before:].reshape(len(taps), -1)[:, :frames]

        return play

    return [
        Candidate("numpy matmul", "numpy", each_tap, note="a product for each tap"),
        Candidate("numpy fft", "numpy", each_band, note="a product for each band"),
    ]


def _size(frames: int) -> int:
    return min(SIZE, 1 << (frames - 1).bit_length() + 1)


def partitioned(taps: Array) -> list[Candidate]:
    """W8: uniform partitions of one piece's size, overlap-save, a row of spectra of inputs."""

    def make(pieces: Pieces) -> Player:
        size = pieces[0].shape[1]
        count = -(-taps.shape[1] // size)
        padded = np.pad(taps, ((0, 0), (0, count * size - taps.shape[1])))
        bands = np.fft.rfft(padded.reshape(len(taps), count, size), 2 * size)

        def play() -> Iterator[Array]:
            spectra = np.zeros_like(bands)
            x = np.zeros((len(taps), 2 * size))
            for number, piece in enumerate(pieces):
                frames = piece.shape[1]  # the last one may be shorter
                x[:, :size], x[:, size : size + frames] = x[:, size:].copy(), piece
                at = number % count
                spectra[:, at] = np.fft.rfft(x)
                made = np.einsum("cjk,cjk->ck", bands[:, : at + 1], spectra[:, at::-1])
                made += np.einsum("cjk,cjk->ck", bands[:, at + 1 :], spectra[:, :at:-1])
                yield np.fft.irfft(made)[:, size : size + frames]

        return play

    return [Candidate("numpy partitioned", "numpy", make, note="uniform partitions")]

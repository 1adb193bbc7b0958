"""Spectra as two streams, of real and of imaginary parts, so that any node works on bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import REGISTRY
from amp.errors import PortMismatch
from amp.stream import edge

if TYPE_CHECKING:
    from amp.stream import Operand, Stream, Tapped


def parts(spectrum: Stream) -> tuple[Tapped, Tapped]:
    """Real and imaginary parts of spectra, each a stream with a channel for each band.

    Parameters
    ----------
    spectrum
        What a `nodes.STFT` gives: channels in pairs.

    Examples
    --------
    >>> import amp
    >>> import numpy as np
    >>> from amp import nodes
    >>> g = amp.Graph()
    >>> re, im = amp.parts(g.add(nodes.STFT(8, 4), g.input("x")))
    >>> g.output("magnitude", g.add(nodes.Hold(4), np.sqrt(re * re + im * im)))
    >>> amp.compile(g).run({"x": np.ones((1, 1, 8))})["magnitude"][0, :, -1]
    array([4., 2., 0., 0., 0.])
    """
    if spectrum.channels % 2:
        raise PortMismatch(
            "spectra have two channels a band, real and imaginary part",
            got=f"{spectrum.channels} channels",
        )
    even, odd = (tuple(range(first, spectrum.channels, 2)) for first in (0, 1))
    return edge(spectrum, channels=even), edge(spectrum, channels=odd)


def pairs(re: Operand, im: Operand) -> Stream:
    """Spectra of their real and imaginary parts, as a `nodes.ISTFT` takes them: opposite of `parts`.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> amp.pairs(g.input("re", channels=5), g.input("im", channels=5)).channels
    10
    """
    stacked: Stream = re.graph.add(REGISTRY["Stack"](), re, im)
    return stacked

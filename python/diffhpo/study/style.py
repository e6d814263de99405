# SPDX-License-Identifier: Apache-2.0
"""How a method looks in every figure: one colour and dash pattern, told apart by colour-blind readers too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffhpo.errors import InputError
from diffhpo.study.methods import entry


@dataclass(frozen=True)
class Style:
    """Look of a method's line.

    Attributes:
        label: name in the legend.
        colour: hexadecimal RGB.
        dashes: a matplotlib line style.
        width: in points.
    """

    label: str
    colour: str
    dashes: str | tuple[int, tuple[float, ...]]
    width: float


# Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008) without its yellow, which is too faint on white, and
# with the wine red of Paul Tol's muted scheme (SRON technical note EPS 09-002).
_LOOKS: dict[str, tuple[str, str | tuple[int, tuple[float, ...]], float]] = {
    "random": ("#7F7F7F", (0, (1.0, 1.0)), 1.6),
    "gp": ("#0072B2", "-", 1.6),
    "gp-ucb": ("#0072B2", (0, (5.0, 1.5, 1.0, 1.5)), 1.3),
    "deep-gp": ("#009E73", "-", 1.6),
    "tpe": ("#CC79A7", (0, (4.0, 1.5)), 1.6),
    "cma-es": ("#882255", (0, (4.0, 1.5)), 1.6),
    "elites": ("#000000", (0, (5.0, 1.5, 1.0, 1.5)), 1.6),
    "brief": ("#E69F00", "-", 1.8),
    "elite": ("#D55E00", "-", 1.8),
    "pretrained": ("#332288", (0, (2.5, 1.0)), 2.2),
    "pretrained-named": ("#332288", "-", 2.4),
}

#: For methods that are not in the table, in the order in which they are given: Tol's muted scheme, then the
#: same colours with other dashes.
_OTHERS = ("#56B4E9", "#117733", "#999933", "#AA4499", "#44AA99", "#661100", "#6699CC")
_OTHER_DASHES = ((2.5, 1.0), (1.0, 1.5), (6.0, 1.0, 1.0, 1.0))


def styles_of(methods: Sequence[str]) -> dict[str, Style]:
    """The style of each method; those of registered methods never change.

    Args:
        methods: registered names, "module:Class", or names of published results, which label themselves.

    Example:
        >>> styles_of(["elite", "Vizier"])["Vizier"].label
        'Vizier'
    """
    styles: dict[str, Style] = {}
    for method in methods:
        if method in _LOOKS:
            colour, dashes, width = _LOOKS[method]
        else:
            place = sum(other not in _LOOKS for other in styles)
            colour = _OTHERS[place % len(_OTHERS)]
            dashes = (0, _OTHER_DASHES[place // len(_OTHERS) % len(_OTHER_DASHES)])
            width = 1.6
        styles[method] = Style(label_of(method), colour, dashes, width)
    return styles


def label_of(method: str) -> str:
    """A method's name in tables and figures; a name that is not registered is its own label.

    Example:
        >>> label_of("deep-gp"), label_of("OptFormer-EI")
        ('Deep GP', 'OptFormer-EI')
    """
    try:
        return entry(method).label
    except InputError:
        return method

# SPDX-License-Identifier: Apache-2.0
"""The look that all figures share, the colours of one run's pictures, and where they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from diffhpo.errors import DependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")

#: matplotlib's settings.
LOOK: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "diffhpo",  # the same figure is the same file
}

# Okabe and Ito's palette (jfly.uni-koeln.de/color, 2008): told apart by colour-blind readers too.
BLUE, ORANGE, VERMILLION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
BLACK, GREY, FAINT = "#000000", "#7F7F7F", "#BBBBBB"

#: Values and trial numbers; monotone in lightness, and made for colour-blind readers (Nunez et al. 2018).
COLOUR_MAP = "cividis"


def figure_look(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Gives a drawing function the look that all figures share, and a clear error without matplotlib."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Drawn:
        try:
            import matplotlib
        except ImportError as error:
            raise DependencyError('figures need matplotlib: pip install "matplotlib>=3.7"') from error
        with matplotlib.rc_context(LOOK):
            return draw(*args, **kwargs)

    return drawn


def panel(ax: Axes | None, width: float = 6.4, height: float = 4.0) -> Axes:
    """The Axes to draw on: the given ones, or those of a new figure of so many inches, outside of pyplot."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    new: Axes = Figure(figsize=(width, height), layout="constrained").subplots()
    return new


def whole_numbers(axis: Axis) -> None:
    """Ticks of an axis at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def plain_text(text: object, most: int = 32) -> str:
    """A name or value as a label: one line, at most `most` characters, and no dollar starts a formula.

    Example:
        >>> print(plain_text("rate$_2$\\nof learning, " + "very " * 10))
        rate\\$_2\\$ of learning, very very…
    """
    line = "".join(c if c.isprintable() else " " for c in str(text))
    short = line if len(line) <= most else line[: most - 1].rstrip() + "…"
    return short.replace("$", r"\$")

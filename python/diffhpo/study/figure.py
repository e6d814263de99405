# SPDX-License-Identifier: Apache-2.0
"""What the figures of a study share: lines, axes, legend, and how they are saved."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from diffhpo.files.atomic_write import write_atomically
from diffhpo.pictures.look import LOOK
from diffhpo.study.style import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


def draw_line(
    panel: Axes, values: Array, style: Style, trials: Array | NDArray[np.intp] | None = None
) -> None:
    panel.plot(
        np.arange(len(values)) if trials is None else trials,
        values,
        color=style.colour,
        linestyle=style.dashes,
        linewidth=style.width,
        label=style.label,
        zorder=2 + style.width,  # the lines that matter most lie on top
    )


def log_regret_axis(panel: Axes, mean: Array, low: Array | None = None) -> None:
    """A logarithmic axis with plain numbers; zero, which it cannot show, lies on its lower end."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    positive = mean[mean > 0]
    bottom = 0.8 * float(positive.min()) if positive.size else 1e-3
    if low is not None and (low > 0).any():
        bottom = max(bottom / 3, min(bottom, float(low[low > 0].min())))
    panel.set_ylim(bottom, 1.3 * float(mean.max()) if positive.size else 1.0)  # first: no autoscale to zeros
    panel.set_yscale("log", nonpositive="clip")
    panel.yaxis.set_major_locator(LogLocator(subs=_ticks(panel.get_ylim())))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def _ticks(limits: Sequence[float]) -> tuple[float, ...]:
    """Multiples of a power of ten that give a logarithmic axis three labels or more, and not too many."""
    decades = math.log10(limits[1] / limits[0])
    return (1.0,) if decades > 4 else (1.0, 3.0) if decades > 2 else (1.0, 2.0, 5.0)


def legend_below(figure: Figure, panel: Axes) -> None:
    """The legend of all panels, below them, as many entries in a row as fit."""
    handles, labels = panel.get_legend_handles_labels()
    columns = max(1, min(len(labels), int(figure.get_figwidth() / 2)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.6)


def save(figure: Figure, path: Path, *, dots_per_inch: int = 150) -> None:
    """Writes a figure as the file's ending says, whole or not at all; equal figures give equal files.

    Raises:
        OSError: if the file cannot be written; one that was there before stays.
    """
    import matplotlib

    drawn = io.BytesIO()
    with matplotlib.rc_context(LOOK):
        figure.savefig(
            drawn,
            dpi=dots_per_inch,
            format=path.suffix[1:],
            metadata={"Date": None} if path.suffix == ".svg" else None,
        )
    write_atomically(path, drawn.getvalue())

# SPDX-License-Identifier: Apache-2.0
"""The figure and the table of docs/scaling.md, from the figures that `bench.scaling` measured.

python -m bench.scaling_figure --results docs/results/scaling/likelihood.json --out docs/figures/scaling.png

A score is a mean over n = 5, 10, 20 and 50 trials and, on validation tasks, over both kinds of contexts.
What is shown is its difference to that of one run, the reference, with one standard error to each side: over
tasks, or over groups of synthetic functions that share a family and a dimension. Tasks differ by more than
models do, and a difference within tasks is free of that.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench.held_out import KINDS, SIZES
from bench.scaling import GAUSSIAN_PROCESS, RESULTS, SHIPPED_NAME
from bench.scaling_grid import Cell
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import sem

from diffhpo.study.markdown import markdown_table

Array = NDArray[np.float64]
Entry = dict[str, Any]

#: Okabe and Ito's colours (jfly.uni-koeln.de/color, 2008) of successive lines, light to dark in print.
COLOURS = ("#E69F00", "#009E73", "#0072B2", "#882255", "#000000")
#: The run that differences are taken to; prior size varies at its width.
WIDTH, STEP = 32, 2000
REFERENCE = f"{Cell(WIDTH).name}-step-{STEP}"
#: Contexts in a step of the training behind the shipped weights and those before them.
SHIPPED_BATCH = 32
ROWS = (
    ("all", "validation tasks, all queries"),
    ("untied", "validation tasks, values\nthat no trial in context has"),
    ("synthetic", "held-out synthetic functions"),
)


def scores(entry: Entry, where: str) -> Array:
    """Mean log-likelihood of each task, or of each group of synthetic functions, over n and kinds.

    Where a task has no queries of a row for some n, the mean is over the others; NaN where it has none.

    Example:
        >>> sizes = {str(n): [1.0, None] for n in SIZES}
        >>> scores({"synthetic": sizes}, "synthetic").tolist()
        [1.0, nan]
    """
    parts = [entry[where]] if where == "synthetic" else [entry[where][kind] for kind in KINDS]
    values = np.array([part[str(n)] for part in parts for n in SIZES], dtype=float)
    # The queries are the same for all models, and so are the gaps.
    found: Array = np.ma.masked_invalid(values).mean(axis=0).filled(np.nan)
    return found


def difference(entry: Entry, reference: Entry, where: str) -> tuple[float, float]:
    """Mean difference of the scores of two sets of weights, and its standard error."""
    paired = scores(entry, where) - scores(reference, where)
    paired = paired[np.isfinite(paired)]
    return float(paired.mean()), float(sem(paired))


def chosen(weights: dict[str, Entry], **wanted: Any) -> list[Entry]:
    """Entries of the grid with these facts, in the order of the file."""
    return [e for e in weights.values() if "contexts" in e and all(e[k] == v for k, v in wanted.items())]


def steps_of(weights: dict[str, Entry], least_runs: int) -> list[int]:
    """Milestones that at least so many runs have reached."""
    steps = [entry["step"] for entry in chosen(weights)]
    return sorted(step for step in set(steps) if steps.count(step) >= least_runs)


class Drawing:
    """Plots of steps, model size and prior size; a row for each of `ROWS`.

    Args:
        weights: name -> figures; the reference and the shipped weights are among them.
    """

    def __init__(self, weights: dict[str, Entry]) -> None:
        self._weights, self._reference = weights, weights[REFERENCE]
        self.figure = Figure(figsize=(11.0, 8.4), layout="constrained")
        rows = self.figure.subplots(len(ROWS), 3, width_ratios=(1.3, 1, 1))
        for axes, (where, label) in zip(rows, ROWS, strict=True):
            self._steps(axes[0], where)
            self._sizes(axes[1], where)
            self._functions(axes[2], where)
            axes[0].set_ylabel(
                f"{label}\nlog-likelihood, difference to\nwidth {WIDTH}, {STEP:,} steps [nats]"
            )
            for axis in axes:
                axis.axhline(0, color="#7F7F7F", linewidth=0.8, zorder=0)
                axis.spines[["top", "right"]].set_visible(False)
                axis.tick_params(labelsize=8)
        for axis in rows[0]:
            axis.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        labels = ("contexts seen in training", "parameters", "distinct functions in training")
        for axis, label in zip(rows[-1], labels, strict=True):
            axis.set_xlabel(label)

    def _line(
        self, axis: Axes, x: Sequence[float], entries: Sequence[Entry], where: str, colour: str, **look: Any
    ) -> None:
        y = np.array([difference(entry, self._reference, where) for entry in entries])
        look = {"marker": "o", "markersize": 3.5, "linewidth": 1.4, "capsize": 2, **look}
        axis.errorbar(x, y[:, 0], y[:, 1], color=colour, elinewidth=0.9, **look)

    def _steps(self, axis: Axes, where: str) -> None:
        axis.set_xscale("log")
        for colour, width in zip(COLOURS, (16, 32, 64), strict=False):
            for seed, dashes in ((0, "-"), (1, "--")):
                entries = chosen(self._weights, width=width, limit=None, seed=seed)
                if entries:
                    label = f"width {width}" + (", another seed" if seed else "")
                    x = [entry["contexts"] for entry in entries]
                    self._line(axis, x, entries, where, colour, linestyle=dashes, label=label)
        # Trained on real tasks too: not of the grid.
        others = [e for e in self._weights.values() if "contexts" not in e and "step" in e]
        others.sort(key=lambda entry: entry["step"])
        x = [SHIPPED_BATCH * entry["step"] for entry in others]
        look = {"linestyle": "none", "marker": "D", "label": "width 64, real tasks too"}
        self._line(axis, x, others, where, COLOURS[2], **look)
        process = self._weights.get(GAUSSIAN_PROCESS, {})
        if where in process:
            level, _ = difference(process, self._reference, where)
            axis.axhline(level, color="#7F7F7F", linestyle=":", linewidth=1.4, label="Gaussian process")

    def _sizes(self, axis: Axes, where: str) -> None:
        ticks = set()
        for colour, step in zip(COLOURS, steps_of(self._weights, 3), strict=False):
            entries = chosen(self._weights, limit=None, seed=0, step=step)
            entries.sort(key=lambda entry: entry["parameters"])
            x = [entry["parameters"] for entry in entries]
            ticks |= set(x)
            self._line(axis, x, entries, where, colour, label=f"{step:,} steps")
        _log_axis(axis, ticks)

    def _functions(self, axis: Axes, where: str) -> None:
        ticks = set()
        for colour, step in zip(COLOURS, steps_of(self._weights, 3), strict=False):
            entries = chosen(self._weights, width=WIDTH, seed=0, step=step)
            # A limit that was not reached made no difference: the run is the one without.
            found = {entry["functions"]: entry for entry in entries}
            x = sorted(found)
            ticks |= set(x)
            self._line(axis, x, [found[count] for count in x], where, colour, label=f"{step:,} steps")
        _log_axis(axis, ticks)


def _log_axis(axis: Axes, ticks: set[int]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(
        sorted(ticks), [f"{tick / 1000:.3g}k" if tick >= 1000 else str(tick) for tick in sorted(ticks)]
    )
    axis.minorticks_off()


def ends(weights: dict[str, Entry]) -> dict[str, Entry]:
    """What is not of the grid, and the last milestone of every run; label -> figures."""
    found = {}
    for name, entry in weights.items():
        if "contexts" not in entry:
            label = {GAUSSIAN_PROCESS: "Gaussian process", SHIPPED_NAME: "the package's"}.get(name, name)
        else:
            limit = "" if entry["limit"] is None else f", {entry['limit']:,} functions"
            label = f"width {entry['width']}{limit}" + (", another seed" if entry["seed"] else "")
            found.pop(label, None)
        found[label] = entry
    return found


def table(weights: dict[str, Entry], reference: Entry) -> str:
    """Markdown: what was trained, its mean log-likelihoods on tasks, and the differences to the reference.

    Args:
        weights: label -> figures, a row each.
        reference: figures of what differences are taken to.
    """
    rows = []
    for name, entry in weights.items():
        cells = [name, *(f"{entry[key]:,}" if key in entry else "" for key in ("parameters", "step"))]
        for kind in KINDS:
            means = [np.mean(entry["all"][kind][str(n)]) for n in SIZES]
            cells.append(" / ".join(f"{mean:.2f}" for mean in means))
        for where, _ in ROWS:
            known = difference(entry, reference, where) if where in entry else ()
            cells.append("{:+.3f} ± {:.3f}".format(*known) if known else "")
        rows.append(cells)
    sizes = " / ".join(map(str, SIZES))
    header = ["weights", "parameters", "steps", *(f"{kind}, {sizes}" for kind in KINDS)]
    return markdown_table([*header, *(f"{where}, difference" for where, _ in ROWS)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=Path("docs/figures/scaling.png"))
    arguments = parser.parse_args()
    weights = json.loads(arguments.results.read_text(encoding="utf-8"))["weights"]
    print(table(ends(weights), weights[REFERENCE]))
    Drawing(weights).figure.savefig(arguments.out, dpi=110)
    print(f"\n{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""The learning curves of a pretraining run.

python -m bench.pretraining_figure checkpoints/universal-small --out docs/figures/pretraining.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
from matplotlib import pyplot as plt

from diffhpo.pretraining.run import METRICS

#: Rows of the file (50 steps each) that a plotted point averages.
WINDOW = 20


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of successive windows."""
    whole = len(values) // WINDOW * WINDOW
    out: NDArray[np.float64] = values[:whole].reshape(-1, WINDOW).mean(1)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/figures/pretraining.png"))
    arguments = parser.parse_args()
    rows = np.genfromtxt(arguments.run / METRICS, delimiter=",", names=True)
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
    labels = (
        ("surprise", "surprise at unseen values [nats]"),
        ("noise_error", "squared error of the noise"),
    )
    for axis, (column, label) in zip(axes, labels, strict=True):
        axis.plot(smoothed(rows["step"]), smoothed(rows[column]))
        axis.set(xlabel="step", ylabel=label)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(arguments.out, dpi=110)
    print(arguments.out)


if __name__ == "__main__":
    main()

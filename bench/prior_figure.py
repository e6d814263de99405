# SPDX-License-Identifier: Apache-2.0
"""Draws of every family of the synthetic prior, of one and of two variables.

python -m bench.prior_figure --out docs/figures/prior.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from diffhpo.prior import FAMILIES, PriorSampler

CURVES, IMAGES = 4, 5
SIDE = 64
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


def scaled(values: Tensor) -> Tensor:
    """(B, N) -> (B, N) in [0, 1], row by row."""
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    return (values - low) / (high - low).clamp_min(1e-9)


def curves(family: str, seed: int) -> Tensor:
    """(CURVES, 400) functions of one variable on a grid."""
    sampler = PriorSampler(seed=seed, families={family: 1.0}, max_dim=1, group=1)
    grid = torch.linspace(0, 1, 400).view(1, -1, 1)
    return torch.cat([scaled(tasks(grid)) for tasks, _ in sampler.groups(0, CURVES)])


def images(family: str, seed: int) -> Tensor:
    """(IMAGES, SIDE, SIDE) functions of two variables on a grid."""
    sampler = PriorSampler(seed=seed, families={family: 1.0}, max_dim=2, group=1)
    axis = torch.linspace(0, 1, SIDE)
    grid = torch.cartesian_prod(axis, axis).unsqueeze(0)
    drawn = [
        scaled(tasks(grid)).view(1, SIDE, SIDE)
        for tasks, batch in sampler.groups(0, 10 * IMAGES)
        if int(batch.dims[0]) == 2
    ]
    return torch.cat(drawn[:IMAGES])


def figure(seed: int) -> Figure:
    """One row a family: curves, then images; larger is better and brighter."""
    drawing = Figure(figsize=(8.0, 1.25 * len(FAMILIES)), layout="constrained")
    rows = drawing.subplots(len(FAMILIES), 1 + IMAGES, width_ratios=[1.8] + [1] * IMAGES)
    for number, (axes, family) in enumerate(zip(rows, FAMILIES, strict=True)):
        # A seed of its own: dimensions and kinds of columns come from the seed alone, whatever the family.
        own = seed + 1000 * number
        for curve, colour in zip(curves(family, own), COLOURS, strict=True):
            axes[0].plot(torch.linspace(0, 1, 400).numpy(), curve.numpy(), color=colour, linewidth=1)
        axes[0].set(xticks=[], yticks=[], ylabel=family)
        axes[0].yaxis.label.set_size(8)
        for panel, image in zip(axes[1:], images(family, own), strict=True):
            panel.imshow(image.T.numpy(), origin="lower", cmap="viridis", interpolation="nearest")
            panel.set(xticks=[], yticks=[])
    return drawing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures/prior.png"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure(given.seed).savefig(given.out, dpi=90)
    print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()

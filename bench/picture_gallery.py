# SPDX-License-Identifier: Apache-2.0
"""The figures of docs/pictures.md, from the run that the page describes.

python -m bench.picture_gallery --out docs/figures/pictures
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from diffhpo import pictures
from diffhpo.optimizer import Optimizer
from diffhpo.study.figure import save

PAGE = Path(__file__).resolve().parents[1] / "docs" / "pictures.md"


def run_of_the_page() -> Optimizer:
    """The optimizer after the page's first block."""
    first = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert first is not None, PAGE
    names: dict[str, Any] = {}
    exec(compile(first[1], str(PAGE), "exec"), names)
    optimizer: Optimizer = names["optimizer"]
    return optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=PAGE.parent / "figures" / "pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    optimizer = run_of_the_page()
    suggestions = optimizer.ask(5)
    drawn = {
        "history": pictures.plot_optimization_history(optimizer),
        "slice": pictures.plot_slice(optimizer, "learning_rate", suggestions=suggestions),
        "parallel": pictures.plot_parallel_coordinates(optimizer, suggestions=suggestions),
        "prediction": pictures.plot_prediction(optimizer, "learning_rate"),
        "calibration": pictures.plot_calibration(optimizer),
        "denoising": pictures.plot_denoising_trajectory(optimizer, "learning_rate", "max_depth"),
    }
    for name, ax in drawn.items():
        save(ax.figure, arguments.out / f"{name}.png", dots_per_inch=110)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What more compute brings: held-out log-likelihood over model size, training steps and prior size.

python -m bench.scaling --out runs/scaling --weights "40,000 steps=FILE"

Trains the runs of `bench/scaling_grid.py` on the synthetic prior alone, all of them to one milestone after
the other, and measures their weights, the package's own, those of --weights and a Gaussian process as
`bench/held_out.py` says, on validation tasks and on synthetic functions. It can be stopped at any moment and
goes on where it was: training from its last checkpoint, measuring with the weights that have no figures yet.
The figures go to --results; `bench/scaling_figure.py` draws them. Training takes one core, and some of a
second one for the functions. DIFFHPO_DATA names the directory of the tasks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bench.calibration_models import GaussianProcessModel, PretrainedModel
from bench.held_out import SyntheticEpisodes, ValidationContexts, on_tasks
from bench.scaling_grid import CELLS, MILESTONES, PRESET, Cell, train, weights_of

from diffhpo.files.atomic_write import write_atomically
from diffhpo.model.universal.checkpoint import load_universal

RESULTS = Path("docs/results/scaling/likelihood.json")
SHIPPED = Path("python/diffhpo/pretrained/universal.safetensors")
#: Names in the results beside those of cells.
SHIPPED_NAME, GAUSSIAN_PROCESS = "shipped", "gp"
#: Decimals of a log-likelihood in the file.
_DECIMALS = 4


@dataclass
class Results:
    """The file of figures, read at the start and written after every measurement.

    Args:
        path: of the file.
        tasks: names of the validation tasks, in the order of the figures.

    Raises:
        ValueError: if the file is of other tasks.
    """

    path: Path
    tasks: list[str]

    def __post_init__(self) -> None:
        self.weights: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if found["tasks"] != self.tasks:
                raise ValueError(f"{self.path} has figures of other tasks; name another file")
            self.weights = found["weights"]

    def has(self, name: str, digest: str) -> bool:
        """Whether weights with this content were measured under this name."""
        return name in self.weights and self.weights[name]["sha256"] == digest

    def add(self, name: str, entry: dict[str, Any]) -> None:
        """Keep the figures of some weights, in the place of earlier ones of the same name."""
        self.weights[name] = _rounded(entry)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        entries = [f"{json.dumps(key)}: {json.dumps(figures)}" for key, figures in self.weights.items()]
        # A line for each entry, so that a change of one shows as one.
        text = f'{{"tasks": {json.dumps(self.tasks)}, "weights": {{\n' + ",\n".join(entries) + "\n}}\n"
        write_atomically(self.path, text.encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return value


def facts_of(cell: Cell, step: int) -> dict[str, Any]:
    """What the training of a milestone's weights was."""
    return {
        "width": cell.width,
        "limit": cell.functions,
        "functions": cell.distinct(step),
        "seed": cell.seed,
        "contexts": step * PRESET.batch,
    }


class Measurement:
    """Measures weights into the results.

    Args:
        contexts: of the validation tasks.
        results: where figures go.
    """

    def __init__(self, contexts: ValidationContexts, results: Results) -> None:
        self._contexts, self._results = contexts, results
        self._synthetic: SyntheticEpisodes | None = None

    def weights(self, name: str, path: Path, facts: dict[str, Any]) -> None:
        """Measure a file of weights unless its content has figures under this name.

        Raises:
            CheckpointError: if the file is missing or damaged.
        """
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if self._results.has(name, digest):
            return
        loaded = load_universal(path)
        model = loaded.model.eval().requires_grad_(False)
        self._synthetic = self._synthetic or SyntheticEpisodes()
        entry = {
            **facts,
            "width": model.config["width"],
            "parameters": model.parameter_count(),
            "step": loaded.step,
            "sha256": digest,
            **on_tasks(PretrainedModel(model), self._contexts),
            "synthetic": self._synthetic.log_likelihood(model),
        }
        self._results.add(name, entry)

    def gaussian_process(self) -> None:
        """Measure BoTorch's Gaussian process on the validation tasks, which needs no training."""
        if not self._results.has(GAUSSIAN_PROCESS, ""):
            figures = on_tasks(GaussianProcessModel(), self._contexts)
            self._results.add(GAUSSIAN_PROCESS, {"sha256": "", **figures})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"), help="directory of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="measure these too; may be repeated",
    )
    parser.add_argument(
        "--steps", type=int, default=MILESTONES[-1], help="train no further than this milestone"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)

    contexts = ValidationContexts(arguments.out / "contexts.npz")
    measurement = Measurement(contexts, Results(arguments.results, contexts.tasks))
    measurement.gaussian_process()
    measurement.weights(SHIPPED_NAME, SHIPPED, {})
    for given in arguments.weights:
        name, _, file = given.partition("=")
        measurement.weights(name, Path(file), {})
    for step in (milestone for milestone in MILESTONES if milestone <= arguments.steps):
        for cell in (cell for cell in CELLS if step <= cell.last):
            train(arguments.out, cell, step)
            measurement.weights(
                f"{cell.name}-step-{step}", weights_of(arguments.out, cell, step), facts_of(cell, step)
            )
            print(f"{cell.name} step {step}", flush=True)


if __name__ == "__main__":
    main()

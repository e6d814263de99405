# SPDX-License-Identifier: Apache-2.0
"""Writes one small file of each format as this version writes it, for the versions to come.

    python tests/upgrades/write_files.py

Run it once for each new schema; files of earlier ones are kept as they are.
"""

from __future__ import annotations

from pathlib import Path

import torch

from diffhpo import Categorical, Condition, Float, Int, Optimizer, Space, Trial
from diffhpo.model import Checkpoint, Network, NoiseSchedule, Predictor, Transformer, save_checkpoint
from diffhpo.model.checkpoint import SCHEMA as CHECKPOINT
from diffhpo.model.universal import UniversalModel
from diffhpo.model.universal.checkpoint import SCHEMA as UNIVERSAL
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, save_universal
from diffhpo.optimizer_file import SCHEMA as OPTIMIZER

FILES = Path(__file__).parent / "files"

SPACE = Space(
    {"lr": Float(1e-4, 1.0, log=True), "kind": Categorical(["a", "b", "c"]), "depth": Int(1, 9)},
    conditions={"depth": Condition("kind", ["b", "c"])},
)


def checkpoint(path: Path) -> None:
    torch.manual_seed(0)
    parts = Network(2, width=8, context_width=4), Transformer(2, width=4), NoiseSchedule.cosine(20)
    predictor = Predictor(2, width=8, context_width=4, bars=5)
    save_checkpoint(path, Checkpoint(*parts, step=3, extra={"seed": 7}, predictor=predictor))


def universal(path: Path) -> None:
    torch.manual_seed(0)
    model = UniversalModel(width=8, layers=1, predictor_layers=1, blocks=1, heads=2)
    save_universal(path, UniversalCheckpoint(model, 5, {}, {"preset": "tiny"}))


def optimizer(path: Path) -> None:
    made = Optimizer(SPACE, seed=4, direction="minimize", initial=3)
    made.tell([Trial({"lr": 0.1, "kind": "a"}, 0.5), Trial({"lr": 0.01, "kind": "b", "depth": 3}, 0.25)])
    made.tell({"lr": 0.2, "kind": "c", "depth": 9}, failed=True)
    made.enqueue([{"lr": 1.0, "kind": "a"}])
    made.save(path)


WRITERS = {
    f"checkpoint-{CHECKPOINT}.safetensors": checkpoint,
    f"universal-{UNIVERSAL}.safetensors": universal,
    f"optimizer-{OPTIMIZER}.safetensors": optimizer,
}

if __name__ == "__main__":
    for name, write in WRITERS.items():
        if not (FILES / name).exists():
            write(FILES / name)

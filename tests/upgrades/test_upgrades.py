# SPDX-License-Identifier: Apache-2.0
"""Files that earlier versions wrote load for ever, with what was in them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import write_files

from diffhpo import Optimizer, Trial
from diffhpo.model import load_checkpoint
from diffhpo.model.universal.checkpoint import load_universal

FILES = write_files.FILES


def test_a_file_of_each_present_schema_is_kept():
    missing = [name for name in write_files.WRITERS if not (FILES / name).exists()]
    assert missing == [], "run `python tests/upgrades/write_files.py` and keep what it writes"


@pytest.mark.parametrize("path", sorted(FILES.glob("checkpoint-*")), ids=lambda path: path.stem)
def test_checkpoints(path):
    found = load_checkpoint(path)
    assert (found.step, found.extra, len(found.schedule.betas)) == (3, {"seed": 7}, 20)
    assert found.network.config["width"] == 8
    assert found.predictor is not None


@pytest.mark.parametrize("path", sorted(FILES.glob("universal-*")), ids=lambda path: path.stem)
def test_universal_models(path):
    found = load_universal(path)
    assert (found.step, found.facts) == (5, {"preset": "tiny"})
    assert found.model.config["width"] == 8


@pytest.mark.parametrize("path", sorted(FILES.glob("optimizer-*")), ids=lambda path: path.stem)
def test_optimizers(path):
    found = Optimizer.load(path)
    assert (found.seed, found.direction, found.initial) == (4, "minimize", 3)
    assert found.space == write_files.SPACE
    assert [(trial.value, trial.failed) for trial in found.trials] == [
        (0.5, False),
        (0.25, False),
        (None, True),
    ]
    assert found.trials[1] == Trial({"lr": pytest.approx(0.01), "kind": "b", "depth": 3}, 0.25)
    assert found.ask(1)[0].parameters["kind"] == "a"

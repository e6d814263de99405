# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from typer.testing import CliRunner

from diffhpo.cli import app
from diffhpo.history import History
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.pretrained_policy import PretrainedPolicy
from diffhpo.pretraining import real_tasks
from diffhpo.pretraining.real_task import RealTask
from diffhpo.pretraining.task_bank import TaskBank

runner = CliRunner()


def test_weights_of_a_run_are_ready_for_use(tmp_path):
    out = tmp_path / "run"
    result = runner.invoke(app, ["train", "universal", "--preset", "tiny", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "step 20 of 20" in result.output
    model = load_universal(out / "universal.safetensors").model.eval()
    assert PretrainedPolicy(model).suggest(History([[0.1], [0.9]], [0.0, 1.0])).shape == (1, 1)
    again = runner.invoke(app, ["train", "universal", "--preset", "tiny", "--out", str(out), "--seed", "1"])
    assert again.exit_code == 2
    assert "another seed" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["universal", "--preset", "huge", "--out", "x"], "tiny, small, base, large"),
        (["bank", "--out", "x.npz", "--evaluations", "nowhere.npz"], "nowhere.npz"),
        (["bank", "--out", "nowhere/x.npz"], "the directory nowhere is not there"),
    ],
)
def test_bad_arguments_are_named(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["train", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_a_bank_is_written_and_told(tmp_path, monkeypatch):
    pytest.importorskip("xgboost", reason="surrogates of real tasks need xgboost")
    x = np.random.default_rng(0).random((80, 2), dtype=np.float32)
    task = RealTask("demo/a/b", x, -((x - 0.4) ** 2).sum(1), np.zeros(2, int), np.zeros(2, int))
    asked = []
    monkeypatch.setattr(real_tasks, "load_real_tasks", lambda **files: asked.append(files) or [task])
    out = tmp_path / "bank.npz"
    result = runner.invoke(
        app, ["train", "bank", "--out", str(out), "--points", "64", "--mlp-grids", "g.npz"]
    )
    assert result.exit_code == 0, result.output
    assert "1 tasks" in result.output
    assert asked[0]["mlp_grids"].name == "g.npz"
    assert asked[0]["evaluations"] is None
    assert f"{len(TaskBank.load(out))} functions written to" in result.output

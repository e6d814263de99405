# SPDX-License-Identifier: Apache-2.0
import pytest
from typer.testing import CliRunner

from diffhpo.cli import app
from diffhpo.history import History
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.pretrained_policy import PretrainedPolicy

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
    ],
)
def test_bad_arguments_are_named(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["train", *arguments])
    assert result.exit_code == 2
    assert said in result.output

# SPDX-License-Identifier: Apache-2.0
"""A run that was stopped goes on as if it had not been."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from tests.other_process import kills, wait_until

from diffhpo.errors import CheckpointError, RunError
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.pretraining.preset import preset_named
from diffhpo.pretraining.run import METRICS, PretrainingRun, learning_rate
from diffhpo.pretraining.source import SyntheticTasks

TINY = preset_named("tiny")


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def weights(directory):
    found = load_universal(directory / "checkpoint.safetensors")
    return found.step, {**found.model.state_dict(), **found.training}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    torch.set_num_threads(1)
    PretrainingRun(directory, SyntheticTasks(3), TINY, seed=5).fit(progress=False)
    return directory


def test_a_run_in_pieces_reaches_the_same_bits(uninterrupted, tmp_path):
    # Not 5, 10, ...: a stop between two checkpoints, inside and outside the stage with rollouts.
    for steps in (7, 13, TINY.steps):
        run = PretrainingRun(tmp_path, SyntheticTasks(3), TINY, seed=5)
        run.preset = replace(TINY, save_every=1)
        original = run._learn

        def stop_at(episode, adder, run=run, steps=steps, original=original):
            if run.step >= steps:
                raise KeyboardInterrupt
            return original(episode, adder)

        run._learn = stop_at
        try:
            run.fit(progress=False)
        except KeyboardInterrupt:
            assert run.step == steps
    step, expected = weights(uninterrupted)
    reached, found = weights(tmp_path)
    assert reached == step == TINY.steps
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.fault(29)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_run_reaches_the_same_bits(  # DIFFHPO_KILLS=50: at fifty random moments
    uninterrupted, tmp_path
):
    program = (
        "import sys, torch\n"
        "from diffhpo.pretraining.preset import preset_named\n"
        "from diffhpo.pretraining.run import PretrainingRun\n"
        "from diffhpo.pretraining.source import SyntheticTasks\n"
        "if __name__ == '__main__':\n"
        "    torch.set_num_threads(1)\n"
        "    run = PretrainingRun(sys.argv[1], SyntheticTasks(3), preset_named('tiny'), seed=5)\n"
        "    run.fit(progress=False)\n"
    )
    script = tmp_path / "train.py"
    script.write_text(program)
    directory, expected = tmp_path / "run", weights(uninterrupted)[1]
    checkpoint, chance = directory / "checkpoint.safetensors", random.Random(2)

    def stamp():
        return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0

    def finish():
        PretrainingRun(directory, SyntheticTasks(3), TINY, seed=5).fit(progress=False)
        for name, value in weights(directory)[1].items():
            assert torch.equal(value, expected[name]), name
        assert not list(directory.rglob(".*"))

    killed = 0
    while killed < kills(1):
        before = stamp()
        process = subprocess.Popen([sys.executable, str(script), str(directory)], env=os.environ)
        wait_until(lambda b=before, p=process: stamp() != b or p.poll() is not None)
        # At once, or at any moment of the steps and the rollouts that follow.
        time.sleep(chance.choice((0, chance.random())) if killed else 0)
        process.kill()
        killed += process.wait() != 0
        if load_universal(checkpoint).step == TINY.steps:
            finish()
            shutil.rmtree(directory)
    finish()


def test_metrics_have_each_step_once(uninterrupted, tmp_path):
    preset = replace(TINY, steps=150, save_every=60, rollout_after=())
    run = PretrainingRun(tmp_path, SyntheticTasks(3), preset, seed=5)
    original = run._save

    def save_and_stop():
        original()
        if run.step == 120:
            raise KeyboardInterrupt

    run._save = save_and_stop
    with pytest.raises(KeyboardInterrupt):
        run.fit(progress=False)
    # What a crash after the last checkpoint leaves: rows of steps that will be done again, one cut short.
    with open(tmp_path / METRICS, "a") as file:
        file.write("150,1,1,1,1,1\n200,1,")
    PretrainingRun(tmp_path, SyntheticTasks(3), preset, seed=5).fit(progress=False)
    lines = (tmp_path / METRICS).read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "50", "100", "150"]
    assert lines[-1].split(",")[1:3] != ["1", "1"]


def test_another_seed_or_preset_is_refused(uninterrupted):
    with pytest.raises(RunError, match="another seed"):
        PretrainingRun(uninterrupted, SyntheticTasks(3), TINY, seed=6)
    with pytest.raises(RunError, match="another preset"):
        PretrainingRun(uninterrupted, SyntheticTasks(3), replace(TINY, batch=8), seed=5)


def test_a_finished_run_can_be_continued(uninterrupted, tmp_path):
    PretrainingRun(tmp_path, SyntheticTasks(3), TINY, seed=5).fit(progress=False)
    longer = PretrainingRun(tmp_path, SyntheticTasks(3), replace(TINY, steps=22), seed=5)
    longer.fit(progress=False)
    assert load_universal(longer.path).step == 22


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors"):
        PretrainingRun(tmp_path, SyntheticTasks(3), TINY, seed=5)


def test_training_learns(tmp_path):
    preset = replace(TINY, steps=400, learning_rate=3e-3, rollout_after=(), save_every=400, batch=8, chunk=16)
    PretrainingRun(tmp_path, SyntheticTasks(3), preset, seed=5).fit(progress=False)
    rows = [list(map(float, line.split(","))) for line in (tmp_path / METRICS).read_text().splitlines()[1:]]
    assert rows[-1][1] < rows[0][1] - 0.3
    assert rows[-1][2] < 0.8 * rows[0][2]


def test_the_exported_weights_are_the_averaged_ones(uninterrupted, tmp_path):
    run = PretrainingRun(uninterrupted, SyntheticTasks(3), TINY, seed=5)
    run.export(tmp_path / "out.safetensors")
    exported = load_universal(tmp_path / "out.safetensors")
    assert exported.step == TINY.steps
    assert exported.training == {}
    for name, value in exported.model.state_dict().items():
        assert torch.equal(value, run.average[name].bfloat16().float()), name


@pytest.mark.parametrize("step", [0, 3, 9, 15, 19])
def test_the_learning_rate_is_positive_and_bounded(step):
    assert 0 < learning_rate(TINY, step) <= TINY.learning_rate


def test_gradients_that_are_not_finite_are_skipped_and_told(tmp_path, caplog):
    run = PretrainingRun(tmp_path, SyntheticTasks(3), replace(TINY, rollout_after=()), seed=5)
    run.fit(minutes=0, progress=False)
    before = {name: value.clone() for name, value in run.model.named_parameters()}
    for parameter in run.model.parameters():
        parameter.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(RunError, match="not finite"):
        run.fit(progress=False)
    assert "the step is skipped" in caplog.text
    for name, value in run.model.named_parameters():
        assert torch.equal(value, before[name]), name

# SPDX-License-Identifier: Apache-2.0
"""What a step sees is a function of the seed and the step, whoever draws it."""

import os
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch
from tests.pretraining.failing_sources import Ending, Slow

from diffhpo.errors import DataError, InputError, RunError
from diffhpo.model.universal.checkpoint import load_universal
from diffhpo.pretraining import episode_chunk
from diffhpo.pretraining.episode import Episode
from diffhpo.pretraining.episode_chunk import chunk_episodes, episodes_in_chunk
from diffhpo.pretraining.preset import preset_named
from diffhpo.pretraining.run import PretrainingRun
from diffhpo.pretraining.source import MixedTasks, SyntheticTasks
from diffhpo.pretraining.stream import EpisodeStream
from diffhpo.prior import PriorSampler

TINY = replace(preset_named("tiny"), rollout_after=())  # batch 4, chunk 8, two passes: four steps a chunk

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def same(first, second):
    first, second = first.tensors(), second.tensors()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stream_is_its_chunks_from_any_step_on(workers):
    source = SyntheticTasks(3)()
    expected = [episode for index in range(5) for episode in chunk_episodes(source, TINY, index, seed=7)]
    assert not same(expected[0], expected[1])
    with EpisodeStream(SyntheticTasks(3), TINY, seed=7, workers=workers) as stream:
        for step in (0, 1, 2, 3, 4, 5, 14, 15, 16, 19):
            assert same(stream.episode(step), expected[step]), step


def test_a_chunk_shows_each_function_in_every_pass(monkeypatch):
    monkeypatch.setattr(episode_chunk, "draw_episode", lambda tasks, *_, **__: tasks)
    seen = chunk_episodes(SyntheticTasks(3)(), TINY, 2, seed=7)
    assert len(seen) == episodes_in_chunk(TINY) == 4
    expected = sorted(PriorSampler(seed=3).batch(2, 8, 256).value[:, 0].tolist())
    for one_pass in (seen[:2], seen[2:]):
        assert sorted(value for tasks in one_pass for value in tasks.value[:, 0].tolist()) == expected
    # Functions of like dimension go together.
    low, high = sorted((tasks.dims for tasks in seen[:2]), key=lambda dims: int(dims.max()))
    assert low.max() <= high.min()


def test_functions_that_come_again_have_other_contexts():
    source = SyntheticTasks(3)()

    def first_chunk(_, size, points):
        return source(0, size, points)

    seen = [episode for index in range(2) for episode in chunk_episodes(first_chunk, TINY, index, seed=7)]
    assert not any(same(seen[i], seen[j]) for i in range(8) for j in range(i))


def test_an_episode_is_its_tensors():
    episode = chunk_episodes(SyntheticTasks(3)(), TINY, 0, seed=7)[0]
    assert same(Episode.of(episode.tensors()), episode)
    assert episode.tensors().keys() >= {"x", "kinds", "roles", "query_y", "tells"}
    assert same(episode.to(torch.device("cpu")), episode)


def test_the_weights_do_not_depend_on_the_number_of_workers(tmp_path):
    preset = replace(preset_named("tiny"), rollout_after=(6,), steps=12)
    found = []
    for workers in (1, 2):
        run = PretrainingRun(tmp_path / f"{workers}", SyntheticTasks(3), preset, seed=5, workers=workers)
        run.fit(progress=False)
        found.append(load_universal(run.path).model.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_a_number_of_workers_that_is_none_is_refused(workers, tmp_path):
    with pytest.raises(InputError, match="workers"):
        EpisodeStream(SyntheticTasks(3), TINY, seed=7, workers=workers)
    with pytest.raises(InputError, match="workers"):
        PretrainingRun(tmp_path, SyntheticTasks(3), TINY, workers=workers)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_worker_that_was_ended_is_told(tmp_path):
    run = PretrainingRun(tmp_path, Ending(), TINY)
    with pytest.raises(RunError, match="memory may have run out"):
        run.fit(progress=False)
    # Nothing is lost, and the directory is free.
    again = PretrainingRun(tmp_path, SyntheticTasks(3), TINY)
    again.fit(progress=False)
    assert again.step == TINY.steps


def test_what_goes_wrong_in_a_worker_has_its_name(tmp_path):
    with (
        EpisodeStream(MixedTasks(0, str(tmp_path / "nowhere.npz"), 0.5), TINY, seed=7) as stream,
        pytest.raises(DataError, match=r"nowhere\.npz is not a bank"),
    ):
        stream.episode(0)


def test_ctrl_c_ends_the_wait_for_a_worker():
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    with EpisodeStream(Slow(3600.0), TINY, seed=7) as stream:
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            stream.episode(0)
        assert time.monotonic() - started < 30
        for process in stream._pool._pool._processes.values():
            process.kill()  # it would sleep for an hour

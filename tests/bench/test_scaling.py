# SPDX-License-Identifier: Apache-2.0
"""The scaling study: how many functions a run sees, milestones, and what is averaged over what."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from bench.limited_tasks import LimitedTasks
from bench.scaling import Measurement, Results, facts_of
from bench.scaling_grid import Cell, train, weights_of

from bench import held_out, scaling_grid
from diffhpo.errors import InputError
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, load_universal, save_universal
from diffhpo.model.universal.model import UniversalModel
from diffhpo.pretraining import episode_chunk
from diffhpo.pretraining.preset import preset_named
from diffhpo.pretraining.source import SyntheticTasks

SMALL = replace(preset_named("tiny"), rollout_after=())  # batch 4, chunk 8, two passes: four steps a chunk


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def small_grid(monkeypatch):
    monkeypatch.setattr(scaling_grid, "PRESET", SMALL)
    monkeypatch.setattr(Cell, "preset", lambda cell, steps: replace(SMALL, steps=steps))


def test_a_limited_source_repeats_the_first_functions_of_the_other():
    drawn = pickle.loads(pickle.dumps(LimitedTasks(SyntheticTasks(3), 16)))()
    whole = SyntheticTasks(3)()
    for index in range(6):
        assert torch.equal(drawn(index, 8, 64).value, whole(index % 2, 8, 64).value)
    assert not torch.equal(drawn(0, 8, 64).value, drawn(1, 8, 64).value)


@pytest.mark.parametrize("functions", [0, -8, 2.5])
def test_no_functions_are_refused(functions):
    with pytest.raises(InputError, match="functions"):
        LimitedTasks(SyntheticTasks(0), functions)


@pytest.mark.parametrize("functions", [4, 12])
def test_a_part_of_a_chunk_is_refused(functions):
    with pytest.raises(InputError, match=f"functions is {functions}; a multiple of the chunk, 8, is needed"):
        LimitedTasks(SyntheticTasks(0), functions)()(0, 8, 64)


@pytest.mark.parametrize("limit", [None, 8, 16])
def test_a_run_sees_as_many_functions_as_is_said(small_grid, monkeypatch, limit):
    cell = Cell(16, functions=limit)
    monkeypatch.setattr(episode_chunk, "draw_episode", lambda tasks, *_, **__: tasks)
    seen, counts, said, source = set(), [], [], cell.source()()
    for index in range(3):
        for place, tasks in enumerate(episode_chunk.chunk_episodes(source, cell.preset(12), index, seed=0)):
            seen |= {tuple(row) for row in tasks.value.tolist()}
            if place != 0:  # after its first step a chunk has shown half of its functions
                counts.append(len(seen))
                said.append(cell.distinct(4 * index + place + 1))
    assert counts == said


def test_a_milestone_goes_on_from_the_one_before_and_is_trained_once(small_grid, tmp_path):
    cell = Cell(16, functions=8, seed=2)
    for step in (3, 5):
        train(tmp_path, cell, step)
        assert load_universal(weights_of(tmp_path, cell, step)).step == step
    first, second = (weights_of(tmp_path, cell, step) for step in (3, 5))
    assert first.read_bytes() != second.read_bytes()
    before = second.stat().st_mtime_ns
    train(tmp_path, cell, 5)
    assert second.stat().st_mtime_ns == before
    rows = (tmp_path / cell.name / "checkpoint.safetensors").stat()
    assert rows.st_mtime_ns <= before


def test_cells_have_names_of_their_own():
    assert len({cell.name for cell in scaling_grid.CELLS}) == len(scaling_grid.CELLS)


def test_synthetic_functions_are_averaged_over_their_own_group(monkeypatch):
    monkeypatch.setattr(held_out, "SYNTHETIC", 32)
    monkeypatch.setattr(held_out, "POINTS", 256)
    monkeypatch.setattr(
        held_out, "_by_function", lambda model, episode: episode.target[:, -1].double().sum(1)
    )
    tasks = SyntheticTasks(held_out.SYNTHETIC_SEED)()(0, 32, 256)
    expected = tasks.best_x.double().sum(1).view(4, 8).mean(1)
    found = held_out.SyntheticEpisodes().log_likelihood(UniversalModel(width=16))
    assert list(found) == [str(n) for n in held_out.SIZES]
    for by_group in found.values():
        np.testing.assert_allclose(by_group, expected, rtol=1e-6)


def test_one_impossible_value_costs_ten_nats():
    assert held_out.clamped_mean(np.array([[-1e6, 1.0], [2.0, 3.0]])) == pytest.approx((-10 + 6) / 4)


def test_queries_with_the_value_of_a_trial_are_left_out_of_the_second_mean():
    class Contexts:
        """One task has such queries, the other no different ones."""

        tasks = ("a", "b")

        def drawn(self, task, kind, size):
            x, y = np.zeros((2, 3, 1)), np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
            values = {"a": np.array([[1.0, 7.0], [1.0, 4.0]]), "b": y[:, :2]}[task]
            return held_out.Drawn(x, y, np.zeros((2, 2, 1)), values)

    class Model:
        """Takes the log density for minus the value."""

        def predict(self, x, y, queries):
            return type("Prediction", (), {"log_prob": staticmethod(lambda values: -values)})

    found = held_out.on_tasks(Model(), Contexts())
    for kind in held_out.KINDS:
        for size in map(str, held_out.SIZES):
            assert found["all"][kind][size] == [-(1 + 7 + 1 + 4) / 4, -(1 + 2 + 4 + 5) / 4]
            # 1 is the value of a trial of the first context alone, 4 of the second.
            assert found["untied"][kind][size] == [-(7 + 1) / 2, None]


def test_weights_are_measured_again_only_where_they_changed(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr("bench.scaling.on_tasks", lambda model, contexts: measured.append(1) or {"all": {}})
    monkeypatch.setattr("bench.scaling.SyntheticEpisodes.log_likelihood", lambda self, model: {"5": [1 / 3]})
    monkeypatch.setattr(held_out, "SYNTHETIC", 8)
    path, weights = tmp_path / "deep" / "results.json", tmp_path / "universal.safetensors"
    for width, count in ((16, 1), (24, 2)):
        save_universal(weights, UniversalCheckpoint(UniversalModel(width=width), step=7))
        for _ in range(2):
            Measurement(None, Results(path, ["a"])).weights("one", weights, {"limit": None})
        assert len(measured) == count
    entry = json.loads(path.read_text())["weights"]["one"]
    assert (entry["step"], entry["limit"], entry["synthetic"]) == (7, None, {"5": [0.3333]})
    with pytest.raises(ValueError, match="other tasks"):
        Results(path, ["b"])


def test_differences_are_taken_within_tasks_and_the_figure_has_every_run(tmp_path):
    pytest.importorskip("matplotlib")
    from bench.scaling_figure import STEP, Drawing, difference, ends, table

    def figures(by_task):
        sizes = {str(n): [value + n for value in by_task] for n in held_out.SIZES}
        kinds = dict.fromkeys(held_out.KINDS, sizes)
        return {"all": kinds, "untied": kinds, "synthetic": sizes}

    shipped = {**figures([0.0, 100.0, 1000.0]), "width": 64, "parameters": 5000, "step": 9}
    weights = {"gp": {"all": figures([5.0, 5.0, 5.0])["all"]}, "shipped": shipped}
    for cell in (Cell(16), Cell(32), Cell(32, seed=1), Cell(64), Cell(32, functions=256)):
        for step in (32, STEP):
            facts = {"parameters": 10 * cell.width, "step": step, **facts_of(cell, step)}
            entry = figures([-step, 100.0 - step, 1000.0 - 4 * step])
            weights[f"{cell.name}-step-{step}"] = {**entry, **facts}
    mean, error = difference(weights["width-16-seed-0-step-32"], shipped, "all")
    assert mean == pytest.approx(-2 * 32)
    assert error == pytest.approx(32)  # of -1, -1 and -4 times 32: far below what tasks differ by
    figure = Drawing(weights).figure
    for axes in (figure.axes[:3], figure.axes[3:6], figure.axes[6:]):
        # Four runs and the shipped weights; three widths at two milestones; two prior sizes, of which the
        # first milestone has one, its 128 functions being fewer than the limit.
        points = [[len(line.lines[0].get_xdata()) for line in axis.containers] for axis in axes]
        assert points == [[2, 2, 2, 2, 1], [3, 3], [1, 2]]
    last = ends(weights)
    assert len(last) == 2 + 5
    assert all(entry["step"] == STEP for entry in last.values() if "contexts" in entry)
    assert table(last, shipped).count("\n") == 1 + len(last)
    figure.savefig(tmp_path / "figure.png")

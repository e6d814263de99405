# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from diffhpo.errors import InputError
from diffhpo.study.relative import relative_regret
from diffhpo.study.relative_text import relative_section
from diffhpo.study.stats import align, mean_normalised_regret


def results(regrets: dict[str, np.ndarray], spaces: list[str]) -> dict:
    """method -> (tasks, seeds, entries) regrets -> HPO-B results."""
    table = {}
    for method, values in regrets.items():
        table[method] = {}
        for task, (space, seeds) in enumerate(zip(spaces, values, strict=True)):
            table[method].setdefault(space, {})[f"t{task}"] = {
                f"s{seed}": (1 - curve).tolist() for seed, curve in enumerate(seeds)
            }
    return table


def drawn(tasks: int, scale: float, seed: int) -> np.ndarray:
    return scale * np.random.default_rng(seed).random((tasks, 2, 3))


def test_the_ratio_is_that_of_the_reported_means() -> None:
    spaces = ["a", "a", "a", "b"]
    runs = align(results({"x": drawn(4, 1, 0), "y": drawn(4, 0.5, 1), "z": drawn(4, 0.9, 2)}, spaces))
    relative = relative_regret(runs, [0, 2])
    means = mean_normalised_regret(runs).mean
    for column, trial in enumerate((0, 2)):
        for row in range(3):
            others = np.delete(means[:, trial], row)
            assert relative.ratio[row, column] == pytest.approx(means[row, trial] / others.min())
            assert relative.rivals[row][column] != relative.methods[row]
    assert ((relative.low <= relative.ratio) & (relative.ratio <= relative.high)).all()


def test_the_interval_is_that_of_paired_tasks() -> None:
    # Tasks differ by far more than methods do: only pairing can tell them apart.
    difficulty = np.random.default_rng(0).uniform(0.01, 1, (30, 1, 1)) * np.ones((30, 2, 1))
    runs = align(results({"x": 0.8 * difficulty, "y": difficulty}, ["a"] * 30))
    relative = relative_regret(runs, [0])
    assert relative.low[0, 0] == pytest.approx(0.8)
    assert relative.high[0, 0] == pytest.approx(0.8)
    again = relative_regret(runs, [0])
    np.testing.assert_array_equal(relative.high, again.high)


def test_the_interval_covers_the_truth() -> None:
    hits = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).uniform(0.5, 1.5, (2, 25, 1, 1)) * 0.3
        runs = align(results({"x": 0.7 * noise[0], "y": noise[1]}, ["a"] * 25))
        relative = relative_regret(runs, [0])
        hits += relative.low[0, 0] <= 0.7 <= relative.high[0, 0]
    assert hits >= 50


def test_a_perfect_rival_gives_no_number() -> None:
    runs = align(results({"x": np.zeros((2, 1, 1)), "y": np.full((2, 1, 1), 0.5)}, ["a", "a"]))
    relative = relative_regret(runs, [0])
    assert relative.ratio[0, 0] == 0
    assert np.isinf(relative.ratio[1, 0])


def test_bad_input() -> None:
    runs = align(results({"x": drawn(2, 1, 0), "y": drawn(2, 1, 1)}, ["a", "a"]))
    with pytest.raises(InputError, match="trials names 3"):
        relative_regret(runs, [3])
    with pytest.raises(InputError, match="two or more"):
        relative_regret(align(results({"x": drawn(2, 1, 0)}, ["a", "a"])), [0])


def test_the_section_names_the_leader_of_every_trial() -> None:
    ranks = {"a": [1, 2, 1, 1], "b": [2, 1, 2, 2]}
    summary = {
        "trials": [3],
        "comparisons": [{"trial": 3, "methods": ["a", "b"], "p_values": [[1.0, 0.04], [0.04, 1.0]]}],
        "relative": {
            "a": {"rival": ["b"], "ratio": [0.5], "low": [0.4], "high": [None]},
            "b": {"rival": ["a"], "ratio": [None], "low": [None], "high": [None]},
        },
        "methods": {
            name: {
                "label": name.upper(),
                "average_rank": {"mean": rank},
                "mean_normalised_regret": {"mean": [0.1] * 4},
            }
            for name, rank in ranks.items()
        },
    }
    text = "\n".join(relative_section(summary))
    assert "Lowest average rank: B (trial 1), A (trials 2 to 3)." in text
    assert "0.50 p=0.04" in text
    assert relative_section({**summary, "relative": None}) == []

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diffhpo.errors import DataError, InputError
from diffhpo.hpob.results import Results, read_results
from diffhpo.study.aligned_runs import rank_rows
from diffhpo.study.comparison import compare
from diffhpo.study.stats import align, average_rank, mean_normalised_regret

stats = pytest.importorskip("scipy.stats")

METHODS = ["RS-C", "GP-C", "DGP-C", "OptFormer-EI", "Vizier"]


def results_of(values: dict[tuple[str, str, str], list[float]]) -> Results:
    results: Results = {}
    for (space, task, seed), curve in values.items():
        results.setdefault(space, {}).setdefault(task, {})[seed] = curve
    return results


#: Space A has two tasks and B one; every task has two seeds.
RUNS = [
    ("A", "1", "s0"),
    ("A", "1", "s1"),
    ("A", "2", "s0"),
    ("A", "2", "s1"),
    ("B", "3", "s0"),
    ("B", "3", "s1"),
]
HALF = results_of({key: [0.5, 1.0 - 0.1 * i] for i, key in enumerate(RUNS)})
LOW = results_of({key: [0.5, 1.0 - 0.05 * i - 0.1] for i, key in enumerate(RUNS)})


def random_results(rng: np.random.Generator, tasks: list[int], seeds: int = 2, points: int = 3) -> Results:
    return {
        f"s{i}": {
            f"t{j}": {f"r{k}": np.sort(rng.random(points)).tolist() for k in range(seeds)}
            for j in range(count)
        }
        for i, count in enumerate(tasks)
    }


# By hand ------------------------------------------------------------------------------------------


def test_regret_by_hand() -> None:
    # At entry 1 the regrets are 0 .1 | .2 .3 || .4 .5: task means .05 .25 || .45, spaces .15 .45.
    by_space = mean_normalised_regret({"m": HALF})
    np.testing.assert_allclose(by_space.of("m"), [0.5, 0.3], rtol=1e-14)
    np.testing.assert_allclose(by_space.per_space["A"][0], [0.5, 0.15], rtol=1e-14)
    by_run = mean_normalised_regret({"m": HALF}, weighting="run")
    np.testing.assert_allclose(by_run.of("m"), [0.5, 0.25], rtol=1e-14)
    for curves in (by_space, by_run):
        np.testing.assert_allclose(curves.per_space["A"][0], [0.5, 0.15], rtol=1e-14)
        np.testing.assert_allclose(curves.per_space["B"][0], [0.5, 0.45], rtol=1e-14)
    assert by_space.tasks == [("A", "1"), ("A", "2"), ("B", "3")]
    assert by_space.n_runs == 6


def test_rank_by_hand() -> None:
    # Regrets of HALF 0 .1 .2 .3 .4 .5, of LOW .1 .15 .2 .25 .3 .35: HALF wins 2, ties 1, loses 3.
    ranks = align({"half": HALF, "low": LOW}).ranks()
    np.testing.assert_array_equal(ranks[0, :, 1], [1, 1, 1.5, 2, 2, 2])
    np.testing.assert_array_equal(ranks[:, :, 0], np.full((2, 6), 1.5))
    by_run = average_rank({"half": HALF, "low": LOW}, weighting="run")
    np.testing.assert_allclose(by_run.mean[:, 1], [9.5 / 6, 8.5 / 6], rtol=1e-14)
    by_space = average_rank({"half": HALF, "low": LOW})
    np.testing.assert_allclose(by_space.mean[:, 1], [(5.5 / 4 + 2) / 2, (6.5 / 4 + 1) / 2], rtol=1e-14)
    np.testing.assert_allclose(by_space.per_space["B"][:, 1], [2, 1])


def test_ties_are_decided_after_rounding_to_8_decimals() -> None:
    def one(value: float) -> Results:
        return {"s": {"t": {"r": [value]}}}

    ranks = align({"a": one(0.7), "b": one(0.7 + 4e-9), "c": one(0.7 + 2e-8)}).ranks()
    assert ranks[:, 0, 0].tolist() == [2.5, 2.5, 1.0]


def test_interval_by_hand() -> None:
    # Space A has task means .05 .25 (variance .02), space B .15 .45 (variance .045), C .1 .2 .6 (.07).
    means = {"A": [0.05, 0.25], "B": [0.15, 0.45], "C": [0.1, 0.2, 0.6]}
    results = {s: {str(i): {"r": [1 - v]} for i, v in enumerate(m)} for s, m in means.items()}
    curves = mean_normalised_regret({"m": results})
    terms = np.array([0.02 / 2, 0.045 / 2, 0.07 / 3])
    freedom = terms.sum() ** 2 / (terms**2 / [1, 1, 2]).sum()
    half = stats.t.ppf(0.975, freedom) * np.sqrt(terms.sum()) / 3
    mean = (0.15 + 0.3 + 0.3) / 3
    np.testing.assert_allclose(curves.mean[0, 0], mean)
    np.testing.assert_allclose(curves.low[0, 0], max(0, mean - half))
    np.testing.assert_allclose(curves.high[0, 0], mean + half)


def test_interval_over_runs_is_the_usual_t_interval_of_task_means() -> None:
    rng = np.random.default_rng(0)
    results = random_results(rng, [4, 3, 2], seeds=3)
    curves = mean_normalised_regret({"m": results}, weighting="run")
    tasks = [
        1 - np.mean(list(seeds.values()), axis=0) for space in results.values() for seeds in space.values()
    ]
    low, high = stats.t.interval(0.95, 8, np.mean(tasks, axis=0), stats.sem(tasks, axis=0))
    np.testing.assert_allclose(curves.low[0], np.clip(low, 0, 1))
    np.testing.assert_allclose(curves.high[0], np.clip(high, 0, 1))


def test_what_was_computed_cannot_be_changed() -> None:
    results = {"half": HALF, "low": LOW}
    for found in (align(results), average_rank(results), compare(results)):
        with pytest.raises(FrozenInstanceError):
            found.methods = []  # type: ignore[misc]


def test_two_tasks_are_enough_for_an_interval_over_runs() -> None:
    results = {"A": {"1": {"r": [0.5]}}, "B": {"2": {"r": [0.52]}}}
    curves = mean_normalised_regret({"m": results}, weighting="run")
    half = stats.t.ppf(0.975, 1) * 0.02 / np.sqrt(2) / np.sqrt(2)
    np.testing.assert_allclose([curves.low[0, 0], curves.high[0, 0]], [0.49 - half, 0.49 + half])


def test_one_space_agrees_with_the_usual_t_interval_and_both_weightings() -> None:
    results = random_results(np.random.default_rng(1), [5])
    by_space, by_run = (mean_normalised_regret({"m": results}, weighting=w) for w in ("space", "run"))  # type: ignore[arg-type]
    for field in ("mean", "low", "high"):
        np.testing.assert_allclose(getattr(by_space, field), getattr(by_run, field))


def test_seeds_do_not_narrow_the_interval() -> None:
    few = {"A": {str(i): {"r0": [v]} for i, v in enumerate([0.2, 0.5, 0.7])}}
    many = {"A": {t: {f"r{k}": seeds["r0"] for k in range(50)} for t, seeds in few["A"].items()}}
    a, b = mean_normalised_regret({"m": few}), mean_normalised_regret({"m": many})
    np.testing.assert_allclose([a.low, a.high], [b.low, b.high])


def test_an_interval_that_cannot_be_estimated_is_nan() -> None:
    alone = {"A": {"1": {"r0": [0.5], "r1": [0.7]}}, "B": {"2": {"r0": [0.2]}}}
    assert np.isnan(mean_normalised_regret({"m": alone}).low).all()
    single = {"A": {"1": {"r0": [0.5], "r1": [0.7]}}}
    assert np.isnan(mean_normalised_regret({"m": single}, weighting="run").high).all()


def test_intervals_stay_within_what_is_possible() -> None:
    first = {"A": {str(i): {"r": [v]} for i, v in enumerate([1.0, 1.0, 1.0, 0.1])}}
    second = {"A": {str(i): {"r": [v]} for i, v in enumerate([0.0, 0.0, 0.0, 0.9])}}
    ranks = average_rank({"first": first, "second": second})
    np.testing.assert_allclose(ranks.mean[:, 0], [1.25, 1.75])
    assert (ranks.low[0, 0], ranks.high[1, 0]) == (1.0, 2.0)
    assert ranks.high[0, 0] < 2.25
    assert ranks.low[1, 0] > 0.75
    regret = mean_normalised_regret({"first": first, "second": second})
    assert (regret.low[0, 0], regret.high[1, 0]) == (0.0, 1.0)


def test_equal_tasks_have_an_interval_of_no_width() -> None:
    equal = {s: {t: {"r": [0.25]} for t in "123"} for s in "AB"}
    curves = mean_normalised_regret({"m": equal})
    assert (curves.low[0, 0], curves.mean[0, 0], curves.high[0, 0]) == (0.75, 0.75, 0.75)


def test_a_space_of_one_task_borrows_the_variance_of_the_others() -> None:
    results = {"A": {str(i): {"r": [v]} for i, v in enumerate([0.30, 0.31])}, "B": {"9": {"r": [0.5]}}}
    curves = mean_normalised_regret({"m": results})
    half = stats.t.ppf(0.975, 1) * np.sqrt(5e-5 / 2 + 5e-5) / 2
    np.testing.assert_allclose([curves.low[0, 0], curves.high[0, 0]], [0.5975 - half, 0.5975 + half])


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    # Tasks are normal within each of 5 spaces of 2 to 6 tasks; 2000 benchmarks at once as curve entries.
    rng = np.random.default_rng(2)
    sizes, truth = [2, 3, 6, 4, 2], np.array([0.3, 0.5, 0.4, 0.6, 0.45])
    results = {
        f"s{i}": {
            f"t{j}": {"r": (1 - truth[i] - 0.03 * rng.standard_normal(2000)).tolist()} for j in range(size)
        }
        for i, size in enumerate(sizes)
    }
    curves = mean_normalised_regret({"m": results})
    covered = (curves.low[0] <= truth.mean()) & (truth.mean() <= curves.high[0])
    # Welch-Satterthwaite is a little conservative here; 4 standard errors of 2000 draws are 0.02.
    assert 0.93 < covered.mean() < 0.985


# Against other implementations --------------------------------------------------------------------


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.integers(0, 4).map(float)
    )
)
def test_ranks_equal_those_of_scipy(values: np.ndarray) -> None:
    np.testing.assert_array_equal(rank_rows(values), stats.rankdata(values, method="average", axis=0))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.permutations([0, 1, 2]))
def test_means_do_not_depend_on_the_order_and_ranks_sum_up(seed: int, count: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    tasks = [1, 2, 3]
    results = {f"m{i}": random_results(rng, tasks) for i in range(count)}
    shuffled = {
        m: {s: dict(reversed(t.items())) for s, t in [list(r.items())[i] for i in order]}
        for m, r in results.items()
    }
    for statistic in (mean_normalised_regret, average_rank):
        for weighting in ("space", "run"):
            a, b = (statistic(r, weighting=weighting) for r in (results, shuffled))  # type: ignore[arg-type]
            for field in ("mean", "low", "high"):
                np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
            assert (a.low <= a.mean).all()
            assert (a.mean <= a.high).all()
    ranks = average_rank(results)
    np.testing.assert_allclose(ranks.mean.sum(axis=0), count * (count + 1) / 2)


def test_comparison_equals_that_of_scikit_posthocs() -> None:
    pandas = pytest.importorskip("pandas")
    posthocs = pytest.importorskip("scikit_posthocs")
    rng = np.random.default_rng(3)
    results = {f"m{i}": random_results(rng, [6, 7, 4]) for i in range(4)}
    results["m3"] = {
        s: {t: {r: [min(1.0, v + 0.3) for v in c] for r, c in seeds.items()} for t, seeds in tasks.items()}
        for s, tasks in results["m0"].items()
    }
    results["m2"]["s0"] = results["m0"]["s0"]  # six tied tasks
    found = compare(results, 1)
    table = pandas.DataFrame(found.regret.T, columns=found.methods)
    long = table.melt(var_name="method", value_name="regret")
    expected = posthocs.posthoc_wilcoxon(long, "regret", "method", p_adjust="holm", zero_method="pratt")
    np.testing.assert_allclose(found.p_values, expected.loc[found.methods, found.methods], rtol=1e-12)
    np.testing.assert_allclose(found.ranks, table.rank(axis=1).mean())
    assert found.friedman_p == stats.friedmanchisquare(*found.regret).pvalue
    assert found.p_value("m0", "m3") < 0.05
    wins = found.wins + found.wins.T
    assert (wins <= 17).all()
    assert found.wins[3, 0] == 17


def test_comparison_data_draw_a_critical_difference_diagram() -> None:
    pandas = pytest.importorskip("pandas")
    posthocs = pytest.importorskip("scikit_posthocs")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rng = np.random.default_rng(4)
    found = compare({f"m{i}": random_results(rng, [6, 7, 4]) for i in range(3)})
    drawn = posthocs.critical_difference_diagram(
        dict(zip(found.methods, found.ranks, strict=True)),
        pandas.DataFrame(found.p_values, found.methods, found.methods),
    )
    assert len(drawn["markers"]) == 3
    pyplot.close("all")


def test_comparison_of_equal_methods_finds_nothing() -> None:
    found = compare({"a": HALF, "b": HALF, "c": HALF})
    np.testing.assert_array_equal(found.p_values, np.ones((3, 3)))
    assert found.friedman_p == 1.0
    assert found.ranks.tolist() == [2.0, 2.0, 2.0]
    assert (found.wins == 0).all()
    assert np.isnan(compare({"a": HALF, "b": LOW}).friedman_p)


def test_entries_of_curves_are_counted_from_either_end() -> None:
    results = {"a": HALF, "b": LOW}
    for index, entry in ((-2, 0), (0, 0), (-1, 1), (1, 1)):
        found = compare(results, index)
        assert found.index == entry
        np.testing.assert_allclose(found.regret[1], [[0.5, 0.5, 0.5], [0.125, 0.225, 0.325]][entry])
    for beyond in (-3, 2, 3):
        with pytest.raises(InputError, match=f"index is {beyond}; the curves have 2 entries"):
            compare(results, beyond)
    assert compare(results).p_value("a", "b") == compare(results).p_values[0, 1]


def test_comparison_refuses_what_it_cannot_compare() -> None:
    with pytest.raises(InputError, match="1 method; a comparison needs two"):
        compare({"a": HALF})
    with pytest.raises(InputError, match="index is 2; the curves have 2 entries"):
        compare({"a": HALF, "b": LOW}, 2)
    with pytest.raises(InputError, match="'x' is not among a, b"):
        compare({"a": HALF, "b": LOW}).p_value("a", "x")
    one: Results = {"s": {"t": {"r": [0.5]}}}
    with pytest.raises(InputError, match="1 task; a comparison needs two"):
        compare({"a": one, "b": one})


# What is missing ----------------------------------------------------------------------------------


def without(results: Results, space: str, task: str, seed: str | None = None) -> Results:
    copy = {s: {t: dict(seeds) for t, seeds in tasks.items()} for s, tasks in results.items()}
    if seed is None:
        del copy[space][task]
    else:
        del copy[space][task][seed]
    return copy


@pytest.mark.parametrize("statistic", [mean_normalised_regret, average_rank, compare])
def test_missing_runs_are_listed_and_refused(statistic: Any) -> None:
    partial = without(without(LOW, "A", "1", "s1"), "B", "3")
    with pytest.raises(DataError) as caught:
        statistic({"half": HALF, "low": partial})
    message = str(caught.value)
    assert message.startswith("3 of 6 runs are missing")
    for run in ("A 1 s1 (low)", "B 3 s0 (low)", "B 3 s1 (low)"):
        assert run in message
    assert "allow_missing=True" in message


@pytest.mark.parametrize(("missing", "more"), [(20, ""), (21, " and 1 more"), (25, " and 5 more")])
def test_twenty_missing_runs_are_listed(missing: int, more: str) -> None:
    whole: Results = {"s": {f"t{i:02}": {"r": [0.5]} for i in range(30)}}
    partial: Results = {"s": {f"t{i:02}": {"r": [0.5]} for i in range(missing, 30)}}
    with pytest.raises(DataError) as caught:
        align({"whole": whole, "partial": partial})
    message = str(caught.value)
    assert message.startswith(
        f"{missing} of 30 runs are missing or shorter than 1 entries: s t00 r (partial); "
    )
    assert message.count("(partial)") == 20
    assert f"s t19 r (partial){more}; run them" in message


def test_methods_without_any_run_share_none() -> None:
    with pytest.raises(DataError, match="no run is shared by all of a, b"):
        align({"a": {}, "b": {}})


def test_missing_runs_are_left_out_for_all_methods_if_allowed() -> None:
    partial = without(LOW, "A", "1", "s1")
    found = mean_normalised_regret({"half": HALF, "low": partial}, allow_missing=True)
    assert found.dropped == {("A", "1", "s1"): ["low"]}
    assert found.n_runs == 5
    expected = mean_normalised_regret({"half": without(HALF, "A", "1", "s1"), "low": partial})
    np.testing.assert_array_equal(found.mean, expected.mean)
    with pytest.raises(DataError, match="no run is shared by all of half, other"):
        align({"half": HALF, "other": {"Z": {"1": {"s0": [0.5, 0.5]}}}}, allow_missing=True)


def test_runs_that_no_method_has_can_be_asked_for() -> None:
    with pytest.raises(DataError, match=re.escape("C 4 s0 (half)")):
        align({"half": HALF}, expected=[*RUNS, ("C", "4", "s0")])


def test_curves_of_different_lengths_need_a_number_of_points() -> None:
    short = {
        s: {t: {r: c[:1] for r, c in seeds.items()} for t, seeds in tasks.items()}
        for s, tasks in HALF.items()
    }
    with pytest.raises(DataError, match=r"different lengths \(half: 2 to 2; short: 1 to 1\); give n_points"):
        average_rank({"half": HALF, "short": short})
    assert average_rank({"half": HALF, "short": short}, n_points=1).mean.shape == (2, 1)
    with pytest.raises(DataError, match="6 of 6 runs are missing or shorter than 2 entries"):
        average_rank({"half": HALF, "short": short}, n_points=2)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="results has no method"):
        mean_normalised_regret({})
    with pytest.raises(InputError, match="n_points is 0"):
        mean_normalised_regret({"m": HALF}, n_points=0)
    with pytest.raises(InputError, match="weighting is 'task'; accepted: 'space', 'run'"):
        mean_normalised_regret({"m": HALF}, weighting="task")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'x' is not among m"):
        mean_normalised_regret({"m": HALF}).of("x")


# Published figures --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(data_directory: Path) -> dict[str, Results]:
    return {m: read_results(data_directory / "published-curves" / f"{m}.json") for m in METHODS}


@pytest.mark.parametrize(
    ("method", "regrets"),
    [
        ("RS-C", [0.0790, 0.0478, 0.0295, 0.0242]),
        ("GP-C", [0.0790, 0.0402, 0.0167, 0.0091]),
        ("DGP-C", [0.0790, 0.0406, 0.0226, 0.0105]),
        ("OptFormer-EI", [0.1500, 0.0081, 0.0049, 0.0024]),
        ("Vizier", [0.0790, 0.0441, 0.0312, 0.0128]),
    ],
)
def test_published_regret_of_space_5971(
    published: dict[str, Results], method: str, regrets: list[float]
) -> None:
    curves = mean_normalised_regret({method: published[method]})
    np.testing.assert_allclose(curves.per_space["5971"][0, [0, 10, 25, 50]], regrets, atol=5.1e-5)
    alone = mean_normalised_regret({method: {"5971": published[method]["5971"]}})
    np.testing.assert_array_equal(alone.mean, curves.per_space["5971"])


def test_published_rank_of_space_5971(published: dict[str, Results]) -> None:
    ranks = average_rank({m: published[m] for m in ("RS-C", "GP-C", "DGP-C")}).per_space["5971"][:, 50]
    np.testing.assert_allclose(ranks, [2.43, 1.72, 1.85], atol=0.005)


@pytest.mark.parametrize(
    ("method", "regrets"),
    [
        ("RS-C", [0.0871, 0.0744, 0.0629, 0.0535]),
        ("GP-C", [0.0794, 0.0506, 0.0405, 0.0331]),
        ("DGP-C", [0.0802, 0.0564, 0.0409, 0.0285]),
        ("OptFormer-EI", [0.0372, 0.0278, 0.0233, 0.0198]),
        ("Vizier", [0.0794, 0.0554, 0.0351, 0.0252]),
    ],
)
def test_published_regret_over_all_16_spaces(
    published: dict[str, Results], method: str, regrets: list[float]
) -> None:
    curves = mean_normalised_regret({method: published[method]})
    assert len(curves.tasks) == 86
    assert curves.n_runs == 430
    np.testing.assert_allclose(curves.of(method)[[10, 25, 50, 100]], regrets, atol=5.1e-5)


def test_published_ranks_equal_those_of_pandas_over_all_runs(published: dict[str, Results]) -> None:
    pandas = pytest.importorskip("pandas")
    runs = align(published)
    expected = np.mean(
        [pandas.DataFrame(runs.regret[:, i].round(8)).rank(axis=0) for i in range(len(runs.runs))], axis=0
    )
    np.testing.assert_allclose(average_rank(published, weighting="run").mean, expected)

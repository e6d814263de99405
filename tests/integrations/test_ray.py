# SPDX-License-Identifier: Apache-2.0
"""The Ray Tune searcher by its contract, without Ray running, and one small run of Tune."""

import json
import math
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Ray's own imports
    pytest.importorskip("ray.tune")
    from ray import tune
    from ray.tune.search import ConcurrencyLimiter, Searcher

from diffhpo import Optimizer
from diffhpo.errors import CheckpointError, InputError, InputWarning, SpaceError
from diffhpo.integrations.ray import DiffusionSearch
from diffhpo.integrations.ray_space import ray_space
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Space

CONFIG = {
    "optimizer": {"lr": tune.loguniform(1e-4, 1.0), "name": tune.choice(["sgd", "adam", "lion"])},
    "depth": tune.randint(1, 9),
    "epochs": 3,
}


def loss(config):
    return (
        math.log10(config["optimizer"]["lr"] / 0.05) ** 2
        + 0.1 * (config["depth"] - 4) ** 2
        + (config["optimizer"]["name"] != "adam")
    )


def searched(n, search=None, **options):
    """A search that was told n trials."""
    search = search or DiffusionSearch(CONFIG, "loss", "min", **options)
    for k in range(n):
        config = search.suggest(f"t{k}")
        search.on_trial_complete(f"t{k}", {"loss": loss(config), "other": 1.0})
    return search


def test_suggestions_are_nested_as_the_config_and_only_of_what_is_searched():
    config = DiffusionSearch(CONFIG, "loss", "min").suggest("a")
    assert set(config) == {"optimizer", "depth"}
    assert set(config["optimizer"]) == {"lr", "name"}


def test_it_is_the_optimizer_on_the_same_trials():
    search = searched(9, seed=3)
    optimizer = Optimizer(ray_space(CONFIG), seed=3, direction="minimize")
    for _ in range(9):
        (asked,) = optimizer.ask()
        p = asked.parameters
        nested = {"optimizer": {"lr": p["optimizer/lr"], "name": p["optimizer/name"]}, "depth": p["depth"]}
        optimizer.tell(asked, loss(nested))
    expected = optimizer.ask()[0].parameters
    found = search.suggest("next")
    assert (found["optimizer"]["lr"], found["depth"]) == (expected["optimizer/lr"], expected["depth"])


def test_the_mode_is_the_direction():
    low, high = (
        DiffusionSearch(
            {"x": tune.uniform(0, 1)},
            "y",
            mode,
            points_to_evaluate=[{"x": 0.2}, {"x": 0.8}],
            evaluated_rewards=[0.2, 0.8],
        )
        for mode in ("min", "max")
    )
    assert low._optimizer.best == ({"x": pytest.approx(0.2)}, 0.2)
    assert high._optimizer.best == ({"x": pytest.approx(0.8)}, 0.8)


@pytest.mark.parametrize(
    ("result", "error", "failed"),
    [
        ({"loss": 2.0}, False, False),
        ({"loss": float("nan")}, False, True),
        ({"other": 2.0}, False, True),
        ({}, False, True),
        (None, False, True),
        ({"loss": 2.0}, True, True),
        (None, True, True),
    ],
)
def test_a_trial_without_a_number_is_a_failure(result, error, failed):
    search = DiffusionSearch(CONFIG, "loss", "min")
    search.suggest("a")
    search.on_trial_result("a", {"other": 1.0})
    search.on_trial_complete("a", result, error=error)
    (trial,) = search._optimizer.trials
    assert (trial.failed, trial.value) == (failed, None if failed else 2.0)


def test_running_trials_are_pending_and_distinct():
    search = searched(6)
    waiting = [search.suggest(f"w{k}") for k in range(5)]
    assert len({str(config) for config in waiting}) == 5
    assert sum(trial.pending for trial in search._optimizer.trials) == 5
    assert search.suggest("w0") == waiting[0]


def test_a_finite_space_ends():
    search = DiffusionSearch({"x": tune.randint(0, 3)}, "y", "max")
    assert sorted(search.suggest(str(k))["x"] for k in range(3)) == [0, 1, 2]
    assert search.suggest("more") == Searcher.FINISHED


def test_points_to_evaluate_come_first_and_exactly():
    points = [
        {"optimizer": {"lr": 0.1 + 0.2, "name": "lion"}, "depth": 7, "epochs": 5},
        {"optimizer": {"lr": 0.01, "name": "sgd"}, "depth": 1},
    ]
    search = DiffusionSearch(CONFIG, "loss", "min", points_to_evaluate=points)
    assert search.suggest("a") == {"optimizer": {"lr": 0.1 + 0.2, "name": "lion"}, "depth": 7}
    assert search.suggest("b") == points[1]
    assert search.suggest("c") not in points
    with pytest.raises(SpaceError, match="depth"):
        DiffusionSearch(CONFIG, "loss", "min", points_to_evaluate=[{"depth": 99, "optimizer": {"lr": 0.1}}])


def test_evaluated_points_are_told():
    search = DiffusionSearch(CONFIG, "loss", "min")
    config = {"optimizer": {"lr": 0.1, "name": "sgd"}, "depth": 2, "epochs": 9}
    search.add_evaluated_point(config, 0.5)
    search.add_evaluated_point({**config, "depth": 3}, 0.7, error=True)
    search.add_evaluated_point({**config, "depth": 4}, float("nan"))
    search.add_evaluated_point({**config, "depth": 5}, 0.9, pruned=True)
    assert [trial.value for trial in search._optimizer.trials] == [0.5, None, None, 0.9]
    assert [trial.failed for trial in search._optimizer.trials] == [False, True, True, False]


def test_the_tuners_space_metric_and_mode_are_taken():
    search = DiffusionSearch()
    assert search.set_search_properties("loss", "min", CONFIG)
    assert set(search.suggest("a")) == {"optimizer", "depth"}
    assert not search.set_search_properties("loss", "min", CONFIG)
    own = DiffusionSearch(Space({"x": Float(0, 1)}))
    assert not own.set_search_properties("loss", "max", CONFIG)
    assert set(own.suggest("a")) == {"x"}
    assert (own.metric, own.mode) == ("loss", "max")


def test_conditional_spaces():
    space = Space(
        {"kind": Categorical(["a", "b"]), "a/x": Float(0, 1)}, conditions={"a/x": Condition("kind", ["a"])}
    )
    search = DiffusionSearch(space, "y", "max")
    for k in range(12):
        config = search.suggest(str(k))
        assert ("a" in config) == (config["kind"] == "a")
        search.on_trial_complete(str(k), {"y": float(k)})


@pytest.mark.parametrize("told", [0, 3, 12])
def test_a_restored_search_goes_on_as_if_nothing_had_happened(told, tmp_path):
    points = [
        {"optimizer": {"lr": 0.1 + 0.2, "name": "lion"}, "depth": 7},
        {"optimizer": {"lr": 0.02, "name": "lion"}, "depth": 7},
    ]

    def fresh():
        return DiffusionSearch(CONFIG, "loss", "min", points_to_evaluate=points, seed=1)

    search = searched(told, fresh())
    running = search.suggest("running")
    search.save(str(tmp_path / "state"))
    restored = fresh()
    restored.restore(str(tmp_path / "state"))
    assert restored.suggest("running") == running
    for one in (search, restored):
        one.on_trial_complete("running", {"loss": 0.25})
    assert [restored.suggest(f"n{k}") for k in range(3)] == [search.suggest(f"n{k}") for k in range(3)]


def test_a_search_is_restored_before_it_has_its_space(tmp_path):
    search = DiffusionSearch()
    search.set_search_properties("loss", "min", CONFIG)
    searched(7, search).save_to_dir(str(tmp_path), "session")
    restored = DiffusionSearch()
    restored.restore_from_dir(str(tmp_path))
    restored.set_search_properties("loss", "min", CONFIG)
    assert restored.suggest("next") == search.suggest("next")


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    path = str(tmp_path / "state")
    searched(3).save(path)
    for other in (
        DiffusionSearch({"x": tune.uniform(0, 1)}, "loss", "min"),
        DiffusionSearch(CONFIG, "accuracy", "min"),
        DiffusionSearch(CONFIG, "loss", "max"),
    ):
        with pytest.raises(CheckpointError):
            other.restore(path)
    for content in (b"", b"{}", b"[1]", b'{"version": 99}', b"\x80\x05"):
        (tmp_path / "state").write_bytes(content)
        with pytest.raises(CheckpointError, match="state"):
            searched(0).restore(path)
    with pytest.raises(CheckpointError, match="nowhere"):
        searched(0).restore(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": 3},
        {"optimizer": "not base64"},
        {"optimizer": "AAAA"},
        {"places": {"0": 10**9}},
        {"places": {"0": -1}},
        {"places": [1]},
        {"first": [99]},
        {"first": None},
    ],
    ids=str,
)
def test_a_damaged_checkpoint_is_refused_and_the_search_goes_on(change, tmp_path):
    path = tmp_path / "state"
    searched(3).save(str(path))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    search = searched(2)
    with pytest.raises(CheckpointError):
        search.restore(str(path))
    assert search.suggest("next") is not None


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (tune.uniform(-1, 2), Float(-1.0, 2.0)),
        (tune.quniform(0.1, 1.0, 0.1), Float(0.1, 1.0, step=0.1)),
        (tune.loguniform(1e-4, 1), Float(1e-4, 1.0, log=True)),
        (tune.randint(1, 9), Int(1, 8)),
        (tune.qrandint(4, 64, 8), Int(8, 64, step=8)),
        (tune.qrandint(4, 64, 1), Int(4, 64)),
        (tune.lograndint(1, 1000), Int(1, 999, log=True)),
        (tune.choice(["a", "b", 3]), Categorical(["a", "b", 3])),
        (tune.choice([[1, 2], [3]]), Categorical([[1, 2], [3]])),
        (tune.choice(["a"]), Constant("a")),
        (tune.randint(3, 4), Constant(3)),
    ],
)
def test_domains_become_parameters_with_their_values(domain, expected):
    parameter = ray_space({"p": domain, "other": tune.uniform(0, 1)}).parameters["p"]
    assert parameter == expected
    for _ in range(50):  # what Tune itself draws is of the parameter, up to rounding in the last places
        drawn = domain.sample()
        parameter.encode(round(drawn, 12) if isinstance(drawn, float) and domain.get_sampler() else drawn)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"p": tune.randn(0, 1)}, "'p' is Float with Normal.*accepted: tune.uniform"),
        ({"p": tune.qloguniform(1e-3, 1, 1e-3)}, "'p' is Float with LogUniform in steps of 0.001"),
        ({"p": tune.qlograndint(4, 64, 4)}, "'p' is Integer with LogUniform in steps of 4"),
        ({"p": tune.sample_from(lambda spec: 1)}, "'p' is Function"),
        ({"a": {"p": tune.grid_search([1, 2])}}, "'a/p' is a grid search"),
        ({"p": tune.choice([1, tune.uniform(0, 1)])}, "'p' is Categorical"),
        ({"p": tune.choice([1, 1])}, "'p': Categorical.*comes twice"),
        ({"p": tune.qrandint(9, 14, 8)}, "no multiple of 8"),
        ({"p": 3}, "nothing to search"),
        ({}, "nothing to search"),
    ],
)
def test_what_is_not_supported_is_named(config, message):
    with pytest.raises(SpaceError, match=message):
        DiffusionSearch(config, "loss", "min")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "minimize"}, "mode is 'minimize'"),
        ({"mode": ["min"], "metric": ["a"]}, "mode is"),
        ({"metric": ["a"]}, "metric is"),
        ({"seed": -1}, "seed is -1"),
        ({"evaluated_rewards": [1.0]}, "1 entries for 0 points_to_evaluate"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        DiffusionSearch(CONFIG, **{"metric": "loss", "mode": "min", **options})


def test_a_search_that_lacks_something_says_what():
    with pytest.raises(InputError, match="no space and no metric and no mode"):
        DiffusionSearch().suggest("a")
    with pytest.raises(InputError, match="the search has no mode;"):
        DiffusionSearch(CONFIG, "loss").suggest("a")


def test_a_trial_of_another_search_is_left_out():
    with pytest.warns(InputWarning, match="trial x was not suggested"):
        DiffusionSearch(CONFIG, "loss", "min").on_trial_complete("x", {"loss": 1.0})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_run_of_tune(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # on a busy machine nice workers hardly run
    monkeypatch.setenv("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")

    def train(config):  # local, so that it is sent by value: the workers do not import this module
        loss = config["depth"] + config["optimizer"]["lr"]
        tune.report({"loss": float("nan") if config["depth"] > 5 else loss})

    search = DiffusionSearch(seed=0)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        results = tune.Tuner(
            train,
            param_space=CONFIG,
            tune_config=tune.TuneConfig(
                search_alg=ConcurrencyLimiter(search, 2),
                metric="loss",
                mode="min",
                num_samples=6,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
        ).fit()
    finally:
        ray.shutdown()
    told = search._optimizer.trials
    assert len(results) == len(told) == 6
    for result in results:
        (trial,) = [t for t in told if t.parameters["optimizer/lr"] == result.config["optimizer"]["lr"]]
        assert trial.failed == (result.config["depth"] > 5)
        assert trial.failed or trial.value == result.metrics["loss"]
        assert result.config["epochs"] == 3
    restored = DiffusionSearch(CONFIG, "loss", "min", seed=0)
    restored.restore_from_dir(str(tmp_path / "run"))
    assert restored._optimizer.trials == told

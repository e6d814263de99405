# SPDX-License-Identifier: Apache-2.0
"""The Ax generation node: what it reads of experiments, and the arms that it gives."""

import pytest

pytest.importorskip("ax")

from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, DerivedParameterConfig, RangeParameterConfig
from ax.core.parameter import ChoiceParameter, FixedParameter, ParameterType, RangeParameter
from ax.core.parameter_constraint import ParameterConstraint
from ax.core.search_space import HierarchicalSearchSpace, SearchSpace
from ax.exceptions.core import SearchSpaceExhausted
from ax.generation_strategy.generation_strategy import GenerationStrategy

from diffhpo.errors import InputError, InputWarning, SpaceError
from diffhpo.integrations.ax import DiffusionGenerationNode
from diffhpo.integrations.ax_space import AxSpace
from diffhpo.space import Categorical, Condition, Constant, Float, Int, Ordinal

# Ax warns of its own future, and of pandas'.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ax.exceptions.core.AxWarning")
FLOAT, INT, STRING = ParameterType.FLOAT, ParameterType.INT, ParameterType.STRING
LR = RangeParameterConfig(name="lr", bounds=(1e-4, 1.0), parameter_type="float", scaling="log")
DEPTH = RangeParameterConfig(name="depth", bounds=(1, 8), parameter_type="int")
KIND = ChoiceParameterConfig(name="kind", values=["a", "b", "c"], parameter_type="str", is_ordered=False)


def client_of(*parameters, objective="-loss", constraints=None, seed=0, **options):
    client = Client()
    client.configure_experiment(parameters=list(parameters), parameter_constraints=constraints, name="test")
    if objective is not None:
        client.configure_optimization(objective=objective, **options)
    node = DiffusionGenerationNode(seed=seed)
    client.set_generation_strategy(GenerationStrategy(name="diffhpo", nodes=[node]))
    return client, node


def loss(parameters):
    return (parameters["lr"] - 0.1) ** 2 + (parameters["depth"] - 5) ** 2 + (parameters["kind"] != "b")


def next_arms(client, count=1):
    return [dict(parameters) for parameters in client.get_next_trials(count).values()]


def test_a_client_loop_minimises():
    client, _ = client_of(LR, DEPTH, KIND)
    values = []
    for _ in range(7):
        for index, parameters in client.get_next_trials(2).items():
            values.append(loss(parameters))
            client.complete_trial(index, raw_data={"loss": values[-1]})
    assert len({tuple(trial.arm.parameters.items()) for trial in client._experiment.trials.values()}) == 14
    assert sum(values[10:]) / 4 < 0.5 * sum(values[:5]) / 5
    best, prediction, _, _ = client.get_best_parameterization(use_model_predictions=False)
    assert prediction["loss"][0] == min(values)
    assert loss(best) == min(values)


def test_the_same_experiment_and_seed_give_the_same_arms():
    def arms(seed):
        client, _ = client_of(LR, DEPTH, KIND, seed=seed)
        for lr, depth, kind in [(0.1, 3, "a"), (0.3, 5, "b"), (0.01, 2, "c"), (0.5, 8, "a"), (0.9, 4, "b")]:
            parameters = {"lr": lr, "depth": depth, "kind": kind}
            index = client.attach_trial(parameters)
            client.complete_trial(index, raw_data={"loss": loss(parameters)})
        return next_arms(client, 3)

    assert arms(0) == arms(0)
    assert arms(0) != arms(1)


def test_a_client_that_was_saved_and_loaded_goes_on_as_if_nothing_had_happened(tmp_path):
    client, _ = client_of(LR, DEPTH, KIND, seed=3)
    for index, parameters in client.get_next_trials(6).items():
        client.complete_trial(index, raw_data={"loss": loss(parameters)})
    client.save_to_json_file(str(tmp_path / "client.json"))
    loaded = Client.load_from_json_file(str(tmp_path / "client.json"))
    assert next_arms(loaded, 2) == next_arms(client, 2)


def test_trials_are_told_by_their_status():
    client, node = client_of(LR, DEPTH, KIND, objective="score")
    statuses = ["value", "missing", "nan", "failed", "abandoned", "running", "early", "waiting"]
    for depth, status in enumerate(statuses, 1):
        index = client.attach_trial({"lr": 0.1, "depth": depth, "kind": "a"})
        if status == "value":
            client.complete_trial(index, raw_data={"score": 3.0})
        elif status == "missing":
            client.complete_trial(index, raw_data={"other": 3.0})
        elif status == "nan":
            client.complete_trial(index, raw_data={"score": float("nan")})
        elif status == "failed":
            client.mark_trial_failed(index)
        elif status == "abandoned":
            client.mark_trial_abandoned(index)
        elif status == "running":
            client.attach_data(index, raw_data={"score": 9.0}, progression=1)
        elif status == "early":
            client.attach_data(index, raw_data={"score": 1.0}, progression=1)
            client.attach_data(index, raw_data={"score": 2.0}, progression=2)
            client.mark_trial_early_stopped(index)
    experiment = client._experiment
    node.update_generator_state(experiment, experiment.lookup_data())
    told = {trial.parameters["depth"]: trial for trial in node._optimizer.trials}
    assert {depth: trial.value for depth, trial in told.items() if trial.value is not None} == {
        1: 3.0,
        7: 2.0,
    }
    assert [depth for depth, trial in told.items() if trial.failed] == [2, 3, 4, 5]
    assert [depth for depth, trial in told.items() if trial.pending] == [6, 8]


@pytest.mark.parametrize(
    ("objective", "expected"), [("score", 2.0), ("-score", -2.0), ("score - 3*other", -13.0)]
)
def test_the_objective_is_larger_is_better(objective, expected):
    client, node = client_of(LR, DEPTH, KIND, objective=objective)
    index = client.attach_trial({"lr": 0.1, "depth": 1, "kind": "a"})
    client.complete_trial(index, raw_data={"score": 2.0, "other": 5.0})
    node.update_generator_state(client._experiment, client._experiment.lookup_data())
    assert [trial.value for trial in node._optimizer.trials] == [expected]


def test_each_candidate_is_another_and_waiting_ones_are_not_repeated():
    client, node = client_of(DEPTH, ChoiceParameterConfig(name="k", values=[1, 2], parameter_type="int"))
    experiment = client._experiment
    node.update_generator_state(experiment, experiment.lookup_data())
    waiting = [{"depth": 1, "k": 1}, {"depth": 2, "k": 2}, {"depth": 2, "k": 2}]
    found = [node.get_next_candidate(waiting) for _ in range(14)]
    everything = [(depth, k) for depth in range(1, 9) for k in (1, 2)]
    assert sorted(tuple(p.values()) for p in found + waiting[:2]) == everything
    with pytest.raises(SearchSpaceExhausted, match="is a trial already"):
        node.get_next_candidate(waiting)


def test_arms_of_another_space_are_left_out_with_a_warning():
    client, node = client_of(LR, DEPTH, KIND)
    client._experiment.new_trial().add_arm(client._experiment.search_space.out_of_design_arm())
    with pytest.warns(InputWarning, match="1 arms are not of the experiment's search space"):
        node.update_generator_state(client._experiment, client._experiment.lookup_data())
    assert node._optimizer.trials == []


def test_constraints_hold():
    x, y = (RangeParameterConfig(name=n, bounds=(0.0, 1.0), parameter_type="float") for n in "xy")
    client, _ = client_of(x, y, constraints=["x + y <= 0.8", "y >= x"])
    for _ in range(4):
        for index, parameters in client.get_next_trials(2).items():
            assert parameters["x"] + parameters["y"] <= 0.8 + 1e-9
            assert parameters["y"] >= parameters["x"] - 1e-9
            client.complete_trial(index, raw_data={"loss": 1 - parameters["x"]})


def test_hierarchical_spaces_have_arms_of_the_active_parameters():
    kind = ChoiceParameterConfig(
        name="kind",
        values=["linear", "tree"],
        parameter_type="str",
        is_ordered=False,
        dependent_parameters={"linear": ["lr"], "tree": ["depth"]},
    )
    client, _ = client_of(kind, LR, DEPTH)
    kinds = set()
    for _ in range(4):
        for index, parameters in client.get_next_trials(2).items():
            other = {"linear": "lr", "tree": "depth"}[parameters["kind"]]
            assert set(parameters) == {"kind", other}
            kinds.add(parameters["kind"])
            client.complete_trial(index, raw_data={"loss": float(parameters[other])})
    assert kinds == {"linear", "tree"}


def test_derived_parameters_are_computed():
    double = DerivedParameterConfig(name="double", expression_str="2.0 * depth + 1.0", parameter_type="float")
    client, _ = client_of(DEPTH, LR, double)
    for index, parameters in client.get_next_trials(3).items():
        assert parameters["double"] == 2 * parameters["depth"] + 1
        client.complete_trial(index, raw_data={"loss": 1.0})
    assert next_arms(client)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (RangeParameter("p", FLOAT, 0.5, 2.0), Float(0.5, 2.0)),
        (RangeParameter("p", FLOAT, 1e-3, 2.0, log_scale=True), Float(1e-3, 2.0, log=True)),
        (RangeParameter("p", FLOAT, 0.0, 1.0, digits=1), Float(0.0, 1.0, step=0.1)),
        (RangeParameter("p", FLOAT, 0.05, 1.0, digits=1), Float(0.1, 1.0, step=0.1)),
        (RangeParameter("p", INT, 1, 9), Int(1, 9)),
        (RangeParameter("p", INT, 1, 90, log_scale=True), Int(1, 90, log=True)),
        (ChoiceParameter("p", INT, [1, 4, 16], is_ordered=True, sort_values=True), Ordinal([1, 4, 16])),
        (
            ChoiceParameter("p", STRING, ["a", "b", "c"], is_ordered=False, sort_values=False),
            Categorical(["a", "b", "c"]),
        ),
        (FixedParameter("p", FLOAT, 3.0), Constant(3.0)),
    ],
)
def test_parameters_become_those_of_the_space(given, expected):
    other = RangeParameter("other", FLOAT, 0.0, 1.0)
    assert AxSpace(SearchSpace([given, other])).space.parameters["p"] == expected


def test_dependents_become_conditions():
    parent = ChoiceParameter(
        "p",
        STRING,
        ["a", "b", "c"],
        is_ordered=False,
        sort_values=False,
        dependents={"a": ["x"], "b": ["fixed"]},
    )
    fixed = FixedParameter("fixed", INT, 3, dependents={3: ["y"]})
    leaves = [RangeParameter(name, FLOAT, 0.0, 1.0) for name in "xy"]
    space = AxSpace(HierarchicalSearchSpace([parent, fixed, *leaves])).space
    assert space.conditions == {
        "x": (Condition("p", ["a"]),),
        "fixed": (Condition("p", ["b"]),),
        "y": (Condition("fixed", [3]),),
    }
    found = {frozenset(configuration) for configuration in space.sample(40, seed=0)}
    assert found == {frozenset({"p", "x"}), frozenset({"p", "fixed", "y"}), frozenset({"p"})}


def test_digits_are_kept():
    space = AxSpace(SearchSpace([RangeParameter("p", FLOAT, 1e-3, 1.0, log_scale=True, digits=3)]))
    for configuration in space.space.sample(20, seed=0):
        assert round(found := space.parameterization(configuration)["p"], 3) == found


@pytest.mark.parametrize(
    ("parameters", "constraints", "message"),
    [
        ([RangeParameter("p", FLOAT, 0.1, 0.9, logit_scale=True)], [], "'p' has a logit scale"),
        ([RangeParameter("p", FLOAT, 0.1, 0.9, is_fidelity=True, target_value=0.9)], [], "'p' is a fidelity"),
        (
            [RangeParameter(n, FLOAT, 0.0, 1.0) for n in "pq"],
            [ParameterConstraint(equality="p + q == 1")],
            "is an equality",
        ),
    ],
)
def test_what_is_not_supported_is_named(parameters, constraints, message):
    with pytest.raises(SpaceError, match=message):
        AxSpace(SearchSpace(parameters, constraints))


@pytest.mark.parametrize(
    ("objective", "options", "message"),
    [
        (None, {}, "no optimization_config"),
        ("score, -loss", {}, "several objectives"),
        ("score", {"outcome_constraints": ["cost <= 1.0"]}, "outcome constraints"),
    ],
)
def test_experiments_that_are_not_supported_are_named(objective, options, message):
    client, node = client_of(LR, DEPTH, KIND, objective=objective, **options)
    with pytest.raises(InputError, match=message):
        node.update_generator_state(client._experiment, client._experiment.lookup_data())


def test_a_node_that_was_not_told_says_so():
    with pytest.raises(InputError, match="before update_generator_state"):
        DiffusionGenerationNode().get_next_candidate([])
    with pytest.raises(InputError, match="seed is -1"):
        DiffusionGenerationNode(seed=-1)

# SPDX-License-Identifier: Apache-2.0
"""Groups of parameters and their conditions, read off trials."""

import pytest

optuna = pytest.importorskip("optuna", minversion="4.0")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.search_space.group_decomposed import _SearchSpaceGroup  # noqa: E402
from optuna.trial import create_trial  # noqa: E402

from diffhpo.integrations.optuna.groups import decompose, newest_distributions  # noqa: E402
from diffhpo.space import Condition  # noqa: E402

RANGES = {
    "kind": CategoricalDistribution(["linear", "tree", "net"]),
    "layers": IntDistribution(1, 8),
    "penalty": FloatDistribution(0, 1),
    "depth": IntDistribution(1, 9),
    "share": FloatDistribution(0, 1),
    "wide": FloatDistribution(0, 1),
    "other": FloatDistribution(0, 1),
}


def trials_of(*rows):
    return [
        create_trial(value=0.0, params=row, distributions={name: RANGES[name] for name in row})
        for row in rows
    ]


def groups_of(*rows):
    trials = trials_of(*rows)
    return decompose(trials, newest_distributions(trials))


def conditions_of(*rows):
    (group,) = groups_of(*rows)
    return {name: (c.parent, list(c.values)) for name, c in group.conditions.items()}


def test_parameters_of_every_trial_are_one_group_without_conditions():
    (group,) = groups_of({"depth": 1, "share": 0.5}, {"depth": 2, "share": 0.1})
    assert list(group.distributions) == ["depth", "share"]
    assert group.conditions == {}


def test_branches_of_a_choice():
    assert conditions_of(
        {"kind": "linear", "penalty": 0.5}, {"kind": "tree", "depth": 3}, {"kind": "tree", "depth": 4}
    ) == {"penalty": ("kind", [0]), "depth": ("kind", [1])}


def test_branches_in_branches():
    assert conditions_of(
        {"kind": "tree", "depth": 2},
        {"kind": "tree", "depth": 8, "share": 0.5},
        {"kind": "linear"},
    ) == {"depth": ("kind", [1]), "share": ("depth", [5, 6, 7, 8, 9])}


def test_a_number_of_layers_tells_which_layers_there_are_unseen_ones_by_the_nearest():
    assert conditions_of(
        {"layers": 1, "penalty": 0.1},
        {"layers": 2, "penalty": 0.1, "share": 0.2},
        {"layers": 6, "penalty": 0.1, "share": 0.2, "wide": 0.3},
    ) == {"share": ("layers", [2, 3, 4, 5, 6, 7, 8]), "wide": ("layers", [4, 5, 6, 7, 8])}


def test_the_nearest_parent_is_taken():
    """Both tell of `share`; `depth` is the inner branch."""
    rows = [
        {"kind": "tree", "depth": 8, "share": 0.5},
        {"kind": "linear"},
        {"kind": "net", "depth": 2},
    ]
    assert conditions_of(*rows)["share"][0] == "depth"


def test_what_no_parameter_tells_of_is_a_group_of_its_own():
    groups = groups_of(
        {"kind": "tree"}, {"kind": "tree", "share": 0.5}, {"kind": "linear"}, {"kind": "linear", "share": 0.1}
    )
    assert [list(group.distributions) for group in groups] == [["kind"], ["share"]]


def test_groups_are_optunas_groups_where_nothing_tells_of_them():
    rows = [
        {"penalty": 0.1, "share": 0.2},
        {"share": 0.1, "wide": 0.7, "other": 0.2},
        {"penalty": 0.3, "share": 0.2, "wide": 0.1, "other": 0.1},
        {"other": 0.5, "wide": 0.4},
    ]
    theirs = _SearchSpaceGroup()
    for trial in trials_of(*rows):
        theirs.add_distributions(trial.distributions)
    ours = [set(group.distributions) for group in groups_of(*rows)]
    assert sorted(map(sorted, ours)) == sorted(sorted(space) for space in theirs.search_spaces)


def test_too_many_columns_are_not_joined(monkeypatch):
    from diffhpo.integrations.optuna import groups as optuna_groups

    rows = [{"kind": "linear", "penalty": 0.5}, {"kind": "tree", "depth": 3}]
    monkeypatch.setattr(optuna_groups, "MAX_DIM", 4)  # kind has 3 columns, with both branches 5
    assert [list(group.distributions) for group in groups_of(*rows)] == [["depth"], ["kind"], ["penalty"]]
    monkeypatch.setattr(optuna_groups, "MAX_DIM", 5)
    assert len(groups_of(*rows)) == 1


def test_parameters_that_no_trial_has_are_one_group():
    groups = decompose([], {"b": RANGES["share"], "a": RANGES["depth"]})
    assert [list(group.distributions) for group in groups] == [["a", "b"]]


def test_the_latest_range_counts_and_single_values_are_left_out():
    old, new, one = FloatDistribution(0, 1), FloatDistribution(0, 2), FloatDistribution(3, 3)
    trials = [
        create_trial(value=0.0, params={"x": 0.5, "y": 3.0}, distributions={"x": given, "y": one})
        for given in (old, new)
    ]
    assert newest_distributions(trials) == {"x": new}


def test_active_names_follow_the_chain_of_conditions():
    (group,) = groups_of(
        {"kind": "tree", "depth": 2}, {"kind": "tree", "depth": 8, "share": 0.5}, {"kind": "linear"}
    )
    assert group.names_active({"kind": 1, "depth": 7, "share": 0.1}) == {"kind", "depth", "share"}
    assert group.names_active({"kind": 1, "depth": 2, "share": 0.1}) == {"kind", "depth"}
    assert group.names_active({"kind": 0, "depth": 7, "share": 0.1}) == {"kind"}
    assert group.conditions["depth"] == Condition("kind", [1])

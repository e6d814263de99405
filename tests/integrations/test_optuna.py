# SPDX-License-Identifier: Apache-2.0
"""The Optuna sampler: seeds, workers, failed and pruned trials, constraints, conditional spaces."""

import json
import math
import pickle
import random
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna", minversion="4.0")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState, create_trial  # noqa: E402

from diffhpo import errors  # noqa: E402
from diffhpo.integrations.optuna import DiffusionSampler, sampler  # noqa: E402
from diffhpo.integrations.optuna.memory import Memory  # noqa: E402
from diffhpo.integrations.optuna.trials import (  # noqa: E402
    PROPOSAL,
    proposal,
    proposal_attributes,
    values_of,
)

optuna.logging.set_verbosity(optuna.logging.ERROR)


def mixed(trial):
    x = trial.suggest_float("x", -5, 5)
    rate = trial.suggest_float("rate", 1e-5, 1, log=True)
    steps = trial.suggest_int("steps", 1, 9, step=2)
    part = trial.suggest_float("part", 0, 1, step=0.25)
    kind = trial.suggest_categorical("kind", ["a", None, True, 1.5])
    return x**2 + abs(math.log10(rate) + 2) + steps * part + (kind is None)


def conditional(trial):
    if trial.suggest_categorical("kind", ["linear", "tree"]) == "linear":
        return 1 + trial.suggest_float("penalty", -1, 1) ** 2
    depth = trial.suggest_int("depth", 1, 8)
    if depth > 4:
        return (depth - 6) ** 2 / 10 + (trial.suggest_float("share", 0, 1) - 0.3) ** 2
    return 2.0 + depth / 10


def study_of(objective, n_trials, seed=0, **settings):
    study = optuna.create_study(sampler=DiffusionSampler(seed=seed, **settings))
    study.optimize(objective, n_trials=n_trials)
    return study


def parameters(study):
    return [trial.params for trial in study.trials]


def add(study, distributions, rows):
    """Finished trials: (parameters, value or keywords of create_trial)."""
    for values, rest in rows:
        rest = rest if isinstance(rest, dict) else {"value": rest}
        own = {name: distributions[name] for name in values}
        study.add_trial(create_trial(params=values, distributions=own, **rest))


# Seeds and resuming


def test_same_seed_same_trials_and_another_seed_others():
    assert parameters(study_of(mixed, 8)) == parameters(study_of(mixed, 8))
    assert parameters(study_of(mixed, 8)) != parameters(study_of(mixed, 8, seed=1))


def test_values_are_python_scalars_of_the_distribution():
    for values in parameters(study_of(mixed, 9)):
        assert type(values["x"]) is float
        assert type(values["rate"]) is float
        assert type(values["steps"]) is int
        assert values["steps"] in (1, 3, 5, 7, 9)
        assert values["part"] in (0, 0.25, 0.5, 0.75, 1)
        assert values["kind"] in ("a", None, True, 1.5)


def test_a_study_goes_on_in_another_process_as_it_would_have(tmp_path):
    whole = study_of(mixed, 9)
    journal = str(tmp_path / "journal")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(journal))
    begun = optuna.create_study(study_name="s", storage=storage, sampler=DiffusionSampler(seed=0))
    begun.optimize(mixed, n_trials=6)
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import optuna
from test_optuna import mixed
from diffhpo.integrations.optuna import DiffusionSampler
storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(sys.argv[1]))
study = optuna.load_study(study_name="s", storage=storage, sampler=DiffusionSampler(seed=0))
study.optimize(mixed, n_trials=3)
"""
    subprocess.run([sys.executable, "-c", script, journal], check=True)
    assert parameters(begun) == parameters(whole)


def test_memory_of_a_sampler_changes_nothing():
    study = study_of(conditional, 10)
    warm = study.sampler.sample_relative(study, _new_trial(study), study_space(study))
    study.sampler = DiffusionSampler(seed=0)
    trial = _new_trial(study)
    # The number has moved on by one, and the trial before is running with its proposal.
    cold = study.sampler.sample_relative(study, trial, study_space(study))
    other = optuna.create_study(sampler=DiffusionSampler(seed=0))
    other.add_trials([t for t in study.trials if t.state.is_finished()])
    assert other.sampler.sample_relative(other, _new_trial(other), study_space(other)) == warm
    assert cold != warm


def _new_trial(study):
    return study._storage.get_trial(study._storage.create_new_trial(study._study_id))


def study_space(study):
    return study.sampler.infer_relative_search_space(study, None)


def test_the_memory_keeps_finished_trials_only():
    memory, study = Memory(), optuna.create_study()
    trial = study.ask()
    trial.suggest_int("a", 0, 5)
    assert memory.values(study._storage, 0, study.trials[0]) == {"a": trial.params["a"]}
    trial.suggest_int("b", 0, 5)
    study.tell(trial, 1.0)
    assert memory.values(study._storage, 0, study.trials[0]) == study.trials[0].params


def test_trials_that_see_the_same_draw_differently():
    study = study_of(mixed, 6)
    space = study_space(study)
    first = study.sampler.sample_relative(study, _new_trial(study), space)
    again = study_of(mixed, 6)
    again.add_trial(create_trial(state=TrialState.FAIL))  # takes a number, and says nothing
    assert again.sampler.sample_relative(again, _new_trial(again), space) != first


def test_reseeding_changes_nothing():
    first, second = study_of(mixed, 6), study_of(mixed, 6)
    second.sampler.reseed_rng()
    for study in (first, second):
        study.optimize(mixed, n_trials=2)
    assert parameters(first) == parameters(second)


def test_a_sampler_is_pickled_with_its_seed():
    study = study_of(mixed, 6)
    copy = pickle.loads(pickle.dumps(study.sampler))
    assert (copy.seed, copy.n_startup_trials) == (0, 5)


def test_without_a_seed_samplers_differ():
    assert DiffusionSampler().seed != DiffusionSampler().seed


# The first trials


def test_the_first_trials_are_a_latin_hypercube_whatever_the_values():
    def level(x):
        return int(x * 5)

    for objective in (lambda t: t.suggest_float("x", 0, 1), lambda t: -t.suggest_float("x", 0, 1)):
        study = study_of(objective, 5)
        assert sorted(level(values["x"]) for values in parameters(study)) == [0, 1, 2, 3, 4]
    assert parameters(study_of(lambda t: t.suggest_float("x", 0, 1), 5)) == parameters(study)


def test_two_parameters_have_orders_of_their_own():
    study = study_of(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), 5)
    assert [int(5 * t.params["x"]) for t in study.trials] != [int(5 * t.params["y"]) for t in study.trials]


# It searches


def test_it_finds_a_better_value_than_random_search():
    def bowl(trial):
        return sum((trial.suggest_float(f"p{k}", 0, 1) - 0.3) ** 2 for k in range(3))

    best, rivals = [], []
    for seed in range(3):
        best.append(study_of(bowl, 25, seed=seed).best_value)
        rival = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        rival.optimize(bowl, n_trials=25)
        rivals.append(rival.best_value)
    assert max(best) < min(rivals)


def test_it_maximises_too():
    study = optuna.create_study(direction="maximize", sampler=DiffusionSampler(seed=0))
    study.optimize(lambda t: -((t.suggest_float("x", 0, 1) - 0.2) ** 2), n_trials=15)
    assert study.best_value > -1e-3


# Workers


def test_a_worker_that_meets_others_again_and_again_steps_aside(monkeypatch):
    """New workers take the best of what is left, so one that always takes that too meets one each time."""
    study = optuna.create_study(sampler=DiffusionSampler(seed=0))
    objective = lambda t: t.suggest_int("a", 0, 5) + t.suggest_int("b", 0, 5)  # noqa: E731
    study.optimize(objective, n_trials=8)
    own, others, best = sampler.propose, sampler._others, []

    def noting(view, distributions, attempt=0, rank=0):
        best.append(own(view, distributions, attempt, 0)[0])
        return own(view, distributions, attempt, rank)

    def with_a_newer_worker(study, trial):
        found = others(study, trial)
        if f"{PROPOSAL}:{len(best) - 1}:0" in study._storage.get_trial_system_attrs(trial._trial_id):
            newer = create_trial(state=TrialState.RUNNING, system_attrs=proposal_attributes(best[-1], 0))
            newer.number = trial.number + 1
            found.append(newer)
        return found

    monkeypatch.setattr(sampler, "propose", noting)
    monkeypatch.setattr(sampler, "_others", with_a_newer_worker)
    study.optimize(objective, n_trials=1)
    assert 1 < len(best) <= sampler.REDRAWS
    assert study.trials[-1].params != best[-1]


def test_threads_get_distinct_configurations():
    study = optuna.create_study(sampler=DiffusionSampler(seed=0))
    study.optimize(lambda t: t.suggest_int("a", 0, 5) + t.suggest_int("b", 0, 5), n_trials=24, n_jobs=4)
    seen = [tuple(t.params.items()) for t in study.trials if t.number >= 8]
    assert len(set(seen)) == len(seen)
    assert all(t.state == TrialState.COMPLETE for t in study.trials)


def test_workers_that_suggest_the_same_at_once_draw_again(monkeypatch):
    from diffhpo.integrations.optuna import sampler as module

    study = study_of(lambda t: t.suggest_int("a", 0, 11), 6)
    trials = [_new_trial(study) for _ in range(3)]
    space = study_space(study)
    free = min(set(range(12)) - {t.params["a"] for t in study.trials if t.params})
    written = threading.Barrier(3, timeout=30)
    propose, write = module.propose, study._storage.set_trial_system_attr

    def all_the_same(view, distributions, attempt, rank):
        return propose(view, distributions, attempt, rank) if attempt else ({"a": free}, False)

    def write_then_wait(trial_id, key, value):
        write(trial_id, key, value)
        if key == "diffhpo:proposal:0:0":
            written.wait()

    monkeypatch.setattr(module, "propose", all_the_same)
    monkeypatch.setattr(study._storage, "set_trial_system_attr", write_then_wait)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda trial: study.sampler.sample_relative(study, trial, space)["a"], trials))
    assert len(set(found)) == 3
    assert {t.params["a"] for t in study.trials if t.params}.isdisjoint(found)


def test_running_trials_are_pending():
    study = study_of(lambda t: t.suggest_int("a", 0, 9), 6)
    asked = [study.ask() for _ in range(4)]
    values = [trial.suggest_int("a", 0, 9) for trial in asked]
    told = [trial.params["a"] for trial in study.trials[:6]]
    assert len(set(values)) == 4
    assert set(values).isdisjoint(told)


def test_a_running_trial_that_has_not_asked_for_all_parameters_is_known_by_its_proposal():
    def grid(trial):
        return trial.suggest_int("a", 0, 2) + trial.suggest_int("b", 0, 2)

    study = study_of(grid, 6)
    half = study.ask()
    half.suggest_int("a", 0, 2)  # b is not asked for yet
    others = [study.ask() for _ in range(2)]
    seen = [(t.suggest_int("a", 0, 2), t.suggest_int("b", 0, 2)) for t in others]
    seen.append((half.suggest_int("a", 0, 2), half.suggest_int("b", 0, 2)))
    assert len({*seen, *(tuple(t.params.values()) for t in study.trials[:6])}) == 9


def test_enqueued_trials_are_taken_and_not_proposed_again():
    study = study_of(lambda t: t.suggest_int("a", 0, 8), 6)
    missing = sorted(set(range(9)) - {t.params["a"] for t in study.trials})
    study.enqueue_trial({"a": missing[0]})
    study.enqueue_trial({"a": missing[1]})
    first = study.ask()
    assert first.suggest_int("a", 0, 8) == missing[0]
    study.optimize(lambda t: t.suggest_int("a", 0, 8), n_trials=2)
    assert {t.params["a"] for t in study.trials} == set(range(9))


def test_processes_on_one_journal_lose_nothing_and_repeat_nothing(tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import optuna
from test_optuna import mixed
from diffhpo.integrations.optuna import DiffusionSampler
optuna.logging.set_verbosity(optuna.logging.ERROR)
storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(sys.argv[1]))
study = optuna.load_study(study_name="s", storage=storage, sampler=DiffusionSampler(seed=0))
study.optimize(mixed, n_trials=4)
"""
    journal = str(tmp_path / "journal")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(journal))
    study = optuna.create_study(study_name="s", storage=storage)
    workers = [subprocess.Popen([sys.executable, "-c", script, journal]) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    trials = study.trials
    assert [t.number for t in trials] == list(range(16))
    assert all(t.state == TrialState.COMPLETE for t in trials)
    assert len({tuple(t.params.items()) for t in trials}) == 16


def test_a_relational_storage_takes_long_proposals(tmp_path):
    def wide(trial):
        return sum(
            trial.suggest_float("a rather long name of a parameter " * 3 + str(k), 0, 1) for k in range(20)
        )

    study = optuna.create_study(
        storage=f"sqlite:///{tmp_path}/study.db", sampler=DiffusionSampler(seed=0, n_startup_trials=2)
    )
    study.optimize(wide, n_trials=4)
    attributes = study.trials[-1].system_attrs
    assert len([key for key in attributes if key.startswith("diffhpo:proposal:0:")]) >= 2
    whole = json.loads("".join(attributes[f"diffhpo:proposal:0:{k}"] for k in range(len(attributes))))
    assert whole == study.trials[-1].params


# Failed, pruned, infeasible


def test_nan_and_failures_are_not_proposed_again():
    def fragile(trial):
        a = trial.suggest_int("a", 0, 9)
        return float("nan") if a % 2 else a

    study = study_of(fragile, 10)
    assert sorted(t.params["a"] for t in study.trials) == list(range(10))
    assert sum(t.state == TrialState.FAIL for t in study.trials) == 5


def test_the_model_is_told_which_trials_failed_and_which_are_pending(monkeypatch):
    from diffhpo.integrations.optuna import proposal as optuna_proposal

    told = []
    tell = optuna_proposal.Optimizer.tell
    monkeypatch.setattr(
        optuna_proposal.Optimizer, "tell", lambda self, trials: (told.append(trials), tell(self, trials))
    )
    study = study_of(lambda t: float("nan") if t.number == 2 else t.suggest_float("x", 0, 1), 5)
    study.optimize(lambda t: float("nan") if t.suggest_float("x", 0, 1) > -1 else 0.0, n_trials=1)
    study.ask().suggest_float("x", 0, 1)
    study.ask().suggest_float("x", 0, 1)
    assert [(trial.failed, trial.pending) for trial in told[-1]] == [
        *[(False, False)] * 4,  # trial 2 failed before it had a parameter
        (True, False),
        (False, True),
    ]
    assert [trial.value for trial in told[-1][:4]] == [-t.value for t in study.trials if t.value is not None]


def test_pruned_trials_count_with_their_last_value():
    x = {"x": FloatDistribution(0, 1)}
    places = [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95]

    def near_the_best(rows):
        study = optuna.create_study(sampler=DiffusionSampler(seed=0))
        add(study, x, rows)
        return study.ask(x).params["x"]

    complete = [({"x": p}, (p - 0.65) ** 2) for p in places]
    pruned = [
        ({"x": p}, {"state": TrialState.PRUNED, "intermediate_values": {1: 9.0, 5: (p - 0.65) ** 2}})
        for p in places
    ]
    assert near_the_best(pruned) == near_the_best(complete)
    assert abs(near_the_best(pruned) - 0.65) < 0.15


def pruned(reports, **rest):
    return create_trial(state=TrialState.PRUNED, intermediate_values=reports, **rest)


def test_pruned_trials_stand_below_those_that_got_further():
    trials = [create_trial(value=1.0), create_trial(value=3.0)]  # minimised
    trials += [pruned({9: 2.0}), pruned({3: 0.5}), pruned({9: 4.0}), pruned({3: 5.0})]
    assert values_of(trials, sign=-1.0) == [-1.0, -3.0, -3.0, -4.0, -4.0, -5.0]


def test_the_order_of_pruned_trials_is_optunas():
    """Sorted by our value, no trial stands before one that Optuna's TPE puts before it."""
    from optuna.samplers._tpe.sampler import _get_pruned_trial_score

    study = optuna.create_study()
    rng = random.Random(0)
    trials = [pruned({s: rng.random() for s in range(1, rng.randint(2, 5))}) for _ in range(40)]
    theirs = sorted(trials, key=lambda t: _get_pruned_trial_score(t, study))
    ours = values_of(theirs, sign=-1.0)
    assert ours == sorted(ours, reverse=True)


def test_infeasible_and_infinite_values_do_not_bound_pruned_ones():
    trials = [
        create_trial(value=1.0),
        create_trial(value=math.inf),
        create_trial(value=9.0, system_attrs={"constraints": [1.0]}),
        pruned({3: 4.0}),
    ]
    values = values_of(trials, sign=-1.0)
    assert values[:2] == [-1.0, -math.inf]
    assert values[3] == -4.0
    assert values[2] < -4.0


def test_a_proposal_that_is_being_written_counts_as_none():
    values = {f"p{k}": 0.5 for k in range(500)}
    attributes = proposal_attributes(values, 1)
    assert len(attributes) > 2
    assert max(map(len, attributes.values())) <= 2045
    whole = create_trial(value=0.0, system_attrs={**proposal_attributes({"p0": 0.1}, 0), **attributes})
    assert proposal(whole) == values
    attributes.popitem()
    part = create_trial(value=0.0, system_attrs={**proposal_attributes({"p0": 0.1}, 0), **attributes})
    assert proposal(part) == {}


@pytest.mark.parametrize("reports", [{}, {3: float("nan")}])
def test_a_pruned_trial_without_a_value_counts_as_failed(reports):
    study = study_of(lambda t: t.suggest_int("a", 0, 8), 6)
    free = sorted(set(range(9)) - {t.params["a"] for t in study.trials})
    distribution = {"a": IntDistribution(0, 8)}
    add(study, distribution, [({"a": free[0]}, {"state": TrialState.PRUNED, "intermediate_values": reports})])
    assert {study.ask(distribution).params["a"] for _ in range(2)} == set(free[1:])


def test_infeasible_trials_stand_below_feasible_ones():
    """The best values are infeasible: the model must look where trials are feasible."""

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("c", 0.5 - x)
        return x

    study = study_of(objective, 20, constraints_func=lambda trial: [trial.user_attrs["c"]])
    late = [t.params["x"] for t in study.trials[10:]]
    assert sum(x >= 0.45 for x in late) >= 7
    feasible = [t.value for t in study.trials if t.params["x"] >= 0.5]
    assert min(feasible) < 0.53
    assert all(t.system_attrs["constraints"] == [t.user_attrs["c"]] for t in study.trials)


@pytest.mark.skipif(not hasattr(optuna.trial.Trial, "set_constraint"), reason="Optuna 5 has it")
def test_constraints_set_in_the_objective_count_alike():
    def by_trial(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.set_constraint("c", 0.5 - x)
        return x

    def by_function(trial):
        return trial.suggest_float("x", 0, 1)

    function = study_of(by_function, 9, constraints_func=lambda trial: [0.5 - trial.params["x"]])
    assert parameters(study_of(by_trial, 9)) == parameters(function)


@pytest.mark.parametrize("wrong", [[float("nan")], 1.0, ["much"], None])
def test_constraints_that_are_no_numbers_are_named(wrong):
    study = optuna.create_study(sampler=DiffusionSampler(constraints_func=lambda trial: wrong))
    with pytest.raises(errors.InputError, match="constraints_func returned"):
        study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=1)


# Dynamic and conditional spaces


def test_a_conditional_space_is_searched_without_falling_back():
    with warnings.catch_warnings():
        warnings.simplefilter("error", errors.IndependentSamplingWarning)
        study = optuna.create_study(sampler=DiffusionSampler(seed=0, n_startup_trials=8))
        study.optimize(conditional, n_trials=30)
    assert study.best_value < 0.05


def test_a_parameter_that_comes_late_is_told_once_and_then_modelled():
    def grows(trial):
        value = trial.suggest_float("x", 0, 1)
        if trial.number >= 7:
            value += trial.suggest_float("late", 0, 1)
        return value

    with pytest.warns(
        errors.IndependentSamplingWarning, match="'late' of trial 7 .* no finished trial has it"
    ):
        study = study_of(grows, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.optimize(grows, n_trials=3)
    proposed = json.loads(study.trials[-1].system_attrs["diffhpo:proposal:0:0"])
    assert proposed["late"] == study.trials[-1].params["late"]


def test_a_range_that_moves_is_followed():
    study = study_of(lambda t: t.suggest_float("x", 0, 1), 6)
    with pytest.warns(errors.IndependentSamplingWarning, match="its range is"):
        study.optimize(lambda t: t.suggest_float("x", 5, 6), n_trials=2)
    study.optimize(lambda t: t.suggest_float("x", 5, 6), n_trials=6)
    assert all("diffhpo:proposal:0:0" in t.system_attrs for t in study.trials[7:])
    assert min(t.params["x"] for t in study.trials[7:]) < 5.1


def test_a_range_that_always_moves_is_told_once():
    study = study_of(lambda t: t.suggest_float("x", 0, 1), 6)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for low in (5, 15, 25):
            study.optimize(lambda t, low=low: t.suggest_float("x", low, low + 1), n_trials=1)
    assert [w.category for w in told] == [errors.IndependentSamplingWarning]


def test_a_finite_group_beside_others_repeats_without_a_warning():
    def untold(trial):
        kind = trial.suggest_categorical("kind", ["a", "b"])
        extra = trial.suggest_float("extra", 0, 1) if trial.number % 4 < 2 else 0.5
        return extra + (kind == "a")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = study_of(untold, 14)
    late = [t.params["kind"] for t in study.trials[8:]]
    assert late.count("b") >= 4


def test_single_valued_parameters_and_none_at_all():
    study = study_of(lambda t: t.suggest_float("x", 2, 2) + t.suggest_categorical("k", [1]), 7)
    assert [t.params for t in study.trials] == [{"x": 2.0, "k": 1}] * 7
    assert len(study_of(lambda t: 1.0, 7).trials) == 7


def test_a_finite_space_that_is_used_up_repeats_with_a_warning():
    with pytest.warns(errors.ExhaustedWarning):
        study = study_of(lambda t: abs(t.suggest_int("a", 0, 6) - 4), 10)
    assert {t.params["a"] for t in study.trials[:7]} == set(range(7))
    assert [t.params["a"] for t in study.trials[7:]].count(4) >= 1


def test_a_fixed_parameter_leaves_the_others_to_the_model():
    study = study_of(mixed, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.PartialFixedSampler({"steps": 3}, study.sampler)
    study.optimize(mixed, n_trials=2)
    assert study.trials[-1].params["steps"] == 3
    assert "x" in json.loads(study.trials[-1].system_attrs["diffhpo:proposal:0:0"])


def test_more_columns_than_the_model_has_is_said():
    def wide(trial):
        return sum(trial.suggest_float(f"p{k}", 0, 1) for k in range(40))

    with pytest.warns(errors.DimensionWarning):
        study = study_of(wide, 7)
    assert len({tuple(values.items()) for values in parameters(study)}) == 7


def test_hyperband_shows_the_sampler_all_trials():
    def staged(trial):
        x = trial.suggest_int("x", 0, 40)
        for step in (1, 3, 9):
            trial.report(abs(x - 7) + 1 / step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return abs(x - 7)

    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9, reduction_factor=3)
    study = optuna.create_study(sampler=DiffusionSampler(seed=0), pruner=pruner)
    study.optimize(staged, n_trials=30)
    assert len({t.params["x"] for t in study.trials}) == 30
    assert study.best_params == {"x": 7}
    assert any(t.state == TrialState.PRUNED for t in study.trials)


# Bad input


def test_several_objectives_are_refused_by_name():
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=DiffusionSampler(seed=0))
    with pytest.raises(errors.InputError, match="2 objectives; DiffusionSampler takes one"):
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1.0), n_trials=1)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"n_startup_trials": -1}, "n_startup_trials"),
        ({"n_startup_trials": True}, "n_startup_trials"),
        ({"n_startup_trials": 2.5}, "n_startup_trials"),
        ({"constraints_func": 3}, "constraints_func"),
    ],
)
def test_bad_arguments_are_named(wrong, named):
    with pytest.raises(errors.InputError, match=named):
        DiffusionSampler(**wrong)


@pytest.mark.parametrize("version", ["3.6.1", "2.10.0", "unknown"])
def test_an_older_optuna_is_refused_with_a_remedy(monkeypatch, version):
    from diffhpo.integrations.optuna.version import require_optuna

    monkeypatch.setattr(optuna, "__version__", version)
    with pytest.raises(errors.DependencyError, match=rf'{version} is installed.*pip install "optuna>=4.0"'):
        require_optuna()


def test_a_missing_optuna_is_told_with_a_remedy(monkeypatch):
    from diffhpo.integrations.optuna.version import require_optuna

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(errors.DependencyError, match=r'pip install "optuna>=4\.0"'):
        require_optuna()


def test_choices_that_are_equal_to_one_another_are_told_apart():
    space = {"k": CategoricalDistribution([1, True, "1", 1.5])}
    study = optuna.create_study(sampler=DiffusionSampler(seed=0, n_startup_trials=1))
    add(study, space, [({"k": "1"}, 0.5)])
    found = [study.ask(space).params["k"] for _ in range(3)]
    assert {repr(value) for value in found} == {"1", "True", "1.5"}


@pytest.mark.parametrize("seed", range(4))
def test_choices_that_are_equal_to_one_another_are_told_apart_in_any_order(seed):
    space = {"k": CategoricalDistribution([1, True, "1", 1.5])}
    study = optuna.create_study(sampler=DiffusionSampler(seed=seed, n_startup_trials=1))
    found = []
    for value in range(4):
        trial = study.ask(space)
        found.append(repr(trial.params["k"]))
        study.tell(trial, float(value))
    assert sorted(found) == ["'1'", "1", "1.5", "True"]

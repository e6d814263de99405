# SPDX-License-Identifier: Apache-2.0
"""DiffusionSearchCV against scikit-learn's own checks, its own search classes, and the Optimizer."""

import inspect
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_regressor
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import diffhpo
from diffhpo.errors import ExhaustedWarning, InputError, InputWarning, SpaceError
from diffhpo.integrations.sklearn import DiffusionSearchCV, _checked_splitter
from diffhpo.trial import Trial

X, y = make_classification(n_samples=60, n_features=5, random_state=0)
TREE = {"max_depth": stats.randint(1, 9), "min_samples_leaf": stats.randint(1, 20)}


def search(estimator=None, space=TREE, **options):
    estimator = DecisionTreeClassifier(random_state=0) if estimator is None else estimator
    return DiffusionSearchCV(estimator, space, **{"n_iter": 6, "cv": 3, "random_state": 0, **options})


def test_the_splitter_is_found_where_scikit_learn_before_1_8_has_it():
    def fit(cv_orig):
        def evaluate_candidates(candidates):
            return cv_orig, candidates

        return evaluate_candidates

    splitter = ShuffleSplit(2)
    assert _checked_splitter(search(), fit(splitter)) is splitter


class Counted(ClassifierMixin, BaseEstimator):
    """Predicts one class; its score is a formula of its parameters, and some parameters fail to fit."""

    def __init__(self, a=0.5, b=0.5, broken=None):
        self.a = a
        self.b = b
        self.broken = broken

    def fit(self, X, y):
        if self.broken is not None and self.broken(self.a):
            raise RuntimeError("this one cannot be fitted")
        self.classes_ = np.unique(y)
        return self

    def score(self, X, y=None):
        return -((self.a - 0.3) ** 2) - (self.b - 0.8) ** 2

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


SQUARE = {"a": stats.uniform(0, 1), "b": stats.uniform(0, 1)}


# scikit-learn tests its own search classes with these four estimators and expects this failure of them;
# RandomizedSearchCV has it for regressors only.
@parametrize_with_checks(
    [
        search(Ridge(), {"alpha": [0.1, 1.0]}, n_iter=2, cv=2, error_score="raise"),
        search(LogisticRegression(), {"C": [0.1, 1.0]}, n_iter=2, cv=2, error_score="raise"),
        search(
            Pipeline([("pca", PCA()), ("ridge", Ridge())]),
            {"ridge__alpha": [0.1, 1.0]},
            n_iter=2,
            cv=2,
            error_score="raise",
        ),
        search(
            Pipeline([("pca", PCA()), ("logisticregression", LogisticRegression())]),
            {"logisticregression__C": [0.1, 1.0]},
            n_iter=2,
            cv=2,
            error_score="raise",
        ),
    ],
    expected_failed_checks=lambda estimator: (
        {"check_supervised_y_2d": "DataConversionWarning not caught"} if is_regressor(estimator) else {}
    ),
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning")
def test_scikit_learns_estimator_checks(estimator, check):
    check(estimator)


def test_every_candidate_is_scored_as_cross_val_score_does():
    found = search(n_iter=8).fit(X, y)
    for parameters, mean, std in zip(
        found.cv_results_["params"],
        found.cv_results_["mean_test_score"],
        found.cv_results_["std_test_score"],
        strict=True,
    ):
        scores = cross_val_score(DecisionTreeClassifier(random_state=0, **parameters), X, y, cv=3)
        assert (mean, std) == pytest.approx((scores.mean(), scores.std()), abs=1e-12)
    best = DecisionTreeClassifier(random_state=0, **found.best_params_).fit(X, y)
    assert np.array_equal(found.predict(X), best.predict(X))
    assert found.best_score_ == max(found.cv_results_["mean_test_score"])


def test_the_table_has_the_columns_of_grid_search_and_batch():
    grid = GridSearchCV(
        DecisionTreeClassifier(), {"max_depth": [1, 2], "min_samples_leaf": [1]}, return_train_score=True
    ).fit(X, y)
    found = search(cv=5, return_train_score=True, batch_size=4).fit(X, y).cv_results_
    assert set(found) - set(grid.cv_results_) == {"batch"}
    assert set(grid.cv_results_) <= set(found)
    assert {len(column) for column in found.values()} == {6}
    assert found["batch"].tolist() == [0, 0, 0, 0, 1, 1]
    assert isinstance(found["param_max_depth"], np.ma.MaskedArray)
    order = np.argsort(-found["mean_test_score"], kind="stable")
    assert found["rank_test_score"][order[0]] == 1


def test_the_candidates_are_the_optimizers():
    """The search is the ask and tell loop and nothing more."""
    found = search(Counted(), SQUARE, n_iter=11, batch_size=3, random_state=7).fit(X, y)
    space = diffhpo.Space({"a": diffhpo.Float(0, 1), "b": diffhpo.Float(0, 1)})
    seed = int(np.random.RandomState(7).randint(np.iinfo(np.int32).max))
    optimizer = diffhpo.Optimizer(space, seed=seed)
    expected = []
    for size in (3, 3, 3, 2):
        for asked in (batch := optimizer.ask(size)):
            expected.append(asked.parameters)
        for asked in batch:
            optimizer.tell(asked, Counted(**asked.parameters).score(X))
    assert found.cv_results_["params"] == expected


def test_the_number_of_jobs_changes_nothing_where_the_batch_size_is_given():
    one, two = (search(n_iter=9, batch_size=4, n_jobs=jobs).fit(X, y).cv_results_ for jobs in (1, 2))
    assert one["params"] == two["params"]
    assert np.array_equal(one["mean_test_score"], two["mean_test_score"])


def test_a_batch_is_as_large_as_the_number_of_jobs_by_default():
    assert search(n_iter=3).fit(X, y).cv_results_["batch"].tolist() == [0, 1, 2]
    assert search(n_iter=4, n_jobs=2).fit(X, y).cv_results_["batch"].tolist() == [0, 0, 1, 1]


def test_random_state_means_what_it_means_in_scikit_learn():
    def candidates(searched):
        return searched.fit(X, y).cv_results_["params"]

    seeded = search(random_state=3)
    assert candidates(seeded) == candidates(seeded) == candidates(clone(seeded))
    assert candidates(search(random_state=4)) != candidates(seeded)
    stream = search(random_state=np.random.RandomState(3))
    assert candidates(stream) != candidates(stream)
    unseeded = search(random_state=None)
    assert candidates(unseeded) != candidates(unseeded)


def test_all_batches_are_compared_on_the_same_folds():
    shuffled = ShuffleSplit(n_splits=3, test_size=0.3)
    space = {"max_depth": [1, 2, 3, 4], "min_samples_leaf": [40, 41, 42, 43]}  # no such leaf: a constant
    found = search(space=space, n_iter=10, cv=shuffled).fit(X, y).cv_results_
    for fold in range(3):
        assert len(set(found[f"split{fold}_test_score"])) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore::diffhpo.errors.InputWarning")
@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("error_score", [np.nan, -7.0])
def test_a_failed_fit_is_a_failed_trial_and_the_search_goes_on(batch_size, error_score):
    def broken(a):
        return a > 0.5

    found = search(
        Counted(broken=broken), SQUARE, n_iter=15, batch_size=batch_size, error_score=error_score
    ).fit(X, y)
    results = found.cv_results_
    failing = np.array([broken(parameters["a"]) for parameters in results["params"]])
    assert failing.any()
    assert not failing.all()
    assert {len(column) for column in results.values()} == {15}
    assert results["batch"].tolist() == [row // batch_size for row in range(15)]
    assert [trial.failed for trial in found.trials_] == (failing & np.isnan(error_score)).tolist()
    expected = np.array([Counted(**parameters).score(X) for parameters in results["params"]])
    expected[failing] = error_score
    np.testing.assert_allclose(results["mean_test_score"], expected, atol=1e-12)
    assert found.best_score_ == pytest.approx(np.nanmax(expected))
    assert results["rank_test_score"][failing].min() > results["rank_test_score"][~failing].max()


def test_failed_fits_are_warned_of_with_their_cause_and_counted_once():
    with (
        pytest.warns(FitFailedWarning, match="this one cannot be fitted"),
        pytest.warns(InputWarning, match="of 6 candidates have no mean test score") as caught,
    ):
        search(Counted(broken=lambda a: a > 0.5), SQUARE).fit(X, y)
    assert sum(issubclass(warning.category, InputWarning) for warning in caught) == 1
    assert not any("non-finite" in str(warning.message) for warning in caught)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore::diffhpo.errors.AllFailedWarning")
def test_where_each_fit_failed_the_error_is_scikit_learns():
    with pytest.raises(ValueError, match="All the 3 fits failed"):
        search(Counted(broken=lambda a: True), SQUARE).fit(X, y)
    with pytest.raises(RuntimeError, match="this one cannot be fitted"):
        search(Counted(broken=lambda a: True), SQUARE, error_score="raise").fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore::diffhpo.errors.InputWarning")
def test_failed_batches_keep_their_places_with_several_scores_and_train_scores():
    found = search(
        Counted(broken=lambda a: a > 0.5),
        SQUARE,
        n_iter=8,
        scoring={"first": lambda e, X, y=None: e.a, "second": lambda e, X, y=None: -e.a},
        refit="second",
        return_train_score=True,
    ).fit(X, y)
    a = np.array([parameters["a"] for parameters in found.cv_results_["params"]])
    assert (a > 0.5).any()
    for name, sign in (("first", 1), ("second", -1)):
        expected = np.where(a > 0.5, np.nan, sign * a)
        np.testing.assert_allclose(found.cv_results_[f"mean_test_{name}"], expected)
        np.testing.assert_allclose(found.cv_results_[f"mean_train_{name}"], expected)
    assert found.best_params_["a"] == min(a)


@pytest.mark.parametrize(
    "options",
    [
        {"refit": "up"},
        {"refit": False, "objective": "up"},
        {"refit": lambda results: 0, "objective": "up"},
        {"refit": "down", "objective": "up"},
    ],
)
def test_of_several_scores_the_objective_is_maximised(options):
    def scores(estimator, X, y=None):
        return {"up": estimator.a, "down": -estimator.a}

    named = {"up": lambda e, X, y=None: e.a, "down": lambda e, X, y=None: -e.a}
    for scoring in (scores, named):
        found = search(Counted(), SQUARE, n_iter=14, scoring=scoring, **options).fit(X, y)
        assert found.trials_[-1].value == found.cv_results_["mean_test_up"][-1]
        assert found.cv_results_["mean_test_up"][7:].mean() > 0.85


@pytest.mark.parametrize(
    ("scoring", "options"),
    [
        (["accuracy", "f1"], {"refit": False}),
        (["accuracy", "f1"], {"refit": "f1", "objective": "recall"}),
        ({"accuracy": "accuracy"}, {"refit": lambda results: 0}),
        ("accuracy", {"objective": "f1"}),
        (lambda e, X, y: {"accuracy": 1.0, "f1": 1.0}, {"refit": False}),
    ],
)
def test_an_objective_that_is_no_score_is_named_with_the_scores(scoring, options):
    with pytest.raises(
        InputError, match=r"is not the name of a score.*set objective, or refit, to one of \["
    ):
        search(scoring=scoring, **options).fit(X, y)


def test_the_search_ends_at_the_target():
    found = search(Counted(), SQUARE, n_iter=40, target=-0.05, batch_size=2).fit(X, y)
    assert found.stop_reason_ == "target"
    means = found.cv_results_["mean_test_score"]
    assert max(means[-2:]) >= -0.05 > max(means[:-2])


def test_the_search_ends_when_the_time_is_up():
    found = search(Counted(), SQUARE, n_iter=40, max_seconds=0.0, batch_size=3).fit(X, y)
    assert (found.stop_reason_, len(found.trials_)) == ("max_seconds", 3)


def test_the_search_ends_when_the_space_is_exhausted():
    with pytest.warns(ExhaustedWarning):
        found = search(space={"max_depth": [1, 2, 3], "criterion": ["gini", "entropy"]}, n_iter=9).fit(X, y)
    assert found.stop_reason_ == "exhausted"
    assert len({tuple(p.values()) for p in found.cv_results_["params"]}) == 6 == len(found.trials_)


def test_conditional_spaces_and_estimators_as_choices():
    scalers = [StandardScaler(), MinMaxScaler(), "passthrough"]
    space = [
        {"scale": scalers, "svm__kernel": ["linear"], "svm__C": stats.loguniform(1e-2, 1e2)},
        {"scale": scalers, "svm__kernel": ["rbf"], "svm__gamma": stats.loguniform(1e-3, 1e1)},
    ]
    pipeline = Pipeline([("scale", "passthrough"), ("svm", SVC())])
    found = search(pipeline, space, n_iter=12, n_jobs=2).fit(X, y)
    for parameters in found.cv_results_["params"]:
        other = {"linear": "svm__C", "rbf": "svm__gamma"}[parameters["svm__kernel"]]
        assert set(parameters) == {"scale", "svm__kernel", other}
        assert any(parameters["scale"] is scaler for scaler in scalers)
    masked = [found.cv_results_[f"param_svm__{name}"].mask for name in ("C", "gamma")]
    assert np.array_equal(masked[0], ~masked[1])
    assert not masked[0].all()
    assert not masked[1].all()


def test_earlier_trials_are_told_and_enqueued_configurations_come_first():
    earlier = search(Counted(), SQUARE, n_iter=10).fit(X, y)
    known = [*earlier.trials_, Trial({"a": 0.9, "b": 0.9}, failed=True)]
    wanted = [{"a": 1 / 3, "b": 0.79}, {"a": 0.1, "b": 0.1}]
    found = search(Counted(), SQUARE, n_iter=6, trials=known, enqueue=wanted).fit(X, y)
    assert found.cv_results_["params"][:2] == wanted
    later = found.cv_results_["mean_test_score"][2:]
    assert later.mean() > earlier.cv_results_["mean_test_score"][:4].mean()  # no design of its own
    with pytest.raises(SpaceError, match=r"2\.0"):
        search(Counted(), SQUARE, trials=[Trial({"a": 2.0, "b": 0.1}, 1.0)]).fit(X, y)
    with pytest.raises(SpaceError, match="c"):
        search(Counted(), SQUARE, enqueue=[{"a": 0.2, "b": 0.1, "c": 0.1}]).fit(X, y)


@pytest.mark.parametrize(
    "options",
    [
        {"n_iter": 0},
        {"n_iter": 2.5},
        {"n_iter": True},
        {"batch_size": 0},
        {"batch_size": "4"},
        {"target": "high"},
        {"target": np.nan},
        {"max_seconds": "1h"},
    ],
)
def test_wrong_arguments_are_named_before_anything_is_fitted(options):
    ((name, value),) = options.items()
    never = Counted(broken=lambda a: pytest.fail("it was fitted"))
    with pytest.raises(InputError, match=f"{name} is {value!r}"):
        search(never, SQUARE, **options).fit(X, y)


def test_get_and_set_params_clone_and_pickle():
    given = search(trials=[Trial({"max_depth": 2, "min_samples_leaf": 3}, 0.5)], target=2.0)
    assert set(given.get_params(deep=False)) == set(inspect.signature(DiffusionSearchCV).parameters)
    given.set_params(n_iter=5, estimator__criterion="entropy")
    copy = clone(given)
    assert copy.get_params()["estimator__criterion"] == "entropy"
    assert copy.trials[0] == given.trials[0]
    fitted = copy.fit(X, y)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.cv_results_["params"] == fitted.cv_results_["params"]
    assert clone(loaded).fit(X, y).best_params_ == fitted.best_params_


def test_it_finds_better_regressors_than_its_first_candidates():
    features, values = make_regression(n_samples=80, n_features=20, noise=20.0, random_state=1)
    found = search(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": stats.loguniform(1e-4, 1e4)},
        n_iter=14,
        scoring="neg_mean_squared_error",
    ).fit(features, values)
    means = found.cv_results_["mean_test_score"]
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()),
        {"ridge__alpha": np.logspace(-4, 4, 200)},
        cv=3,
        scoring="neg_mean_squared_error",
    ).fit(features, values)
    assert means[5:].max() > means[:5].max()
    assert means.max() > grid.best_score_ - 0.01 * abs(grid.best_score_)

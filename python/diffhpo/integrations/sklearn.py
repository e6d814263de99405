# SPDX-License-Identifier: Apache-2.0
"""Search of an estimator's parameters with cross-validation, as scikit-learn's own search classes."""

from __future__ import annotations

import inspect
import math
import numbers
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffhpo.errors import DependencyError, InputError, InputWarning
from diffhpo.integrations.sklearn_space import EstimatorSpace, estimator_space
from diffhpo.optimizer import Optimizer
from diffhpo.space import Space
from diffhpo.trial import Suggestion, Trial

try:
    from joblib import effective_n_jobs  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from sklearn.exceptions import FitFailedWarning
    from sklearn.model_selection._search import BaseSearchCV
    from sklearn.utils import check_random_state
except ImportError as error:
    raise DependencyError(
        f'DiffusionSearchCV needs scikit-learn: {error}; pip install "diffhpo[sklearn]"'
    ) from error

#: What the error says that scikit-learn raises where each fit of one call failed.
_ALL_FAILED = "fits failed.\nIt is very likely that your model is misconfigured"


class DiffusionSearchCV(BaseSearchCV):  # type: ignore[misc, unused-ignore]  # scikit-learn has no types
    """Cross-validated search in which a diffusion model proposes each next batch of parameters.

    Takes the place of `GridSearchCV` and `RandomizedSearchCV`: the same methods and attributes, the same
    `cv_results_` with one column more, `batch`, the number of the batch that a candidate was in. All
    candidates are evaluated on the same folds, also where `cv` shuffles without a seed.

    Args:
        estimator: as in `GridSearchCV`.
        param_space: what is searched, in the notation of `RandomizedSearchCV` or as a `diffhpo.Space`; see
            `estimator_space`. A parameter that is inactive in a conditional space keeps the estimator's
            value.
        n_iter: candidates, 1 or more; fewer if the space has no more, with an ExhaustedWarning.
        batch_size: candidates that are evaluated together, before the model sees any of their scores; by
            default the number of parallel jobs. The results are a function of it, and not of `n_jobs`.
        scoring: as in `GridSearchCV`. Of several scores, `objective` names the one that is maximised.
        n_jobs: as in `GridSearchCV`.
        refit: as in `GridSearchCV`.
        cv: as in `GridSearchCV`.
        verbose: as in `GridSearchCV`.
        pre_dispatch: as in `GridSearchCV`.
        random_state: an int gives the same candidates in every call of `fit`; a RandomState or None others
            in each.
        error_score: as in `GridSearchCV`. A candidate with a fit that failed, and nan for `error_score`, is
            a failed trial: it has no rank and is not proposed again.
        return_train_score: as in `GridSearchCV`.
        objective: of several scores, the name of the one that is maximised; by default the name that `refit`
            has.
        target: the search ends after the batch in which a mean test score reached this value.
        max_seconds: no batch starts later than this many seconds after the first one.
        trials: Trials from earlier searches, told before the first batch; they are not in `cv_results_`.
            Their parameters are the estimator's. `trials_` of a fitted search is such a list.
        enqueue: configurations, as in `cv_results_["params"]`, that are evaluated first.

    Attributes:
        trials_: one Trial for each row of `cv_results_`: its parameters with the mean test score, or failed.
        stop_reason_: `"n_iter"`, `"target"`, `"max_seconds"` or `"exhausted"`, whichever ended the search.
        best_estimator_, best_params_, best_score_, best_index_, cv_results_, ...: as in `GridSearchCV`.

    Raises:
        InputError: by `fit`, on a wrong n_iter, batch_size, target, max_seconds or objective.
        SpaceError: by `fit`, if the space is not well formed, or `trials` or `enqueue` are not of it.

    Example:
        >>> from scipy.stats import loguniform
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.svm import SVC
        >>> search = DiffusionSearchCV(SVC(), {"C": loguniform(1e-3, 1e3)}, n_iter=6, random_state=0)
        >>> bool(search.fit(*load_iris(return_X_y=True)).best_score_ > 0.95)
        True
    """

    def __init__(
        self,
        estimator: Any,
        param_space: Space | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        n_iter: int = 50,
        batch_size: int | None = None,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: bool | str | Callable[..., int] = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Any = None,
        error_score: float | str = np.nan,
        return_train_score: bool = False,
        objective: str | None = None,
        target: float | None = None,
        max_seconds: float | None = None,
        trials: Sequence[Trial] | None = None,
        enqueue: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.param_space = param_space
        self.n_iter = n_iter
        self.batch_size = batch_size
        self.random_state = random_state
        self.objective = objective
        self.target = target
        self.max_seconds = max_seconds
        self.trials = trials
        self.enqueue = enqueue

    def _run_search(self, evaluate_candidates: Callable[..., dict[str, Any]]) -> None:
        self._check()
        space = estimator_space(self.param_space)
        optimizer, first = self._optimizer(space)
        batch_size = self.batch_size or effective_n_jobs(self.n_jobs)
        folds = _SameFolds(_checked_splitter(self, evaluate_candidates))
        self._lost_rows: list[_LostRow] = []
        trials: list[Trial] = []
        number = 0
        start = time.monotonic()
        self.stop_reason_ = ""
        while not self.stop_reason_:
            wanted = min(batch_size, self.n_iter - len(trials))
            batch, first = first[:wanted], first[wanted:]
            batch = batch + optimizer.ask(wanted - len(batch))
            candidates = [space.estimator_parameters(asked.parameters) for asked in batch]
            values = self._evaluated(evaluate_candidates, candidates, folds, number, len(trials))
            for asked, parameters, value in zip(batch, candidates, values, strict=True):
                optimizer.tell(asked, value, failed=value is None)
                trials.append(Trial(parameters, value, failed=value is None))
            number += 1
            reached = self.target is not None and any(v is not None and v >= self.target for v in values)
            if reached:
                self.stop_reason_ = "target"
            elif len(trials) >= self.n_iter:
                self.stop_reason_ = "n_iter"
            elif len(batch) < wanted:
                self.stop_reason_ = "exhausted"
            elif self.max_seconds is not None and time.monotonic() - start >= self.max_seconds:
                self.stop_reason_ = "max_seconds"
        if trials and len(self._lost_rows) == len(trials):
            raise ValueError(self._lost_rows[-1].message)
        if failed := sum(trial.failed for trial in trials):
            warnings.warn(
                f"{failed} of {len(trials)} candidates have no mean test score: a fit failed, or a nan",
                InputWarning,
                stacklevel=2,
            )
        self.trials_ = trials

    def _evaluated(
        self,
        evaluate_candidates: Callable[..., dict[str, Any]],
        candidates: list[dict[str, Any]],
        folds: _SameFolds,
        number: int,
        first: int,
    ) -> list[float | None]:
        """The objective of each candidate, None where it has none; `first` rows were evaluated before."""
        if not candidates:
            return []
        try:
            results = evaluate_candidates(
                candidates, cv=folds, more_results={"batch": [number] * len(candidates)}
            )
        except ValueError as failure:
            if self.error_score == "raise" or _ALL_FAILED not in str(failure):
                raise
            # scikit-learn takes a call in which each fit failed for a mistake in the set-up, and drops the
            # call's rows. Here a call is one batch, perhaps one candidate, and the search has to go on.
            warnings.warn(str(failure), FitFailedWarning, stacklevel=2)
            for row, candidate in enumerate(candidates, first):
                self._lost_rows.append(_LostRow(row, candidate, number, str(failure)))
            return [None if math.isnan(self.error_score) else float(self.error_score)] * len(candidates)
        means = results[f"mean_test_{self._objective(results)}"][-len(candidates) :]
        return [None if math.isnan(mean) else float(mean) for mean in means]

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None
    ) -> dict[str, Any]:
        """scikit-learn's table, with the rows of batches in which each fit failed in their places."""
        candidate_params, out = list(candidate_params), list(out)
        batches = list(more_results["batch"])
        for lost in self._lost_rows:
            candidate_params.insert(lost.row, lost.parameters)
            batches.insert(lost.row, lost.batch)
            at = lost.row * n_splits
            out[at:at] = [_failed_fit(out[0], self.error_score)] * n_splits
        with warnings.catch_warnings():
            # It would come with each batch, ever longer; `_run_search` says it once.
            warnings.filterwarnings("ignore", "One or more of the .* scores are non-finite", UserWarning)
            return super()._format_results(
                candidate_params, n_splits, out, {**more_results, "batch": batches}
            )

    def _objective(self, results: Mapping[str, Any]) -> str:
        """The name of the score that is maximised."""
        if self.objective is not None:
            wanted = self.objective
        elif isinstance(self.refit, str) and f"mean_test_{self.refit}" in results:
            wanted = self.refit
        else:
            wanted = "score"
        if f"mean_test_{wanted}" not in results:
            names = [name.removeprefix("mean_test_") for name in results if name.startswith("mean_test_")]
            raise InputError(_no_objective(wanted if self.objective else None, names))
        return wanted

    def _optimizer(self, space: EstimatorSpace) -> tuple[Optimizer, list[Suggestion]]:
        """An optimizer that knows of the earlier trials, and what is evaluated first."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        optimizer = Optimizer(space.space, seed=seed, direction="maximize")
        known = [
            Trial(space.configuration(trial.parameters), trial.value, failed=trial.failed)
            for trial in self.trials or []
        ]
        # Pending and not enqueued: the estimator gets the very values given, not those of the unit cube.
        wanted = [space.configuration(parameters) for parameters in self.enqueue or []]
        optimizer.tell(known + [Trial(configuration) for configuration in wanted])
        return optimizer, [Suggestion(len(known) + k, wanted[k]) for k in range(len(wanted))]

    def _check(self) -> None:
        """Refuses wrong arguments before anything is fitted."""
        for name in ("n_iter", "batch_size"):
            value = getattr(self, name)
            whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
            if not (whole and value >= 1) and not (name == "batch_size" and value is None):
                raise InputError(f"{name} is {value!r}; a whole number of 1 or more is needed")
        for name in ("target", "max_seconds"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, numbers.Real) or math.isnan(value)):
                raise InputError(f"{name} is {value!r}; a number or None is needed")
        if isinstance(self.scoring, (list, tuple, set, dict)):
            wanted = self.objective if self.objective is not None else self.refit
            if not isinstance(wanted, str) or wanted not in self.scoring:
                raise InputError(_no_objective(wanted, sorted(self.scoring)))


@dataclass(frozen=True)
class _LostRow:
    """A candidate of a batch in which each fit failed."""

    row: int
    parameters: dict[str, Any]
    batch: int
    message: str


def _failed_fit(fit: Mapping[str, Any], error_score: Any) -> dict[str, Any]:
    """What scikit-learn keeps of one fit, with `error_score` for its scores and times that are not known."""
    failed = {**fit, "fit_time": math.nan, "score_time": math.nan}
    for kind in ("test_scores", "train_scores"):
        if isinstance(fit.get(kind), Mapping):
            failed[kind] = dict.fromkeys(fit[kind], error_score)
        elif kind in fit:
            failed[kind] = error_score
    return failed


def _no_objective(wanted: Any, names: Sequence[str]) -> str:
    return (
        f"{wanted!r} is not the name of a score; the search maximises one score: set objective, or refit, "
        f"to one of {list(names)}"
    )


def _checked_splitter(search: BaseSearchCV, evaluate_candidates: Callable[..., Any]) -> Any:
    """The splitter that `fit` made of `cv`: from 1.8 on scikit-learn keeps it, before its closure does."""
    if hasattr(search, "_checked_cv_orig"):
        return search._checked_cv_orig
    return inspect.getclosurevars(evaluate_candidates).nonlocals["cv_orig"]


class _SameFolds:
    """A splitter that splits once, so that the candidates of all batches are compared on the same folds."""

    def __init__(self, splitter: Any) -> None:
        self._splitter = splitter
        self._folds: list[Any] | None = None

    def split(self, *arrays: Any, **routed: Any) -> Iterator[Any]:
        if self._folds is None:
            self._folds = list(self._splitter.split(*arrays, **routed))
        return iter(self._folds)

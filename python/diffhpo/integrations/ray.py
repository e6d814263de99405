# SPDX-License-Identifier: Apache-2.0
"""A search algorithm for Ray Tune."""

from __future__ import annotations

import base64
import json
import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffhpo import __version__
from diffhpo.errors import CheckpointError, DependencyError, ExhaustedWarning, InputError, InputWarning
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.files.json_text import parse_json
from diffhpo.files.regular_file import read_regular_file
from diffhpo.optimizer import Optimizer
from diffhpo.policy import check_seed
from diffhpo.space import Space
from diffhpo.trial import Trial

try:
    from ray.tune.search import Searcher
    from ray.tune.utils.util import flatten_dict, unflatten_dict  # type: ignore[attr-defined, unused-ignore]

    from diffhpo.integrations.ray_space import ray_space
except ImportError as error:
    raise DependencyError(f'DiffusionSearch needs Ray Tune: {error}; pip install "diffhpo[ray]"') from error

_VERSION = 1


class DiffusionSearch(Searcher):  # type: ignore[misc, unused-ignore]  # where Ray is not installed
    """Proposes the configurations of Tune's trials with the pretrained diffusion model.

    Trials that run are pending, so parallel ones differ. A trial that ends with an error, or whose last
    result lacks the metric or has nan for it, is a failure, and is not proposed again. A stopped trial counts
    with its last result.

    Args:
        space: a config with Tune's domains or a `diffhpo.Space`, whose names are paths such as
            "optimizer/lr"; by default it is the `param_space` of the Tuner.
        metric: the result that is optimised; by default the Tuner's.
        mode: `"min"` or `"max"`; by default the Tuner's.
        points_to_evaluate: configurations that are suggested first, or, with `evaluated_rewards`, are known.
        evaluated_rewards: the metric's values at `points_to_evaluate`.
        seed: 0 or more.
        initial: of the first suggestions, this many come from a scrambled Sobol sequence.

    Raises:
        InputError: on a wrong mode, seed or number of rewards, several metrics, or a suggestion that is asked
            for before metric, mode and space are known.
        SpaceError: on a space that is not supported, see `ray_space`, or a point that is not of it.

    Example:
        >>> from ray import tune
        >>> search = DiffusionSearch({"lr": tune.loguniform(1e-4, 1.0)}, metric="loss", mode="min")
        >>> first = search.suggest("trial 1")
        >>> search.on_trial_complete("trial 1", {"loss": 0.3})
        >>> search.suggest("trial 2") != first
        True
    """

    def __init__(
        self,
        space: Mapping[str, Any] | Space | None = None,
        metric: str | None = None,
        mode: str | None = None,
        *,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        seed: int = 0,
        initial: int = 5,
    ) -> None:
        _check_metric(metric, mode)
        super().__init__(metric=metric, mode=mode)
        self._metric, self._mode = metric, mode  # the base class leaves one alone where the other is absent
        self._seed = check_seed(seed)
        self._initial = initial
        points = list(points_to_evaluate or [])
        if evaluated_rewards is not None and len(evaluated_rewards) != len(points):
            raise InputError(
                f"evaluated_rewards has {len(evaluated_rewards)} entries for {len(points)} points_to_evaluate"
            )
        self._points = points
        self._rewards = None if evaluated_rewards is None else list(evaluated_rewards)
        self._space = space if space is None or isinstance(space, Space) else ray_space(space)
        self._optimizer: Optimizer | None = None
        self._place: dict[str, int] = {}  # Tune's id of a trial -> the optimizer's
        self._suggested: dict[str, dict[str, Any]] = {}
        self._exact: list[dict[str, Any]] = []  # points_to_evaluate, the optimizer's first trials
        self._first: list[int] = []  # places of those that were not suggested yet
        self._restored: dict[str, Any] | None = None
        self._start_if_ready()

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Takes the Tuner's metric, mode and space; False if the search has its own space."""
        if self._space is not None:
            if self._optimizer is None:
                self._take_metric(metric, mode)
                self._start_if_ready()
            return False
        self._take_metric(metric, mode)
        self._space = ray_space(config)
        self._start_if_ready()
        return True

    # The string is FINISHED, which the base class's docstring has and its annotation lacks.
    def suggest(  # type: ignore[override, unused-ignore]
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """The configuration of a trial; `Searcher.FINISHED` where a finite space has no new one."""
        optimizer = self._started()
        if trial_id in self._suggested:
            return unflatten_dict(self._suggested[trial_id])
        if self._first:
            place = self._first.pop(0)
            configuration = self._exact[place]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExhaustedWarning)  # Tune has a word for it
                asked = optimizer.ask(1)
            if not asked:
                return Searcher.FINISHED
            place, configuration = asked[0].id, asked[0].parameters
        self._place[trial_id] = place
        self._suggested[trial_id] = configuration
        return unflatten_dict(configuration)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: a trial counts when it ends."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Takes the last result of a trial."""
        optimizer = self._started()
        if trial_id not in self._place:
            warnings.warn(
                f"trial {trial_id} was not suggested by this search, and is left out",
                InputWarning,
                stacklevel=2,
            )
            return
        value = None if error else _number(result, self._metric)
        optimizer.tell(self._place[trial_id], value, failed=value is None)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float | None,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Takes a point that was evaluated elsewhere; a pruned one counts with its value.

        Raises:
            SpaceError: if it is not of the space; parameters that are not searched do not matter.
        """
        optimizer = self._started()
        number = None if error else _number({"": value}, "")
        optimizer.tell([Trial(self._configuration(parameters), number, failed=number is None)])

    def save(self, checkpoint_path: str) -> None:
        """Writes all trials so far, without pickle; Tune calls it.

        Raises:
            CheckpointError: if the file cannot be written.
        """
        state: dict[str, Any] = {"version": _VERSION, WRITER: __version__, "metric": self._metric}
        if self._optimizer is not None:
            try:
                with tempfile.TemporaryDirectory() as folder:
                    self._optimizer.save(Path(folder, "optimizer"))
                    saved = Path(folder, "optimizer").read_bytes()
            except (OSError, CheckpointError) as error:
                raise CheckpointError(f"{checkpoint_path} cannot be written: {error}") from error
            state["optimizer"] = base64.b64encode(saved).decode()
            state["places"] = self._place
            state["first"] = self._first
        try:
            write_atomically(Path(checkpoint_path), json.dumps(state).encode())
        except OSError as error:
            raise CheckpointError(
                f"{checkpoint_path} cannot be written: {reason_and_remedy(error)}"
            ) from error

    def restore(self, checkpoint_path: str) -> None:
        """Takes up what `save` wrote; where this search has no space yet, as soon as it has.

        Raises:
            CheckpointError: if the file is not such a file, or is of another space or metric.
        """
        try:
            state = parse_json(read_regular_file(checkpoint_path))
            version = state["version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{checkpoint_path} is not a checkpoint of DiffusionSearch: {error}"
            ) from error
        check_schema(version, _VERSION, checkpoint_path, writer=state.get(WRITER), error=CheckpointError)
        self._restored = state
        if self._optimizer is not None:
            self._take_up()

    def _take_metric(self, metric: str | None, mode: str | None) -> None:
        _check_metric(metric, mode)
        self._metric = metric or self._metric
        self._mode = mode or self._mode

    def _start_if_ready(self) -> None:
        """Makes the optimizer once space, metric and mode are known."""
        if self._optimizer is not None or self._space is None or not self._metric or not self._mode:
            return
        direction = "minimize" if self._mode == "min" else "maximize"
        self._optimizer = Optimizer(self._space, seed=self._seed, direction=direction, initial=self._initial)
        if self._rewards is not None:
            for point, reward in zip(self._points, self._rewards, strict=True):
                self.add_evaluated_point(dict(point), reward)
        else:
            # Pending and not enqueued: a trial gets the very values given, not those of the unit cube.
            self._exact = [self._configuration(point) for point in self._points]
            self._optimizer.tell([Trial(point) for point in self._exact])
            self._first = list(range(len(self._exact)))
        if self._restored is not None:
            self._take_up()

    def _take_up(self) -> None:
        """Goes on from the checkpoint that was read."""
        state, self._restored = self._restored, None
        if state is None or "optimizer" not in state:
            return
        if state.get("metric") != self._metric:
            raise CheckpointError(
                f"the checkpoint is of the metric {state.get('metric')!r}; the search has {self._metric!r}"
            )
        try:
            saved = base64.b64decode(state["optimizer"], validate=True)
            places = {str(trial_id): int(place) for trial_id, place in state["places"].items()}
            first = [int(place) for place in state["first"]]
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint is damaged: {error!r}") from error
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "checkpoint")
            path.write_bytes(saved)
            restored = Optimizer.load(path, space=self._space)
        if not all(0 <= place < len(restored.trials) for place in (*places.values(), *first)):
            raise CheckpointError(
                f"the checkpoint is damaged: it names a trial beyond {len(restored.trials)}"
            )
        started = self._started()
        if restored.direction != started.direction:
            raise CheckpointError(f"the checkpoint's direction is {restored.direction}, the search's another")
        self._optimizer = restored
        self._place = places
        self._first = first
        trials = restored.trials
        self._suggested = {
            trial_id: self._exact[place] if place < len(self._exact) else dict(trials[place].parameters)
            for trial_id, place in self._place.items()
        }

    def _started(self) -> Optimizer:
        if self._optimizer is None:
            missing = {"space": self._space, "metric": self._metric, "mode": self._mode}
            raise InputError(
                f"the search has no {' and no '.join(name for name, value in missing.items() if not value)}; "
                "give them to DiffusionSearch, or to the Tuner (param_space, TuneConfig)"
            )
        return self._optimizer

    def _configuration(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A config as Tune has it -> the configuration of the space; the rest of the config is left out."""
        space = self._started().space
        flat = flatten_dict(dict(parameters), prevent_delimiter=True)
        found = {name: value for name, value in flat.items() if name in space.parameters}
        space.encode(found)
        return found


def _check_metric(metric: Any, mode: Any) -> None:
    if mode not in (None, "min", "max"):
        raise InputError(f"mode is {mode!r}; accepted: 'min', 'max'")
    if metric is not None and not isinstance(metric, str):
        raise InputError(f"metric is {metric!r}; the name of one result is needed")


def _number(result: Mapping[str, Any] | None, metric: str | None) -> float | None:
    """The metric's value; None where it is absent or nan."""
    value = None if result is None or metric is None else result.get(metric)
    if value is None or math.isnan(value):
        return None
    return float(value)

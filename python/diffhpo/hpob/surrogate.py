# SPDX-License-Identifier: Apache-2.0
"""A surrogate of HPO-B's continuous protocol: an XGBoost model that stands for the real objective."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffhpo.errors import DataError, DependencyError, InputError
from diffhpo.files.json_text import parse_json
from diffhpo.hpob.json_file import read_bytes
from diffhpo.hpob.tree_model import check_trees


class Surrogate:
    """The response of one task anywhere in the unit cube; the model is read on the first call.

    Predictions run on one thread, so that parallel runs do not compete for cores, and are bit for bit
    those of `xgboost.Booster.predict`: float32, returned as float64.

    Args:
        path: XGBoost model in JSON, plain or gzipped.
        dim: dimensions d of the task.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self.path = path
        self.dim = dim
        self._booster: Any = None

    def __repr__(self) -> str:
        return f"Surrogate({str(self.path)!r}, dim={self.dim})"

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the file itself: a loaded model is many times larger than its path.
        return {"path": self.path, "dim": self.dim, "_booster": None}

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """Predicted responses, in the task's own units.

        Args:
            x: (k, d) finite configurations; the model takes them in float32.

        Returns:
            (k,) float64.

        Raises:
            InputError: if `x` has another shape or is not finite.
            DataError: if the model's file is missing, damaged or of another dimension.
            DependencyError: if xgboost is not installed.
        """
        try:
            array = np.asarray(x, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"x is not an array of numbers: {error}") from None
        if array.ndim != 2 or array.shape[1] != self.dim:
            raise InputError(f"x has shape {array.shape}; (k, {self.dim}) is needed")
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise InputError(f"x[{row}, {column}] is {array[row, column]}; finite numbers are needed")
        if self._booster is None:
            self._booster = self._load()
        if len(array) == 0:
            return np.empty(0)
        # The in-place route skips the copy into a DMatrix; the feature count was checked above.
        found = np.asarray(self._booster.inplace_predict(array, validate_features=False), dtype=np.float64)
        if found.shape != (len(array),) or not np.isfinite(found).all():
            raise DataError(f"{self.path} predicts values that are not finite; fetch or copy it again")
        return found

    def _load(self) -> Any:
        try:
            import xgboost
        except ImportError as error:
            raise DependencyError(
                'HPO-B\'s continuous protocol needs xgboost: pip install "diffhpo[bench]"'
            ) from error
        # Before xgboost sees them: its reader ends the whole process on an empty file, and on others.
        model = bytearray(read_bytes(self.path))
        booster = xgboost.Booster({"nthread": 1})
        try:
            check_trees(parse_json(bytes(model), overflow=True))
            booster.load_model(model)
            features = booster.num_features()
        except (KeyError, TypeError, OverflowError, ValueError, xgboost.core.XGBoostError) as error:
            reason = (str(error).splitlines() or [repr(error)])[0][:300]
            raise DataError(
                f"{self.path} is truncated or no XGBoost model ({reason}); fetch or copy it again"
            ) from error
        if features != self.dim:
            raise DataError(
                f"{self.path} takes {features} inputs but its task has {self.dim} dimensions; the data and "
                "the surrogates are of different releases: fetch both again"
            )
        return booster

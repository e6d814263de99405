# SPDX-License-Identifier: Apache-2.0
"""What is known about a task of the suite: its table, licence, accuracies and surrogate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SuiteTask:
    """One task of the suite.

    Args:
        name: Name of the task and of its table.
        split: "test", "validation" or "train".
        source: Where the table comes from.
        licence: Licence of the table.
        rows: Rows that were used; larger tables were cut by a stratified draw.
        features: Columns after coding.
        classes: Number of classes.
        majority: Share of the largest class, the accuracy of a model that learns nothing.
        evaluations: Number of evaluated configurations.
        accuracy_min: Lowest accuracy among them.
        accuracy_max: Highest accuracy among them.
        surrogate_r2: Cross-validated coefficient of determination of the surrogate.
        surrogate_spearman: Cross-validated rank correlation of the surrogate.
    """

    name: str
    split: str
    source: str
    licence: str
    rows: int
    features: int
    classes: int
    majority: float
    evaluations: int
    accuracy_min: float
    accuracy_max: float
    surrogate_r2: float
    surrogate_spearman: float

    @classmethod
    def from_json(cls, name: str, entry: dict[str, Any]) -> SuiteTask:
        """From the task's entry in `descriptor.json`.

        Raises:
            KeyError: The entry lacks a field.
        """
        return cls(
            name=name,
            split=entry["split"],
            source=entry["source"],
            licence=entry["licence"],
            rows=entry["rows"],
            features=entry["features"],
            classes=entry["classes"],
            majority=entry["majority"],
            evaluations=entry["evaluations"],
            accuracy_min=entry["accuracy"]["min"],
            accuracy_max=entry["accuracy"]["max"],
            surrogate_r2=entry["surrogate"]["cv_r2"],
            surrogate_spearman=entry["surrogate"]["cv_spearman"],
        )

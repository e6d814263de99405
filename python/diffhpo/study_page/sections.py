# SPDX-License-Identifier: Apache-2.0
"""The sections of a study's page, each with what it shows, or why it is left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffhpo.errors import InputError
from diffhpo.pictures import (
    PicturedRun,
    plot_calibration,
    plot_denoising_trajectory,
    plot_optimization_history,
    plot_parallel_coordinates,
    plot_prediction,
    plot_slice,
)
from diffhpo.study_page.html import Picture, Section, Table
from diffhpo.study_page.shown_study import ShownStudy, searched

#: Parameters that are drawn, each in a picture of its own or all in one; of more, the most important.
MOST_PARAMETERS = 12
#: Trials of the table of the best.
BEST = 10
#: Different values that a calibration needs: those that are read first, and as many to predict.
CALIBRATED_FROM = 10


def lead(run: PicturedRun) -> str:
    counted = {state: run.states.count(state) for state in dict.fromkeys(run.states)}
    words = {"told": "with a value", "failed": "failed", "pruned": "pruned", "pending": "pending"}
    states = ", ".join(f"{count} {words[state]}" for state, count in counted.items())
    begin = f"{len(run.states)} trials ({states}), {len(searched(run))} parameters, to {run.direction}."
    if run.best is None:
        return f"{begin} No trial has a value yet."
    return f"{begin} Best value {np.asarray(run.values)[run.best]:.6g}, in trial {run.best}."


def history(shown: ShownStudy) -> Section:
    ax = plot_optimization_history(shown.run)
    return Section(
        "History",
        "The value of every trial, and the best so far.",
        [Picture.of(ax, lead(shown.run))],
    )


def best(shown: ShownStudy) -> Section:
    run = shown.run
    gains = np.where(run.told, run.sign * np.asarray(run.values), -np.inf)
    order = [int(k) for k in np.argsort(-gains, kind="stable") if run.told[k]][:BEST]
    names = shown.parameters
    rows = [
        [k, float(run.values[k]), *(run.configurations[k].get(name, "") for name in names)] for k in order
    ]
    section = Section("The best trials")
    if rows:
        section.tables.append(Table(["trial", "value", *names], rows))
    else:
        section.notes.append("No trial has a value yet.")
    return section


def parallel(shown: ShownStudy) -> Section:
    section = Section("All parameters beside each other")
    if not shown.run.told.any():
        return _without(section, "no trial has a value")
    names = shown.parameters
    ax = plot_parallel_coordinates(
        shown.run, parameters=names[:MOST_PARAMETERS], suggestions=shown.suggestions
    )
    section.caption = (
        "A line is a trial. Colours are ranks of the values; lines end where a trial has no value of a "
        "parameter. Dashed: what diffhpo would try next."
    )
    section.pictures.append(Picture.of(ax, "Parallel coordinates of " + ", ".join(names[:MOST_PARAMETERS])))
    return _said_of_others(section, names)


def slices(shown: ShownStudy) -> Section:
    section = Section("Values by parameter")
    section.caption = (
        "Trials by each parameter, coloured by their number. Marks below: what diffhpo would try next."
    )
    told = [c for c, one in zip(shown.run.configurations, shown.run.told, strict=True) if one]
    names = [name for name in shown.parameters if any(name in c for c in told)]
    if not names:
        return _without(section, "no trial has a value")
    for name in names[:MOST_PARAMETERS]:
        having = [c for c in shown.suggestions if name in c]
        ax = plot_slice(shown.run, name, suggestions=having)
        section.pictures.append(Picture.of(ax, f"Values of the trials by {name}"))
    return _said_of_others(section, names)


def prediction(shown: ShownStudy) -> Section:
    section = Section("What the model expects")
    names = list(shown.importance)
    if not names:
        return _without(section, _why_not_modelled(shown))
    for name in names[:MOST_PARAMETERS]:
        ax = plot_prediction(shown.modelled, name)
        section.pictures.append(Picture.of(ax, f"Prediction of the value along {name}"))
    section.caption = (
        "The Predictor's median and the middle 80% of expected observations along each parameter, the others "
        "as in the best trial. Trials are the fainter, the farther they are from there. The parameter that "
        "moves the value most comes first."
    )
    section.tables.append(
        Table(["parameter", "reach of the median"], [[name, shown.importance[name]] for name in names])
    )
    return _said_of_left_out(_said_of_others(section, names), shown)


def denoising(shown: ShownStudy) -> Section:
    section = Section("How suggestions come out of noise")
    names = [name for name in shown.importance if shown.modelled.space.parameters[name].width == 1]
    if len(names) < 2:
        return _without(section, "fewer than two parameters that lie along one axis can be read by the model")
    first, second = names[:2]
    ax = plot_denoising_trajectory(shown.modelled, first, second, seed=shown.seed)
    section.pictures.append(Picture.of(ax, f"Denoising of 24 configurations over {first} and {second}"))
    section.caption = (
        f"24 configurations on their way through the reverse loop of the diffusion model, over {first} and "
        f"{second}. The square is the search space."
    )
    return section


def calibration(shown: ShownStudy) -> Section:
    section = Section("Whether the model is to be trusted here")
    if not shown.importance:
        return _without(section, _why_not_modelled(shown))
    count = len(shown.modelled.history)
    if count < CALIBRATED_FROM:
        return _without(
            section, f"{CALIBRATED_FROM} different trials with a value are needed; there are {count}"
        )
    ax = plot_calibration(shown.modelled)
    section.pictures.append(Picture.of(ax, "Calibration of the Predictor on the study's own trials"))
    section.caption = (
        "Every value was predicted from the trials before it. A line within the grey band is what a model "
        "that is right would give."
    )
    return section


def suggested(shown: ShownStudy) -> Section:
    section = Section("What to try next")
    if not shown.suggestions:
        return _without(section, _why_not_modelled(shown))
    names = list(shown.modelled.space.parameters)
    section.caption = "Suggestions of diffhpo for this study, different from all of its trials:"
    section.tables.append(
        Table(
            ["", *names],
            [[k + 1, *(one.get(name, "") for name in names)] for k, one in enumerate(shown.suggestions)],
        )
    )
    return _said_of_left_out(section, shown)


def _why_not_modelled(shown: ShownStudy) -> str:
    try:
        return f"the model could not read the {len(shown.modelled.space.parameters)} parameters"
    except InputError as error:
        return str(error)


def _without(section: Section, reason: str) -> Section:
    section.caption, section.pictures = "", []
    section.notes.append(f"Left out: {reason}.")
    return section


def _said_of_others(section: Section, names: Sequence[str]) -> Section:
    if len(names) > MOST_PARAMETERS:
        section.notes.append(f"{MOST_PARAMETERS} of {len(names)} parameters are drawn.")
    return section


def _said_of_left_out(section: Section, shown: ShownStudy) -> Section:
    kept = shown.modelled.space.parameters
    absent = [name for name in searched(shown.run) if name not in kept]
    if absent:
        section.notes.append(
            f"The model reads parameters that every trial has; it does not read {', '.join(absent)}."
        )
    return section

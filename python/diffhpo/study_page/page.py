# SPDX-License-Identifier: Apache-2.0
"""The page of a study."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from diffhpo import __version__
from diffhpo.errors import DataError, InputError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.study_page import sections
from diffhpo.study_page.html import Section, page
from diffhpo.study_page.shown_study import ShownStudy
from diffhpo.study_page.study_file import open_study
from diffhpo.study_page.study_run import study_run

if TYPE_CHECKING:
    from optuna.study import Study

_SECTIONS = (
    sections.history,
    sections.best,
    sections.parallel,
    sections.slices,
    sections.prediction,
    sections.denoising,
    sections.calibration,
    sections.suggested,
)


def study_page(study: Study, *, seed: int = 0) -> str:
    """The HTML page of an Optuna study: one file without scripts that fetches nothing.

    The same study and seed give the same page, on one machine.

    Args:
        study: of one objective, with a trial.
        seed: of the suggestions and of the denoising that are shown.

    Raises:
        InputError: if the study has several objectives, no trial, or no parameter with two values.
        DependencyError: if matplotlib or Optuna is not installed.

    Example:
        >>> import optuna
        >>> study = optuna.create_study(study_name="demo")
        >>> study.add_trial(optuna.create_trial(
        ...     value=2.0, params={"x": 0.5},
        ...     distributions={"x": optuna.distributions.FloatDistribution(0, 1)}))
        >>> "<title>Study demo</title>" in study_page(study)
        True
    """
    shown = ShownStudy(study_run(study), seed)
    parts = [_section(build, shown) for build in _SECTIONS]
    lead = sections.lead(shown.run)
    return page(f"Study {study.study_name}", lead, parts, f"Made by diffhpo {__version__}.")


def write_study_page(
    source: str | Path, out: str | Path, *, study_name: str | None = None, seed: int = 0
) -> None:
    """Write the page of a stored study to a file, whole or not at all.

    Args:
        source: of `open_study`.
        out: the HTML file; one that exists is replaced.
        study_name: of the study; needed where the storage has several.
        seed: of `study_page`.

    Raises:
        DataError: as `open_study`, or if `out` cannot be written.
        InputError: as `open_study` and `study_page`, or if `out` is the study's own file.
        DependencyError: if matplotlib or Optuna is not installed.
    """
    path, file = Path(out), Path(str(source).removeprefix("sqlite:///"))
    if path.exists() and file.exists() and path.samefile(file):
        raise InputError(f"out is {path}, the study's own file; name another")
    html = study_page(open_study(source, study_name), seed=seed)
    try:
        write_atomically(path, html.encode("utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be written: {reason_and_remedy(error)}") from error


def _section(build: Callable[[ShownStudy], Section], shown: ShownStudy) -> Section:
    """A section with the warnings that came up while it was made."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        section = build(shown)
    section.notes += dict.fromkeys(
        str(one.message) for one in caught if issubclass(one.category, UserWarning)
    )
    return section

# SPDX-License-Identifier: Apache-2.0
"""Trials in a CSV file: one column per parameter and one for the objective."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from diffhpo.errors import DataError, SpaceError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.files.json_text import parse_json
from diffhpo.files.regular_file import read_regular_file
from diffhpo.space import Categorical, Constant, Float, Int, Ordinal, Parameter, Space

#: A positive column whose largest value is this many times its smallest is searched on a log scale.
LOG_RATIO = 100.0
#: Larger files are no histories, and no spaces.
MOST_HISTORY_BYTES = 256 << 20
MOST_SPACE_BYTES = 4 << 20


@dataclass(frozen=True)
class TrialTable:
    """The rows of a file, parsed."""

    columns: dict[str, list[Any]]
    """parameter -> one value per row: int, float, bool or str, one type a column; None in an empty cell."""
    objective: list[float | None]
    """One value per row; None for a failed trial (an empty cell or nan)."""
    objective_name: str
    cells: dict[str, list[str]] = field(default_factory=dict)
    """The columns as they stand in the file."""

    def configurations_of(self, space: Space) -> list[dict[str, Any]]:
        """As `configurations`, with choices told by their text: "1.0", "007" and "true" may be texts.

        Raises:
            SpaceError: if two choices of a parameter have the same text.
        """
        chosen = {name: _choice_of_text(name, one) for name, one in space.parameters.items()}
        return [
            {
                name: chosen[name].get(self.cells[name][row], value) if name in chosen else value
                for name, value in configuration.items()
            }
            for row, configuration in enumerate(self.configurations())
        ]

    def configurations(self) -> list[dict[str, Any]]:
        """One dictionary per row; a parameter whose cell is empty was not active, and is left out."""
        return [
            {name: value for name, value in zip(self.columns, row, strict=True) if value is not None}
            for row in zip(*self.columns.values(), strict=True)
        ]


def read_trial_table(path: str | os.PathLike[str], objective: str | None = None) -> TrialTable:
    """Read a CSV file with a header.

    Args:
        path: the file.
        objective: the objective's column; the last one by default.

    Raises:
        DataError: if the file is missing, is not UTF-8 text, has no row, rows of unequal length, repeated or
            too few columns, no such objective, or an objective that is not a number. The message names the
            file and the line.
    """
    try:
        # Spreadsheets begin a file with a byte order mark, which is no part of the first name.
        text = read_regular_file(path, MOST_HISTORY_BYTES).decode("utf-8-sig")
        if "\0" in text:
            raise csv.Error("it holds a NUL character")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a readable CSV file: {error}") from error
    if not rows:
        raise DataError(f"{path} is empty; a header and a row per trial are needed")
    names = [name.strip() for name in rows[0][1]]
    if len(set(names)) != len(names) or "" in names or len(names) < 2:
        raise DataError(f"{path} has columns {names}; two or more different names are needed")
    if all(map(_is_number, names)) and names != [str(place) for place in range(len(names))]:
        raise DataError(f"{path} begins with the numbers {names}; a header with the columns' names is needed")
    chosen = names[-1] if objective is None else objective
    if chosen not in names:
        raise DataError(f"{path} has no column {chosen!r}; its columns are {names}")
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise DataError(f"{path}, line {line}: {len(row)} cells, the header has {len(names)}")
    texts = {name: [row[place].strip() for _, row in rows[1:]] for place, name in enumerate(names)}
    columns = {name: _typed(cells) for name, cells in texts.items() if name != chosen}
    values = [_objective(row[names.index(chosen)], f"{path}, line {line}") for line, row in rows[1:]]
    return TrialTable(columns, values, chosen, texts)


def _choice_of_text(name: str, parameter: Parameter) -> dict[str, Any]:
    """Text in a file -> the choice that is written so; empty for numbers."""
    if not isinstance(parameter, (Categorical, Ordinal, Constant)):
        return {}
    found: dict[str, Any] = {}
    for choice in parameter.values():
        text = str(choice).strip()
        if text in found:
            raise SpaceError(
                f"parameter {name!r}: choices {found[text]!r} and {choice!r} have the same text in a file; "
                "rename one"
            )
        found[text] = choice
    return found


def _objective(cell: str, place: str) -> float | None:
    if cell.strip().lower() in ("", "nan", "na", "none", "null"):
        return None
    if not _is_number(cell):
        raise DataError(f"{place}: the objective is {cell[:80]!r}; a number, or empty if it failed")
    return float(cell)


def _is_number(cell: str) -> bool:
    """Whether a cell is one as other programs write it: Python itself also takes 1_000."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and cell.isascii()


def _typed(cells: Sequence[str]) -> list[Any]:
    """The cells as ints if all are, else floats, else booleans, else strings; None where they are empty."""
    filled = [cell for cell in cells if cell]
    if filled and all(map(_is_number, filled)):
        whole = all(cell.lstrip("+-").isdigit() and abs(float(cell)) <= 2**53 for cell in filled)
        return [(int(cell) if whole else float(cell)) if cell else None for cell in cells]
    if filled and {cell.lower() for cell in filled} <= {"true", "false"}:
        return [cell.lower() == "true" if cell else None for cell in cells]
    return [cell or None for cell in cells]


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def infer_space(table: TrialTable) -> Space:
    """A space that just holds the trials of a table.

    Numbers span the range seen, on a log scale if that is positive and spans a factor of 100; whole numbers
    stay whole; other columns are categorical with the choices seen. A space file says more than data can.

    Raises:
        SpaceError: if a column has one value only; the message names it.

    Example:
        >>> infer_space(TrialTable({"lr": [0.1, 0.001]}, [1.0, 2.0], "y")).parameters
        {'lr': Float(low=0.001, high=0.1, log=True)}
    """
    parameters: dict[str, Parameter] = {}
    for name, values in table.columns.items():
        if None in values:
            raise SpaceError(
                f"column {name!r} has empty cells, so it is active in some trials only: give a space file "
                "that says when"
            )
        different = set(values)
        if len(different) < 2:
            raise SpaceError(
                f"column {name!r} has {len(different)} different values, so its range cannot be told: "
                "give the ranges in a space file, or leave the column out"
            )
        if isinstance(values[0], (bool, str)):
            parameters[name] = Categorical(sorted(different))
            continue
        low, high = min(values), max(values)
        if not all(map(_is_finite, values)):
            raise SpaceError(f"column {name!r} holds a value that is not finite")
        log = low > 0 and high / low >= LOG_RATIO
        parameters[name] = Int(low, high, log) if isinstance(low, int) else Float(low, high, log)
    return Space(parameters)


def read_space_file(path: str | os.PathLike[str]) -> Space:
    """Read a space from JSON, in the form that `diffhpo.space.json_form` describes.

    Raises:
        DataError: if the file is missing or is not JSON.
        SpaceError: if an entry is not well formed; the message names the file and the parameter.
    """
    try:
        content = parse_json(read_regular_file(path, MOST_SPACE_BYTES))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}") from error
    try:
        return Space.from_json(content)
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from None


def write_configurations(
    target: str | os.PathLike[str] | TextIO | None,
    names: Sequence[str],
    configurations: Sequence[Mapping[str, Any]],
) -> None:
    """Write configurations as CSV, a column per name, to a file, whole or not at all, or to an open stream.

    A file that is there is replaced when all is written, or stays as it is.

    Raises:
        DataError: if the file cannot be written, or the stream lacks a character or is closed (None).
        BrokenPipeError: if the reader of the stream has left.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(configurations)
    named = target if isinstance(target, (str, os.PathLike)) else getattr(target, "name", "the output")
    try:
        if target is None:
            raise OSError("it is closed")
        if not isinstance(target, (str, os.PathLike)):
            target.write(text.getvalue())
            target.flush()
        elif os.path.exists(target) and not os.path.isfile(target):  # /dev/stdout, a pipe
            with open(target, "w", newline="", encoding="utf-8") as file:
                file.write(text.getvalue())
        else:
            write_atomically(Path(target), text.getvalue().encode("utf-8"))
    except BrokenPipeError:
        raise
    except UnicodeEncodeError as error:
        raise DataError(f"{named} could not be written: {error}") from error
    except OSError as error:
        raise DataError(f"{named} could not be written: {reason_and_remedy(error)}") from error

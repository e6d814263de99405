# SPDX-License-Identifier: Apache-2.0
"""Opens an Optuna study wherever it is kept, without writing to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffhpo.errors import DataError, InputError
from diffhpo.files.json_text import parse_json
from diffhpo.files.regular_file import open_regular
from diffhpo.integrations.optuna.version import require_optuna

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

_SQLITE_URL = "sqlite:///"
#: How every SQLite file begins (sqlite.org/fileformat.html).
_SQLITE_MAGIC = b"SQLite format 3\x00"


def open_study(source: str | Path, name: str | None = None) -> Study:
    """The study of a storage; nothing in it is changed.

    Args:
        source: an SQLite file, a journal file, or the URL of a storage as Optuna takes it.
        name: of the study; needed where the storage has several.

    Raises:
        DataError: if the file is missing, is not Optuna's or is damaged, or the storage cannot be opened.
        InputError: if there is no study of that name, or there are several and no name was given; the message
            lists them.
        DependencyError: if Optuna is not installed.

    Example:
        >>> open_study("none.db")
        Traceback (most recent call last):
        ...
        diffhpo.errors.DataError: none.db does not exist; give a study's SQLite or journal file, or a URL
    """
    require_optuna()
    import optuna

    storage = _storage(str(source))
    try:
        names = sorted(optuna.get_all_study_names(storage))
    except Exception as error:
        raise _unreadable(source, error) from error
    if not names:
        raise DataError(f"{source} holds no study")
    listed = ", ".join(repr(one) for one in names)
    if name is None and len(names) > 1:
        raise InputError(f"{source} holds {len(names)} studies; choose one with --study-name: {listed}")
    if name is not None and name not in names:
        raise InputError(f"{source} holds no study {name!r}; it holds {listed}")
    try:
        study = optuna.load_study(study_name=names[0] if name is None else name, storage=storage)
        # Read now: what is damaged in them is the file's fault.
        for trial in study.get_trials(deepcopy=False):
            _check_trial(trial, len(study.directions))
        return study
    except Exception as error:
        raise _unreadable(source, error) from error


def _check_trial(trial: FrozenTrial, objectives: int) -> None:
    """Raise a ValueError unless a trial's numbers are numbers; Optuna takes what a file says."""
    values = trial.values or []
    numbers = [*values, *trial.intermediate_values, *trial.intermediate_values.values()]
    if values and len(values) != objectives:
        raise ValueError(f"trial {trial.number} has {len(values)} values, the study {objectives} objectives")
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        raise ValueError(f"trial {trial.number} has values that are no numbers")
    if set(trial.params) != set(trial.distributions):
        raise ValueError(f"trial {trial.number} has parameters without a distribution")


def _unreadable(source: object, error: Exception) -> DataError:
    detail = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{source} cannot be read as an Optuna storage: {detail}")


def _storage(source: str) -> BaseStorage:
    if "://" in source and not source.startswith(_SQLITE_URL):
        import optuna

        try:
            return optuna.storages.get_storage(source)
        except Exception as error:  # of SQLAlchemy, of a database's driver, or of Optuna
            raise _unreadable(source.split("@")[-1], error) from error
    path = Path(source.removeprefix(_SQLITE_URL))
    if not path.exists():
        raise DataError(f"{path} does not exist; give a study's SQLite or journal file, or a URL")
    try:
        with open_regular(path) as file:
            start = file.readline(65536)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if start.startswith(_SQLITE_MAGIC):
        return _sqlite(path)
    if _begins_a_journal(start):
        return _journal(path)
    raise DataError(f"{path} is neither an SQLite file nor a journal of Optuna; is it the study's own file?")


def _sqlite(path: Path) -> BaseStorage:
    """The storage over a read-only connection: Optuna would make its tables in any other file."""
    from optuna.storages import RDBStorage
    from sqlalchemy.pool import NullPool

    address = f"{path.resolve().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, uri=True, check_same_thread=False)

    try:
        with closing(connect()) as connection:
            tables = {
                row[0] for row in connection.execute("select name from sqlite_master where type='table'")
            }
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    if "studies" not in tables:
        raise DataError(f"{path} is an SQLite file without Optuna's tables; is it the study's own file?")
    try:
        return RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool})
    except Exception as error:  # a damaged file, or the tables of another version of Optuna
        raise _unreadable(path, error) from error


def _begins_a_journal(line: bytes) -> bool:
    try:
        first: Any = parse_json(line)
    except ValueError:
        return False
    return isinstance(first, dict) and "op_code" in first


def _journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except Exception as error:
        raise _unreadable(path, error) from error

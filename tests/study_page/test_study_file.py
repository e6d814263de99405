# SPDX-License-Identifier: Apache-2.0
import sqlite3
import subprocess
import sys

import pytest

from diffhpo.errors import DataError, InputError
from diffhpo.study_page import open_study

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def fill(storage, name="a", values=(1.0, 3.0, 2.0)):
    study = optuna.create_study(study_name=name, storage=storage)
    x = optuna.distributions.FloatDistribution(0, 1)
    for k, value in enumerate(values):
        trial = optuna.create_trial(value=value, params={"x": k / 10}, distributions={"x": x})
        study.add_trial(trial)
    return study


def journal_of(path):
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    return optuna.storages.JournalStorage(backend)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "some study?#%20.db"
    storage = optuna.storages.RDBStorage(
        "sqlite://", engine_kwargs={"creator": lambda: sqlite3.connect(path, check_same_thread=False)}
    )
    fill(storage)
    return path


def values(study):
    return [trial.value for trial in study.trials]


def test_an_sqlite_file_is_read_and_not_touched(database):
    before = database.read_bytes()
    assert values(open_study(database)) == [1.0, 3.0, 2.0]
    assert values(open_study(f"sqlite:///{database}", "a")) == [1.0, 3.0, 2.0]
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]


def test_a_journal_is_read_and_not_touched(tmp_path):
    path = tmp_path / "journal.log"
    fill(journal_of(path))
    before = path.read_bytes()
    assert values(open_study(path)) == [1.0, 3.0, 2.0]
    assert path.read_bytes() == before


def test_among_several_studies_one_must_be_named(tmp_path):
    path = tmp_path / "journal.log"
    fill(journal_of(path))
    fill(journal_of(path), "b", [5.0])
    assert values(open_study(path, "b")) == [5.0]
    with pytest.raises(InputError, match="2 studies; choose one with --study-name: 'a', 'b'"):
        open_study(path)
    with pytest.raises(InputError, match="no study 'c'; it holds 'a', 'b'"):
        open_study(path, "c")


def test_what_is_no_study_is_refused_by_name(tmp_path, database):
    with pytest.raises(DataError, match=r"none\.db does not exist"):
        open_study(tmp_path / "none.db")
    with pytest.raises(DataError, match=r"none\.db does not exist"):
        open_study(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(DataError, match="cannot be read"):
        open_study(tmp_path)
    for content in (b"", b"lr,value\n0.1,2\n", b"\x89PNG\r\n\x1a\n", b"[1]\n", b'{"a": 1}\n'):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(DataError, match="neither an SQLite file nor a journal"):
            open_study(tmp_path / "other")
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("create table cats (name text)")
    connection.close()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(DataError, match="without Optuna's tables"):
        open_study(tmp_path / "other.db")
    assert (tmp_path / "other.db").read_bytes() == before


def test_a_database_that_optuna_would_have_to_mend_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "half.db") as connection:
        connection.execute("create table studies (study_id integer, study_name text)")
    connection.close()
    before = (tmp_path / "half.db").read_bytes()
    with pytest.raises(DataError, match=r"half\.db cannot be read as an Optuna storage"):
        open_study(tmp_path / "half.db")
    assert (tmp_path / "half.db").read_bytes() == before


def test_damaged_files_are_named(tmp_path, database):
    whole = database.read_bytes()
    (tmp_path / "cut.db").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match=r"cut\.db"):
        open_study(tmp_path / "cut.db")
    (tmp_path / "noise.db").write_bytes(whole[:100] + b"\x07" * 9000)
    with pytest.raises(DataError, match=r"noise\.db"):
        open_study(tmp_path / "noise.db")
    path = tmp_path / "journal.log"
    fill(journal_of(path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"{]\n", *lines[2:]]))
    with pytest.raises(DataError, match=r"journal\.log cannot be read as an Optuna storage"):
        open_study(path)


def test_an_empty_storage_says_so(tmp_path):
    path = tmp_path / "empty.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}")
    with pytest.raises(DataError, match="holds no study"):
        open_study(path)


@pytest.mark.parametrize("url", ["nosuch://host/db", "postgresql://user:secret@127.0.0.1:1/db"])
def test_a_storage_that_cannot_be_opened_is_named_without_its_password(url):
    with pytest.raises(DataError) as caught:
        open_study(url)
    assert "secret" not in str(caught.value)


def test_without_optuna_the_error_has_the_command(tmp_path):
    (tmp_path / "optuna.py").write_text("raise ImportError('none')")
    script = "from diffhpo.study_page import open_study; open_study('a.db')"
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {script}"],
        capture_output=True,
        text=True,
    )
    assert (
        'DependencyError: optuna is needed for this module and is not installed: pip install "optuna'
        in run.stderr
    )

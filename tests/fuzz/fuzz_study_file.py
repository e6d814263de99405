# SPDX-License-Identifier: Apache-2.0
"""Journal files of Optuna studies, up to what a page shows of them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from diffhpo.study_page.study_file import open_study
from diffhpo.study_page.study_run import study_run

optuna.logging.set_verbosity(optuna.logging.ERROR)


def seeds():
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        study = optuna.create_study(
            study_name="a",
            storage=JournalStorage(JournalFileBackend(str(path))),
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        for _ in range(2):
            trial = study.ask()
            value = trial.suggest_float("x", 1e-3, 1, log=True) + trial.suggest_int("n", 1, 9)
            trial.suggest_categorical("c", ["a", "b", None])
            trial.report(value, 1)
            study.tell(trial, value)
        yield path.read_bytes()


def one_input(data, folder):
    path = folder / "file"
    path.write_bytes(data)
    study_run(open_study(path))

# SPDX-License-Identifier: Apache-2.0
"""Files of rollouts are the same whoever makes them; what goes wrong in another process has its name here."""

import os
import signal
import threading
import time

import pytest
from tests.pretraining.failing_sources import Ending, Slow
from tests.untrained_model import untrained_model

from diffhpo.errors import CheckpointError, DataError, InputError, RunError
from diffhpo.model.universal.checkpoint import UniversalCheckpoint, save_universal
from diffhpo.pretraining.rollout_collection import collect_rollouts
from diffhpo.pretraining.source import MixedTasks, SyntheticTasks

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def folder(tmp_path):
    save_universal(tmp_path / "model.safetensors", UniversalCheckpoint(untrained_model()))
    return tmp_path


def collect(folder, make=SyntheticTasks(3), **changes):  # noqa: B008  (frozen)
    asked = {
        "chunks": range(3),
        "size": 4,
        "points": 256,
        "seed": 0,
        "rival_share": 0.5,
        "progress": False,
        **changes,
    }
    collect_rollouts(folder, make, **asked)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}


def test_the_files_do_not_depend_on_the_number_of_workers(folder):
    alone = collect(folder)
    assert sorted(alone) == ["0.npz", "1.npz", "2.npz"]
    for name in alone:
        (folder / name).unlink()
    assert collect(folder, workers=2) == alone
    # One that is missing is made again, the others are left.
    before = {name: (folder / name).stat().st_mtime_ns for name in alone}
    (folder / "1.npz").unlink()
    assert collect(folder, workers=2) == alone
    assert {name: (folder / name).stat().st_mtime_ns for name in ("0.npz", "2.npz")} == {
        name: before[name] for name in ("0.npz", "2.npz")
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_what_goes_wrong_in_a_worker_has_its_name(folder, workers):
    bank = MixedTasks(0, str(folder / "nowhere.npz"), 0.5)
    with pytest.raises(DataError, match=r"nowhere\.npz is not a bank"):
        collect(folder, bank, workers=workers)
    (folder / "model.safetensors").write_bytes(b"none")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        collect(folder, workers=workers)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_worker_that_was_ended_is_told(folder):
    with pytest.raises(RunError, match="memory may have run out"):
        collect(folder, Ending(), workers=2)


def test_ctrl_c_ends_the_wait_for_the_workers(folder):
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        collect(folder, Slow(15.0), workers=2)
    assert time.monotonic() - started < 12


@pytest.mark.parametrize("workers", [0, 1.5, "2"])
def test_a_number_of_workers_that_is_none_is_refused(folder, workers):
    with pytest.raises(InputError, match="workers"):
        collect(folder, workers=workers)

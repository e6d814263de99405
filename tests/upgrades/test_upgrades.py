# SPDX-License-Identifier: Apache-2.0
"""Files that earlier versions wrote load for ever and give what they gave; newer ones say what to install."""

import json
import re
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

pytest.importorskip("optuna")
sys.path.insert(0, str(Path(__file__).parent))

import readers
import write_files

from diffhpo import Optimizer, Trial, __version__
from diffhpo.errors import CheckpointError, DataError, DiffHPOError, SpaceError
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.space import Space

FILES = write_files.FILES
GIVEN = ".given.json"
KEPT = sorted(path.name.removesuffix(GIVEN) for path in FILES.glob(f"*{GIVEN}"))
#: What people write too, and Optuna's storage: neither has a schema of diffhpo's.
WITHOUT_SCHEMA = ("space", "trials", "study")
WITH_SCHEMA = [name for name in KEPT if not name.startswith(WITHOUT_SCHEMA)]


def read(path):
    kind = path.name.split("-")[0]
    if kind == "ray":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Ray's own imports
            pytest.importorskip("ray.tune")
    return readers.READERS[kind](path)


def close(found, wanted):
    """Equal, with floats to the rounding of another machine or another torch."""
    if isinstance(wanted, dict):
        same_keys = isinstance(found, dict) and found.keys() == wanted.keys()
        return same_keys and all(close(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(close, found, wanted))
    if isinstance(wanted, float):
        return found == pytest.approx(wanted, rel=1e-3, abs=1e-5)
    return type(found) is type(wanted) and found == wanted


def test_a_file_of_each_present_schema_is_kept():
    missing = [name for name in write_files.WRITERS if name not in KEPT or not (FILES / name).exists()]
    assert missing == [], "run `python tests/upgrades/write_files.py` and keep what it writes"
    assert set(readers.READERS) == {name.split("-")[0] for name in KEPT}


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_file_gives_what_it_gave(name, tmp_path):
    source = FILES / name
    path = Path((shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name))
    found = json.loads(json.dumps(read(path)))
    wanted = json.loads((FILES / f"{name}{GIVEN}").read_text(encoding="utf-8"))
    assert close(found, wanted), found


def test_a_kept_optimizer_suggests_what_one_told_the_same_does():
    found = Optimizer.load(FILES / "optimizer-1.safetensors")
    again = Optimizer(write_files.SPACE, seed=4, direction="minimize", initial=3)
    again.tell([Trial({"lr": 0.1, "kind": "a"}, 0.5), Trial({"lr": 0.01, "kind": "b", "depth": 3}, 0.25)])
    again.tell({"lr": 0.2, "kind": "c", "depth": 9}, failed=True)
    again.enqueue([{"lr": 1.0, "kind": "a"}])
    assert [s.parameters for s in found.ask(4)] == [s.parameters for s in again.ask(4)]


def changed(name, folder, schema, writer):
    """A copy of a kept file that says another schema and writer; None leaves the writer out."""
    source, path = FILES / name, folder / name
    if source.is_dir():
        shutil.copytree(source, path)
    else:
        shutil.copy(source, path)
    kind = name.split("-")[0]
    said = {"schema": schema, **({} if writer is None else {WRITER: writer})}
    if name.endswith(".safetensors"):
        with safe_open(path, framework="pt") as file:
            metadata = {key: value for key, value in file.metadata().items() if key != WRITER}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        save_file(tensors, path, {**metadata, **{key: str(value) for key, value in said.items()}})
    elif kind in ("bank", "rollouts", "tasks"):
        file = path / "0.npz" if kind == "rollouts" else path
        with np.load(file) as archive:
            arrays = {key: value for key, value in archive.items() if key != WRITER}
        if kind == "tasks":
            index = {key: value for key, value in json.loads(str(arrays["index"])).items() if key != WRITER}
            arrays["index"] = np.array(json.dumps({**index, **said}))
        else:
            arrays |= {key: np.array(value) for key, value in said.items()}
        np.savez(file, **arrays)
    else:
        place = {"run": "run.json", "cache": "hpob/hpob-data.manifest.json"}.get(kind)
        file = path / place if place else path
        content = {key: value for key, value in json.loads(file.read_text()).items() if key != WRITER}
        if kind == "ray":
            said["version"] = said.pop("schema")
        file.write_text(json.dumps({**content, **said}))
    return path


@pytest.mark.parametrize("name", WITH_SCHEMA)
@pytest.mark.parametrize(
    ("writer", "wanted"),
    [
        ("9.1.0", r'written by diffhpo 9\.1\.0; .*: pip install --upgrade "diffhpo>=9\.1\.0"$'),
        (None, rf'written by a newer diffhpo; .*: pip install --upgrade "diffhpo>{re.escape(__version__)}"$'),
    ],
)
def test_a_newer_file_names_both_versions_and_what_to_install(name, writer, wanted, tmp_path):
    path = changed(name, tmp_path, 99, writer)
    with pytest.raises(DiffHPOError) as caught:
        read(path)
    said = str(caught.value)
    assert f"this is diffhpo {__version__}, which reads up to schema 1" in said
    assert re.search(f" has schema 99, {wanted}", said)


@pytest.mark.parametrize("name", WITH_SCHEMA)
def test_files_of_before_writers_left_their_version_are_read(name, tmp_path):
    read(changed(name, tmp_path, 1, None))


@pytest.mark.parametrize("name", WITH_SCHEMA)
@pytest.mark.parametrize("schema", [0, -1, "one"])
def test_no_schema_at_all_is_damage(name, schema, tmp_path):
    with pytest.raises((CheckpointError, DataError), match="its schema is"):
        read(changed(name, tmp_path, schema, None))


def test_present_writers_leave_their_version(tmp_path):
    for kind in ("checkpoint", "universal", "optimizer"):
        write_files.WRITERS[f"{kind}-1.safetensors"](tmp_path / kind)
        with safe_open(tmp_path / kind, framework="pt") as file:
            assert file.metadata()[WRITER] == __version__
    write_files.cache(tmp_path / "cache")
    manifest = json.loads((tmp_path / "cache" / "hpob" / "hpob-data.manifest.json").read_text())
    assert manifest[WRITER] == __version__
    write_files.bank(tmp_path / "bank.npz")
    with np.load(tmp_path / "bank.npz") as archive:
        assert str(archive[WRITER]) == __version__
    with write_files.Journal(tmp_path / "run", readers.read_runs(FILES / "run-1")[0]):
        assert json.loads((tmp_path / "run" / "run.json").read_text())[WRITER] == __version__


@pytest.mark.parametrize(
    "writer", ["9.0; rm -rf ~", "9.0\n", "", "latest", "9" * 50, 7, ["9.0"], "٩.0", "9.0 --index-url x"]
)
def test_only_a_version_gets_into_the_command(writer):
    with pytest.raises(DataError) as caught:
        check_schema(2, 1, "a", writer=writer, error=DataError)
    assert str(caught.value).endswith(f'pip install --upgrade "diffhpo>{__version__}"')


def test_a_writer_no_newer_than_this_version_is_not_recommended():
    with pytest.raises(DataError, match=re.escape(f'"diffhpo>{__version__}"')):
        check_schema(2, 1, "a", writer="0.0.9", error=DataError)


@pytest.mark.parametrize("found", [None, True, 1.0, "", "1.0", " 1", "٣", [], {}, 10**20])
def test_what_is_no_schema_is_damage(found):
    with pytest.raises(DataError, match="damaged"):
        check_schema(found, 1, "a", error=DataError)


@pytest.mark.parametrize("name", [name for name in KEPT if name.endswith(".safetensors")])
def test_a_tensor_that_the_schema_does_not_know_is_refused(name, tmp_path):
    path = tmp_path / name
    with safe_open(FILES / name, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        save_file({**tensors, "later.weight": torch.zeros(3)}, path, file.metadata())
    with pytest.raises(CheckpointError, match=r"1 tensors that its schema does not know.*later\.weight"):
        read(path)


def test_facts_that_the_schema_does_not_know_are_left_out(tmp_path):
    path = tmp_path / "optimizer-1.safetensors"
    with safe_open(FILES / path.name, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        save_file(tensors, path, {**file.metadata(), "author": "somebody"})
    assert read(path) == read(FILES / path.name)


def test_a_field_of_a_parameter_that_is_not_known_is_refused():
    content = {"lr": {"type": "float", "low": 0, "high": 1, "prior": "normal"}}
    with pytest.raises(SpaceError, match=r"'lr': 'prior' is no field of a float; accepted: low.*--upgrade"):
        Space.from_json(content)

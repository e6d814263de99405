# SPDX-License-Identifier: Apache-2.0
"""Files that are well formed and ask for what they must not get: memory, time, other files, silence."""

import gzip
import io
import json
import os
import re
import resource
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tests.faults.file_readers import GRID, READERS, TABLES

from diffhpo.errors import CheckpointError, DataError, DiffHPOError, RunError, SpaceError
from diffhpo.hpob import Benchmark
from diffhpo.hpob.archive import unpack
from diffhpo.hpob.json_file import read_json
from diffhpo.hpob.surrogate import Surrogate
from diffhpo.model import Checkpoint, Network, NoiseSchedule, Transformer, load_checkpoint, save_checkpoint
from diffhpo.pretraining.rollout_file import load_rollouts
from diffhpo.study.collection import collect
from diffhpo.study.journal import Journal, encode_line
from diffhpo.trial_table import infer_space, read_space_file, read_trial_table


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stated(path):
    """A checkpoint's tensors and text; the text without its checksum."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    text = {key: value for key, value in header["__metadata__"].items() if key != "sha256"}
    loaded = load_checkpoint(path)
    tensors = {"schedule.betas": loaded.schedule.betas}
    for part in ("network", "transformer"):
        tensors |= {f"{part}.{name}": value for name, value in getattr(loaded, part).state_dict().items()}
    return tensors, text


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "checkpoint"
    save_checkpoint(path, Checkpoint(Network(2, width=8), Transformer(2, width=8), NoiseSchedule.linear(20)))
    return path


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "changed",
    [
        {"width": 200_000},
        {"blocks": 10**9},
        {"blocks": 100, "width": 10_000},
        {"dim": 2**62},
        {"width": 10**400},
        {"width": -8},
        {"width": 8.0},
        {"width": "8"},
        {"time_features": 10**8},
        {"unknown": 1},
        [1, 2],
        None,
    ],
    ids=str,
)
def test_25_a_small_checkpoint_cannot_ask_for_a_large_model(changed, checkpoint):
    tensors, text = stated(checkpoint)
    sizes = json.loads(text["network"]) | changed if isinstance(changed, dict) else changed
    checkpoint.write_bytes(save(tensors, text | {"network": json.dumps(sizes)}))
    before = peak_megabytes()
    with pytest.raises(CheckpointError, match=re.escape(str(checkpoint))):
        load_checkpoint(checkpoint)
    assert peak_megabytes() < before + 200


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "value", ["[" * 100_000, "9" * 5000, '{"a": 1, "a": 2}', "[1e400]", "-1", "[" * 500 + "]" * 500]
)
@pytest.mark.parametrize("entry", ["network", "extra", "step"])
def test_25_hostile_text_in_a_checkpoint(entry, value, checkpoint):
    tensors, text = stated(checkpoint)
    checkpoint.write_bytes(save(tensors, text | {entry: value}))
    with pytest.raises(CheckpointError, match=r"damaged metadata"):
        load_checkpoint(checkpoint)


@pytest.mark.fault(25)
def test_25_a_damaged_weight_is_seen_by_its_checksum_and_old_files_have_none(checkpoint):
    data = bytearray(checkpoint.read_bytes())
    data[-5] ^= 4  # of the last number's mantissa
    damaged = checkpoint.with_name("damaged")
    damaged.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"is damaged: its sha256 was [0-9a-f]{64} when"):
        load_checkpoint(damaged)
    tensors, text = stated(checkpoint)
    checkpoint.write_bytes(save(tensors, text))
    load_checkpoint(checkpoint)


@pytest.mark.fault(25)
def test_25_what_was_read_does_not_follow_the_file(checkpoint):
    loaded = load_checkpoint(checkpoint)
    weights = {name: value.clone() for name, value in loaded.network.state_dict().items()}
    size = checkpoint.stat().st_size
    with checkpoint.open("r+b") as file:
        file.write(b"\xff" * size)
        file.flush()
        os.ftruncate(file.fileno(), 0)  # the pages of a mapped file are gone: reading them ends the process
    assert all(torch.equal(value, weights[name]) for name, value in loaded.network.state_dict().items())


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "text",
    [
        '{"x": {"type": "float", "low": 0, "high": 1e400}}',
        '{"x": {"type": "float", "low": NaN, "high": 1}}',
        '{"x": {"type": "float", "low": 0, "high": 1}, "x": {"type": "float", "low": 0, "high": 9}}',
        '{"x": {"type": "float", "low": 0, "low": 1, "high": 2}}',
        '{"x": {"type": "int", "low": 0, "high": 1' + "0" * 400 + "}}",
        '{"x": {"type": "int", "low": 0, "high": 1' + "0" * 5000 + "}}",
        '{"x": {"type": "categorical", "choices": [1, 1e400]}}',
        '{"x": {"type": "categorical", "choices": [1, ' + "[" * 300 + "]" * 300 + "]}}",
        '{"x": {"type": "ordinal", "choices": ' + json.dumps(list(range(200_000))) + "}}",
        '{"x": {"type": "ordinal", "choices": ' + json.dumps([[i] for i in range(9_000)]) + "}}",
        '{"x": {"type": ["float"], "low": 0, "high": 1}}',
    ],
    ids=lambda text: text[:60],
)
def test_25_hostile_spaces(text, tmp_path):
    path = tmp_path / "space.json"
    path.write_text(text)
    with pytest.raises((DataError, SpaceError)) as caught:
        read_space_file(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2000 + len(str(path))


@pytest.mark.fault(25)
def test_25_histories_are_not_misread(tmp_path):
    path = tmp_path / "history.csv"

    def read(text):
        path.write_text(text)
        return read_trial_table(path)

    # Columns go by their names, whatever their order.
    first, second = read("lr,depth,y\n0.5,1,2\n0.1,2,3\n"), read("depth,lr,y\n1,0.5,2\n2,0.1,3\n")
    assert first.configurations() == second.configurations()
    # A file without a header would lose its first trial, and name the columns after it.
    with pytest.raises(DataError, match="header"):
        read("0.5,1,2\n0.1,2,3\n")
    assert read("0,1,2\n5,6,7\n").objective == [7.0]
    with pytest.raises(DataError, match="1_000"):
        read("x,y\n1,1_000\n")
    assert read("x,y\n1_0,1\n2,2\n").columns == {"x": ["1_0", "2"]}
    for cells in ("1\n1" + "0" * 400, "nan\n1\n2", "1\nnan\n2", "1e400\n1"):
        table = read("x,y\n" + "".join(f"{cell},1\n" for cell in cells.split("\n")))
        with pytest.raises(SpaceError, match="not finite"):
            infer_space(table)
    # Beyond 2**53 neighbours are one double: they are searched as reals.
    assert read(f"x,y\n{2**53 + 2},1\n2,1\n").columns == {"x": [float(2**53 + 2), 2.0]}


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "value", ["1e400", "NaN", "-Infinity", "1" + "0" * 400, "1" + "0" * 5000, '"1"', "null"]
)
def test_25_what_is_no_number_in_a_benchmark(value, tmp_path):
    wrong = json.dumps(TABLES).replace("0.5", value)
    (tmp_path / "meta-train-dataset.json").write_text(wrong)
    with pytest.raises(DataError):
        Benchmark(tmp_path, split="train").task("s", "t")


@pytest.mark.fault(25)
def test_25_a_task_that_comes_twice_is_refused(tmp_path):
    table = json.dumps(TABLES["s"]["t"])
    (tmp_path / "meta-train-dataset.json").write_text(f'{{"s": {{"t": {table}, "t": {table}}}}}')
    with pytest.raises(DataError, match="'t' comes twice"):
        Benchmark(tmp_path, split="train").task("s", "t")


@pytest.mark.fault(25)
def test_25_bombs_are_not_unpacked(tmp_path):
    before = peak_megabytes()
    with gzip.open(tmp_path / "a.json.gz", "wb", 1) as out:
        for _ in range(300):
            out.write(b" " * (1 << 20))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_json(tmp_path / "a.json.gz")
    with zipfile.ZipFile(tmp_path / "0.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f8", "fortran_order": False, "shape": (300 << 17,)}
        )
        with out.open("order.npy", "w") as member:
            member.write(header.getvalue())
            for _ in range(300):
                member.write(bytes(1 << 20))
    with pytest.raises(DataError, match="unpack to"):
        load_rollouts(tmp_path, 0)
    assert peak_megabytes() < before + 250


@pytest.mark.fault(25)
def test_25_arrays_that_claim_more_than_there_is(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 10**5)}
    )
    with zipfile.ZipFile(tmp_path / "0.npz", "w") as out:
        out.writestr("order.npy", header.getvalue())
        out.writestr("asked.npy", header.getvalue())
    with pytest.raises(DataError, match="file of rollouts"):
        load_rollouts(tmp_path, 0)


@pytest.mark.fault(27)
def test_27_archives_that_ask_for_much_write_nothing(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    for method, name, reason in (
        (zipfile.ZIP_LZMA, "a", "another way than deflate"),
        (zipfile.ZIP_BZIP2, "a", "another way than deflate"),
        (zipfile.ZIP_DEFLATED, "a" * 300, "over 255 bytes"),
        (zipfile.ZIP_DEFLATED, "large", "more than 1000 bytes"),
    ):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as out:
            out.writestr(name, bytes(2000 if name == "large" else 10))
        with pytest.raises(DataError, match=reason):
            unpack(tmp_path / "a.zip", target, max_bytes=1000)
        assert list(target.iterdir()) == []


def _tree(model, name):
    return model["learner"]["gradient_booster"]["model"]["trees"][0][name]


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda m: _tree(m, "left_children").__setitem__(0, 10**6), "a child that is not there"),
        (lambda m: _tree(m, "left_children").__setitem__(0, 0), "a child that is not there"),
        (lambda m: _tree(m, "left_children").__setitem__(1, 2), "child"),
        (lambda m: _tree(m, "right_children").__setitem__(0, 1), "the child of two"),
        (lambda m: _tree(m, "split_indices").__setitem__(0, 7), "a feature that is not there"),
        (lambda m: _tree(m, "split_indices").__setitem__(0, -1), "a feature that is not there"),
        (lambda m: _tree(m, "split_conditions").__setitem__(0, float("nan")), "not finite"),
        (lambda m: _tree(m, "split_conditions").pop(), "numbers are needed"),
        (lambda m: _tree(m, "split_type").__setitem__(0, 1), "categorical"),
        (lambda m: _tree(m, "tree_param").__setitem__("num_nodes", "1000000000"), "numbers are needed"),
        (lambda m: m["learner"]["learner_model_param"].__setitem__("num_feature", "3"), "its sizes are"),
        (lambda m: m["learner"]["learner_model_param"].__setitem__("num_class", "5"), "num_class"),
        (
            lambda m: m["learner"]["gradient_booster"]["model"]["tree_info"].__setitem__(0, 9),
            "several groups",
        ),
        (lambda m: m["learner"]["gradient_booster"].__setitem__("name", "dart"), "not gbtree"),
        (lambda m: m.pop("learner"), "learner"),
    ],
)
def test_25_surrogates_that_would_crash_xgboost_do_not_reach_it(damage, reason, tmp_path):
    path = tmp_path / "model.json"
    model = json.loads(READERS["surrogate"].content(tmp_path))
    damage(model)
    path.write_text(json.dumps(model))
    with pytest.raises(DataError, match=reason):
        Surrogate(path, 2)([[0.5, 0.5]])


@pytest.mark.fault(31)
@pytest.mark.parametrize("name", ["lock", "journal.jsonl"])
def test_31_a_run_directory_of_others_names_no_file_outside(name, tmp_path):
    outside, directory = tmp_path / "outside", tmp_path / "run"
    outside.write_text("one line")
    directory.mkdir()
    (directory / name).symlink_to(outside)
    if name == "journal.jsonl":
        (directory / "run.json").write_text(json.dumps({"schema": 1, "grid": GRID.to_json()}))
    with pytest.raises(DiffHPOError):
        Journal(directory, GRID)
    assert outside.read_text() == "one line"
    # Nor is another file in a journal's place taken for a journal's torn end.
    (directory / name).unlink()
    if name == "journal.jsonl":
        (directory / name).write_text("one line")
        with pytest.raises(DataError):
            Journal(directory, GRID)
        assert (directory / name).read_text() == "one line"
    else:
        os.mkfifo(directory / name)
        with pytest.raises(RunError, match="no regular file"):
            Journal(directory, GRID)


@pytest.mark.fault(25)
@pytest.mark.parametrize(
    "change",
    [
        {"incumbents": [0.1, float("nan")]},
        {"incumbents": "abc"},
        {"incumbents": []},
        {"incumbents": [0.1, 10**400]},
        {"suggest_seconds": [1.0, 2.0, 3.0]},
        {"seconds": None},
        {"data": 3},
        {"warnings": 3},
        {"versions": [1]},
        {"error": {"type": 1}},
        {"error": "x"},
    ],
    ids=str,
)
def test_25_records_that_a_report_cannot_read(change, tmp_path):
    record = {
        "space": "s",
        "task": "t",
        "seed": "test0",
        "method": "random",
        "error": None,
        "incumbents": [0.1, 0.2],
        "suggest_seconds": [1.0],
        "seconds": 1.0,
        "data": "x",
        "warnings": {},
        "versions": {"python": "3"},
        "machine": {"cores": "2"},
    }
    (tmp_path / "run.json").write_text(json.dumps({"schema": 1, "grid": GRID.to_json()}))
    (tmp_path / "journal.jsonl").write_bytes(encode_line(record))
    assert len(collect([tmp_path]).runs) == 1
    (tmp_path / "journal.jsonl").write_bytes(encode_line(record | change))
    with pytest.raises(DataError):
        collect([tmp_path])

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from diffhpo.errors import DataError
from diffhpo.hpob.json_file import read_bytes, read_json, write_json


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        read_bytes(tmp_path)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"{}")[:-4])
    with pytest.raises(DataError, match=r"a\.json\.gz is not a complete gzip file"):
        read_bytes(tmp_path / "a.json.gz")
    (tmp_path / "a.json.gz").write_bytes(b"{}")
    with pytest.raises(DataError, match=r"a\.json\.gz is not a complete gzip file"):
        read_bytes(tmp_path / "a.json.gz")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1]", "holds a JSON list"), (b'"\xff"}', "not valid JSON"), (b'{"a": ', "truncated"), (b"", "empty")],
)
def test_a_file_without_an_object_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.json .*{message}"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_hold_is_not_written(tmp_path: Path, value: Any) -> None:
    write_json(tmp_path / "a.json", {"kept": 1})
    with pytest.raises(DataError, match=r"a\.json was not written"):
        write_json(tmp_path / "a.json", {"a": value})
    assert read_json(tmp_path / "a.json") == {"kept": 1}


def test_a_compressed_file_is_a_function_of_its_content(tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        write_json(tmp_path / name, {"a": 0.1})
    contents = [(tmp_path / name).read_bytes() for name in ("a.json.gz", "b.json.gz")]
    assert contents[0] == contents[1]
    assert gzip.decompress(contents[0]) == b'{"a": 0.1}'

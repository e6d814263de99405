# SPDX-License-Identifier: Apache-2.0
"""The embedded suite: an HPO-B-format benchmark of real XGBoost tuning tasks that comes with the package.

Every task is a classification table. A configuration's response is its cross-validated accuracy, measured
with XGBoost by this project; the table of evaluations serves the discrete protocol, a surrogate fitted to
them by HPO-B's recipe the continuous one. The tables are split into "train", "validation" and "test"; each
split is a benchmark directory of its own. Figures on this suite compare with other methods run on it, not
with published HPO-B figures. A surrogate may exceed an accuracy of 1 where it extrapolates; y_max is its own
maximum, so that a normalised regret of 0 can be reached.

`SOURCES.md` beside the data names the origin and licence of each table, `descriptor.json` tells how all was
computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from diffhpo.errors import DataError, InputError
from diffhpo.files.atomic_write import reason_and_remedy
from diffhpo.hpob.json_file import read_bytes, read_json
from diffhpo.hpob.suite.column import Column, to_native
from diffhpo.hpob.suite.source import SuiteTask

if TYPE_CHECKING:
    from diffhpo.hpob.data import Benchmark

__all__ = [
    "SPACE",
    "SPLITS",
    "Column",
    "SuiteTask",
    "benchmark",
    "describe",
    "export",
    "native",
    "root",
    "tasks",
]

#: Name of the suite's one search space.
SPACE = "xgboost"
#: Each split is a directory with HPO-B's file names.
SPLITS = ("test", "validation", "train")

_HERE = Path(__file__).resolve().parent


def root(split: str = "test") -> Path:
    """Directory of one split, in HPO-B's layout with gzipped files: what `Benchmark` opens.

    Args:
        split: "test", "validation" or "train".

    Raises:
        InputError: Unknown split.
        DataError: The package was installed without its data.

    Example:
        >>> root("test").name
        'test'
    """
    if split not in SPLITS:
        raise InputError(f"split is {split!r}; accepted: {', '.join(SPLITS)}")
    path = _HERE / split
    if not path.is_dir():
        raise DataError(f"{path} is missing: the package lacks its data; install diffhpo again")
    return path


def benchmark(split: str = "test") -> Benchmark:
    """One split, opened. The surrogates need xgboost when they are first called; the tables do not.

    Args:
        split: "test", "validation" or "train".

    Raises:
        InputError: Unknown split.
        DataError: A file is missing or damaged.

    Example:
        >>> suite = benchmark("test")
        >>> suite.spaces()
        ['xgboost']
        >>> suite.task("xgboost", "vehicle").dim
        10
    """
    from diffhpo.hpob.data import Benchmark

    return Benchmark(root(split))


def _descriptor() -> dict[str, Any]:
    return read_json(_HERE / "descriptor.json")


def _incomplete(error: Exception) -> DataError:
    return DataError(f"{_HERE / 'descriptor.json'} is not complete ({error!r}); install diffhpo again")


def describe() -> list[Column]:
    """The columns of the search space, in the order of the coordinates.

    Raises:
        DataError: `descriptor.json` is missing or damaged.

    Example:
        >>> [column.name for column in describe()][:3]
        ['eta', 'max_depth', 'min_child_weight']
    """
    try:
        return [
            Column(**(entry | {"choices": tuple(entry["choices"])})) for entry in _descriptor()["columns"]
        ]
    except (KeyError, TypeError) as error:
        raise _incomplete(error) from error


def native(x: ArrayLike) -> list[dict[str, float | int | str]]:
    """Configurations of the unit cube in XGBoost's own units.

    Args:
        x: (n, 10) in [0, 1].

    Returns:
        One dict a row, ready for `xgboost.train` but for "nrounds", which is its number of rounds.

    Raises:
        InputError: Wrong shape, or values that are not finite or outside [0, 1].

    Example:
        >>> native([[0.5] * 9 + [1.0]])[0]["booster"]
        'gblinear'
    """
    return to_native(describe(), x)


def tasks(split: str | None = None) -> list[SuiteTask]:
    """The tasks with their tables, licences and the quality of their surrogates.

    Args:
        split: One split, or None for all.

    Raises:
        InputError: Unknown split.
        DataError: `descriptor.json` is missing or damaged.

    Example:
        >>> tasks("test")[0].licence
        'CC-BY-4.0'
    """
    if split is not None and split not in SPLITS:
        raise InputError(f"split is {split!r}; accepted: {', '.join(SPLITS)}, or None for all")
    try:
        found = [SuiteTask.from_json(name, entry) for name, entry in _descriptor()["tasks"].items()]
    except (KeyError, TypeError) as error:
        raise _incomplete(error) from error
    return [task for task in found if split in (None, task.split)]


def export(path: str | Path, split: str = "test") -> Path:
    """Write one split as plain HPO-B files, for tools that read no gzip, as HPO-B's own handler::

        HPOBHandler(root_dir=f"{path}/hpob-data/", surrogates_dir=f"{path}/saved-surrogates/", mode="v3-test")

    A target that holds a part of the same export is completed, so that an interrupted export can be repeated.

    Args:
        path: New or empty directory.
        split: "test", "validation" or "train".

    Returns:
        The directory.

    Raises:
        InputError: Unknown split.
        DataError: The target holds other files, or cannot be written.
    """
    source, target = root(split), Path(path).expanduser()
    contents = {
        Path(file.parent.name, file.name.removesuffix(".gz")): read_bytes(file)
        for file in sorted(source.glob("*/*.json.gz"))
    }
    contents[Path("SOURCES.md")] = read_bytes(_HERE / "SOURCES.md")
    try:
        present = [file for file in target.rglob("*") if not file.is_dir()] if target.is_dir() else []
        for file in present:
            if file.suffix == ".part" and file.relative_to(target).with_suffix("") in contents:
                continue  # left by an interrupted export, which this one repeats
            expected = contents.get(file.relative_to(target))
            if expected is None or file.read_bytes() != expected:
                raise DataError(
                    f"{target} already holds {file.relative_to(target)}, which is not of this export; "
                    "give a new or empty directory"
                )
        for name, content in contents.items():
            if target / name not in present:
                _write(target / name, content)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {reason_and_remedy(error)}, or give another directory"
        ) from error
    return target


def _write(file: Path, content: bytes) -> None:
    """All of the file or nothing: a cut file would look like a stranger's to the next export."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

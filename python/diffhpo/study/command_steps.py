# SPDX-License-Identifier: Apache-2.0
"""What the commands of `diffhpo bench` are made of: reading options, running a grid, reporting it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import typer

from diffhpo.errors import InputError
from diffhpo.study.grid import Grid


def names_of(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def suite_and_split(suite: str, split: str) -> tuple[str, str]:
    """A suite's name or absolute path, and its split, which NAME:SPLIT names too."""
    from diffhpo.suites import NAMES

    name, colon, part = suite.partition(":")
    if name in NAMES:
        return name, part if colon else split
    return str(Path(suite).resolve()), split


def find_own_classes(methods: Sequence[str]) -> None:
    """Lets module:Class be imported from the current directory, here and in worker processes."""
    here = str(Path.cwd())
    if any(":" in name for name in methods) and here not in sys.path:
        sys.path.insert(0, here)


def run_grid(
    out: Path,
    grid: Grid,
    workers: int | None,
    progress: bool,
    retry_failed: bool,
    executor: str = "processes",
) -> int:
    """Runs a grid and tells what happened; the number of failed runs."""
    from diffhpo.study.runner import Executor, run_study

    try:
        outcome = run_study(
            out,
            grid,
            workers=workers,
            executor=cast(Executor, executor),  # run_study refuses another
            progress=progress,
            retry_failed=retry_failed,
        )
    except KeyboardInterrupt as interrupt:
        typer.echo(f"\ninterrupted: {interrupt}", err=True)
        raise typer.Exit(130) from None
    for notice in outcome.notices:
        typer.echo(f"note: {notice}", err=True)
    typer.echo(f"{out}: {outcome.new} new runs, {outcome.kept} kept, {len(outcome.failed)} failed")
    for record in outcome.failed:
        error = record["error"]
        place = "/".join(record[name] for name in ("space", "task", "seed", "method"))
        first_line = error["message"].partition("\n")[0]
        typer.echo(f"failed: {place}: {error['type']}: {first_line}", err=True)
    if outcome.failed:
        typer.echo(
            f"their tracebacks are in {out / 'journal.jsonl'}; --retry-failed makes these runs again",
            err=True,
        )
    return len(outcome.failed)


def report_runs(
    directories: Sequence[Path],
    to: Path | None,
    trials: Sequence[int],
    published: Sequence[Path],
    *,
    allow_missing: bool,
    svg: bool = False,
) -> None:
    from diffhpo.study.report import build_report, write_report

    names = [path.name.removesuffix(".gz").removesuffix(".json") for path in published]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--with names {name} twice; the file's name is the method's, so rename one")
    built = build_report(
        directories,
        trials=trials,
        published=dict(zip(names, published, strict=True)),
        allow_missing=allow_missing,
    )
    to = to or directories[0] / "report"
    files = write_report(built, to, svg=svg)
    typer.echo(built.table())
    if built.aligned.dropped:
        typer.echo(f"{len(built.aligned.dropped)} runs were left out for all methods; the report lists them")
    typer.echo(f"{len(files)} files in {to}: {', '.join(str(path.relative_to(to)) for path in files)}")

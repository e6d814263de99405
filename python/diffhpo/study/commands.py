# SPDX-License-Identifier: Apache-2.0
"""`diffhpo bench`: run a study and report it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from diffhpo.errors import InputError
from diffhpo.study.grid import Grid, Protocol

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Compare methods on a benchmark: run a grid of tasks, seeds and methods, then report it.",
)


@dataclass(frozen=True)
class Preset:
    """A study that is run by name."""

    methods: tuple[str, ...]
    seeds: int
    trials: int


#: The README's main job: `diffhpo bench main` takes less than ten minutes on two cores.
MAIN = Preset(
    methods=("random", "gp", "deep-gp", "tpe", "cma-es", "elites", "brief", "elite"), seeds=1, trials=50
)

Workers = Annotated[
    int | None, typer.Option(help="Processes; each uses one core.", show_default="one for each core")
]
Progress = Annotated[bool, typer.Option(help="Show a progress bar on stderr.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Make runs again that failed before.")]


@app.command(
    epilog="Example: diffhpo bench run --methods random,gp,elite --seeds 3 --trials 50 --out runs/first"
)
def run(
    out: Annotated[Path, typer.Option(help="Run directory; one that was interrupted is resumed.")],
    methods: Annotated[
        str,
        typer.Option(
            help="Names, comma-separated: see `diffhpo bench methods`; module:Class is a class of your own, "
            "from PYTHONPATH or the current directory."
        ),
    ] = "random,gp,elite",
    suite: Annotated[
        str,
        typer.Option(
            help="embedded, hpob-reduced, x48, grid-mlp, grid-fcnet, bbob, or the path of a directory in "
            "HPO-B's format; NAME:SPLIT gives the split too."
        ),
    ] = "embedded",
    split: Annotated[str, typer.Option(help="Part of the suite that the tasks come from.")] = "test",
    protocol: Annotated[
        str, typer.Option(help="continuous (surrogates) or discrete (tables).")
    ] = "continuous",
    corrected: Annotated[
        bool,
        typer.Option(
            "--corrected",
            help="Let the last entry of continuous curves hold the last evaluation; HPO-B's own repeats "
            "the entry before.",
        ),
    ] = False,
    spaces: Annotated[str, typer.Option(help="Search spaces, comma-separated.", show_default="all")] = "",
    tasks: Annotated[
        str,
        typer.Option(help="Tasks, comma-separated: TASK or SPACE/TASK.", show_default="all of the spaces"),
    ] = "",
    seeds: Annotated[
        str, typer.Option(help="How many of the tasks' seeds, or their names, comma-separated.")
    ] = "5",
    trials: Annotated[int, typer.Option(help="Suggestions per run, after the initial evaluations.")] = 50,
    shard: Annotated[
        str,
        typer.Option(help="Part i/n of the grid, to spread it over machines; give each its own --out."),
    ] = "1/1",
    workers: Workers = None,
    progress: Progress = True,
    retry_failed: RetryFailed = False,
) -> None:
    """Run a grid of tasks, seeds and methods.

    What is finished already is not done again. Exit code 0: all runs succeeded. 1: some failed (they are
    named, and in the journal with tracebacks). 130: interrupted by Ctrl-C.
    """
    from diffhpo.study.selection import build_grid

    suite, split = _suite_and_split(suite, split)
    names = _names(methods)
    _find_own_classes(names)
    if seeds.isdecimal():
        seeds_wanted: int | list[str] = int(seeds)
    else:
        seeds_wanted = _names(seeds)
    grid = build_grid(
        suite,
        methods=names,
        split=split,
        spaces=_names(spaces),
        tasks=_names(tasks),
        seeds=seeds_wanted,
        protocol=cast(Protocol, protocol),  # Grid refuses another
        corrected=corrected,
        trials=trials,
        shard=shard,
    )
    failed = _run(out, grid, workers, progress, retry_failed)
    if grid.shard == "1/1":
        typer.echo(f"Report it with: diffhpo bench report {out}" + (" --allow-missing" if failed else ""))
    else:
        typer.echo("Report all shards together with: diffhpo bench report DIRECTORY DIRECTORY ...")
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example: diffhpo bench report runs/first --trials 10,25,50 --with published/Vizier.json")
def report(
    directories: Annotated[
        list[Path], typer.Argument(metavar="RUNDIR...", help="Run directories: one, or all shards of a grid.")
    ],
    to: Annotated[
        Path | None,
        typer.Option(help="Where the report goes.", show_default="`report` in the first run directory"),
    ] = None,
    trials: Annotated[
        str, typer.Option(help="Trials of the table, comma-separated.", show_default="10,25,50 and the last")
    ] = "",
    published: Annotated[
        list[Path] | None,
        typer.Option("--with", help="Results file in HPO-B's format to compare with; can be repeated."),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Compare on the runs that all methods have.")
    ] = False,
    svg: Annotated[bool, typer.Option("--svg", help="Write the figures as SVG too.")] = False,
) -> None:
    """Print the table of a study and write its report.

    The report has report.md, report.json, timing.json, the figures, and results files in HPO-B's own format.
    """
    wanted = []
    for text in _names(trials):
        if not text.isdecimal():
            raise InputError(f"trials names {text!r}; whole numbers are needed, for example 10,25,50")
        wanted.append(int(text))
    _report(directories, to, wanted, published or [], allow_missing=allow_missing, svg=svg)


@app.command(epilog="Example: diffhpo bench main --workers 2")
def main(
    out: Annotated[Path, typer.Option(help="Run directory; one that was interrupted is resumed.")] = Path(
        "runs/main"
    ),
    workers: Workers = None,
    progress: Progress = True,
    retry_failed: RetryFailed = False,
) -> None:
    """Run and report all methods on the embedded suite."""
    from diffhpo.study.selection import build_grid

    grid = build_grid("embedded", methods=MAIN.methods, seeds=MAIN.seeds, trials=MAIN.trials)
    failed = _run(out, grid, workers, progress, retry_failed)
    _report([out], None, [], [], allow_missing=failed > 0)
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example: diffhpo bench methods")
def methods() -> None:
    """List the methods that can be run by name."""
    from diffhpo.study.methods import METHODS

    width = max(map(len, METHODS))
    for name, entry in METHODS.items():
        typer.echo(f"{name:<{width}}  {entry.description}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _suite_and_split(suite: str, split: str) -> tuple[str, str]:
    """A suite's name or absolute path, and its split, which NAME:SPLIT names too."""
    from diffhpo.suites import NAMES

    name, colon, part = suite.partition(":")
    if name in NAMES:
        return name, part if colon else split
    return str(Path(suite).resolve()), split


def _find_own_classes(methods: Sequence[str]) -> None:
    """Lets module:Class be imported from the current directory, here and in worker processes."""
    here = str(Path.cwd())
    if any(":" in name for name in methods) and here not in sys.path:
        sys.path.insert(0, here)


def _run(out: Path, grid: Grid, workers: int | None, progress: bool, retry_failed: bool) -> int:
    """Runs a grid and tells what happened; the number of failed runs."""
    from diffhpo.study.runner import run_study

    try:
        outcome = run_study(out, grid, workers=workers, progress=progress, retry_failed=retry_failed)
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


def _report(
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

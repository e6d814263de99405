# SPDX-License-Identifier: Apache-2.0
"""`diffhpo bench`: run a study and report it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from diffhpo.errors import InputError
from diffhpo.study.command_steps import find_own_classes, names_of, report_runs, run_grid, suite_and_split
from diffhpo.study.grid import Protocol
from diffhpo.study.presets import PRESETS, TABLE_TRIALS

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
            help="embedded, hpob-reduced, hpob-pools, x48, grid-mlp, grid-fcnet, bbob, or the path of a "
            "directory in HPO-B's format; NAME:SPLIT gives the split too."
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
    batch: Annotated[
        int, typer.Option(help="Configurations evaluated together; --trials then counts rounds.")
    ] = 1,
    shard: Annotated[
        str,
        typer.Option(help="Part i/n of the grid, to spread it over machines; give each its own --out."),
    ] = "1/1",
    workers: Workers = None,
    executor: Annotated[
        str,
        typer.Option(
            help="processes of this machine, or ray: those of the Ray cluster that RAY_ADDRESS names or that "
            "runs here; the journal is written here."
        ),
    ] = "processes",
    progress: Progress = True,
    retry_failed: RetryFailed = False,
) -> None:
    """Run a grid of tasks, seeds and methods.

    What is finished already is not done again. Exit code 0: all runs succeeded. 1: some failed (they are
    named, and in the journal with tracebacks). 130: interrupted by Ctrl-C.
    """
    from diffhpo.study.methods import create
    from diffhpo.study.selection import build_grid

    suite, split = suite_and_split(suite, split)
    names = names_of(methods)
    find_own_classes(names)
    if seeds.isdecimal() and len(seeds) < 10:
        seeds_wanted: int | list[str] = int(seeds)
    else:
        seeds_wanted = names_of(seeds)
    grid = build_grid(
        suite,
        methods=names,
        split=split,
        spaces=names_of(spaces),
        tasks=names_of(tasks),
        seeds=seeds_wanted,
        protocol=cast(Protocol, protocol),  # Grid refuses another
        corrected=corrected,
        trials=trials,
        batch=batch,
        shard=shard,
    )
    for method in grid.methods:
        create(method, seed=0)  # a class or a package that is missing is told now, not by every run
    failed = run_grid(out, grid, workers, progress, retry_failed, executor)
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
    for text in names_of(trials):
        if not text.isdecimal() or len(text) > 9:
            raise InputError(f"trials names {text!r}; whole numbers are needed, for example 10,25,50")
        wanted.append(int(text))
    report_runs(directories, to, wanted, published or [], allow_missing=allow_missing, svg=svg)


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
    failed = run_grid(out, grid, workers, progress, retry_failed)
    report_runs([out], None, [], [], allow_missing=failed > 0)
    if failed:
        raise typer.Exit(1)


@app.command(
    epilog="Example: diffhpo bench preset dev --methods gp,elite --out runs/dev; "
    "the studies: hpob-choice, hpob-pools-choice, x48-validation (dev); hpob-report, x48-test, hpob-pools, "
    "grid-mlp, grid-fcnet, bbob, embedded, hpob-report-batches, x48-test-batches (full)"
)
def preset(
    name: Annotated[str, typer.Argument(help="dev (chooses settings) or full (is reported).")],
    out: Annotated[Path, typer.Option(help="Directory; each study has its run directory in it.")],
    methods: Annotated[
        str, typer.Option(help="Names, comma-separated.", show_default="the preset's rivals")
    ] = "",
    studies: Annotated[str, typer.Option(help="Studies, comma-separated.", show_default="all")] = "",
    seeds: Annotated[int | None, typer.Option(help="Seeds of each task.", show_default="preset's")] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials or rounds of each run.", show_default="preset's")
    ] = None,
    workers: Workers = None,
    progress: Progress = True,
    retry_failed: RetryFailed = False,
) -> None:
    """Run and report several studies, in the corrected protocol.

    Most need data that the package does not bring, below the directory that DIFFHPO_DATA names. What is
    finished already is not done again; methods may be added in later calls that repeat the earlier ones.
    """
    from diffhpo.study.methods import create
    from diffhpo.study.selection import build_grid

    if name not in PRESETS:
        raise InputError(f"preset is {name!r}; accepted: {', '.join(PRESETS)}")
    known = {study.name: study for study in PRESETS[name]}
    wanted = names_of(studies) or list(known)
    for unknown in wanted:
        if unknown not in known:
            raise InputError(f"studies names {unknown!r}; accepted: {', '.join(known)}")
    chosen = names_of(methods)
    find_own_classes(chosen)
    grids = {
        study: build_grid(
            known[study].suite,
            methods=chosen or known[study].methods,
            split=known[study].split,
            seeds=seeds or known[study].seeds,
            protocol=known[study].protocol,
            corrected=True,
            trials=trials or known[study].trials,
            batch=known[study].batch,
        )
        for study in wanted
    }
    for method in {method for grid in grids.values() for method in grid.methods}:
        create(method, seed=0)  # a package that is missing is told now, not by every run
    failed = 0
    for study, grid in grids.items():
        lost = run_grid(out / study, grid, workers, progress, retry_failed)
        shown = [trial for trial in TABLE_TRIALS if trial <= grid.trials]
        report_runs([out / study], None, shown, [], allow_missing=lost > 0)
        failed += lost
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example: diffhpo bench methods")
def methods() -> None:
    """List the methods that can be run by name."""
    from diffhpo.study.methods import METHODS

    width = max(map(len, METHODS))
    for name, entry in METHODS.items():
        typer.echo(f"{name:<{width}}  {entry.description}")

# SPDX-License-Identifier: Apache-2.0
"""The command line `diffhpo`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from diffhpo.errors import DataError, DiffHPOError, InputError
from diffhpo.pretraining.commands import app as train
from diffhpo.study.commands import app as bench

#: Set to anything but 0, this shows the traceback of a named error, as `diffhpo --debug` does.
DEBUG_VARIABLE = "DIFFHPO_DEBUG"


class _NamedErrors(TyperGroup):
    """Prints an error of diffhpo's own as one message and exits with code 2.

    So are those of the system that no command can mend: an output that is full, a working directory that is
    gone. A reader that has left, as `head` does, is no error to tell.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (DiffHPOError, OSError) as error:
            if ctx.params.get("debug") or os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
                raise
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_NamedErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(bench, name="bench")
app.add_typer(train, name="train")

data = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="HPO-B's published data in a local cache."
)
app.add_typer(data, name="data")

CacheDirectory = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        help="Where the data is kept.",
        show_default="DIFFHPO_CACHE, or the user's cache directory",
    ),
]
Part = Annotated[
    str, typer.Argument(metavar="[hpob|hpob-data|saved-surrogates]", help="hpob is both of its parts.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from diffhpo import __version__

        typer.echo(f"diffhpo {__version__}")
        raise typer.Exit


@app.callback(epilog="Example: diffhpo bench main")
def diffhpo(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Hyperparameter optimisation with a diffusion model."""


@data.command(epilog="Example: diffhpo data fetch hpob")
def fetch(
    name: Part = "hpob",
    cache_dir: CacheDirectory = None,
    progress: Annotated[bool, typer.Option(help="Show progress bars on stderr.")] = True,
) -> None:
    """Download HPO-B's data; an interrupted download goes on, complete data is left alone."""
    from diffhpo.hpob.fetch import fetch as fetch_data

    root = fetch_data(name, cache_dir, progress)
    typer.echo(f"complete in {root}: diffhpo bench run --suite {root} --out runs/hpob")


@data.command(epilog="Example: diffhpo data verify")
def verify(name: Part = "hpob", cache_dir: CacheDirectory = None) -> None:
    """Check every file of the cached data against its checksum."""
    from diffhpo.hpob.fetch import verify as verify_data

    for part in verify_data(cache_dir, name):
        typer.echo(f"{part.name}: {part.n_files} files are as they were unpacked, in {part.path}")


@data.command(epilog="Example: diffhpo data info")
def info(cache_dir: CacheDirectory = None) -> None:
    """Tell what the cache holds and where the data comes from."""
    from diffhpo.hpob.fetch import info as describe_data

    for part in describe_data(cache_dir):
        state = (
            f"complete, {part.n_files} files of {part.n_bytes / 1e6:.0f} MB"
            if part.complete
            else f"not there; {part.download_bytes / 1e6:.0f} MB come with `diffhpo data fetch {part.name}`"
        )
        typer.echo(f"{part.name}: {state}\n  in {part.path}\n  archive sha256 {part.sha256}")
        for mirror in part.mirrors:
            typer.echo(f"  from {mirror}")


@app.command(epilog="Example: diffhpo suggest --history trials.csv --n 8 --space space.json --out next.csv")
def suggest(
    history: Annotated[
        Path, typer.Option(help="CSV of the trials: a column per parameter and one for the objective.")
    ],
    n: Annotated[int, typer.Option(help="How many configurations.")] = 1,
    objective: Annotated[
        str | None,
        typer.Option(
            help="The objective's column; an empty cell is a failed trial.", show_default="the last"
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(
            help='JSON of the ranges: {"lr": {"type": "float", "low": 1e-4, "high": 1, "log": true}, ...}.',
            show_default="the ranges seen in the history",
        ),
    ] = None,
    minimize: Annotated[bool, typer.Option("--minimize", help="Smaller objectives are better.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed and history give the same suggestions.")] = 0,
    out: Annotated[Path | None, typer.Option(help="CSV to write.", show_default="standard output")] = None,
) -> None:
    """Propose the next configurations for the trials of a CSV file."""
    from diffhpo.optimizer import Optimizer
    from diffhpo.trial_table import infer_space, read_space_file, read_trial_table, write_configurations

    if out is None and sys.stdout is None:
        raise DataError("standard output is closed; give a file with --out")
    for option, given in (("--history", history), ("--space", space)):
        if out is not None and given is not None and out.exists() and given.exists() and out.samefile(given):
            raise InputError(f"--out is {out}, the file of {option}; name another")
    table = read_trial_table(history, objective)
    if space is None:
        searched, trials = infer_space(table), table.configurations()
        typer.echo("no --space was given; searching the ranges seen in the history:", err=True)
        for name, parameter in searched.parameters.items():
            typer.echo(f"  {name}: {parameter}", err=True)
    else:
        searched = read_space_file(space)
        trials = table.configurations_of(searched)
    optimizer = Optimizer(searched, seed=seed, direction="minimize" if minimize else "maximize")
    for configuration, value in zip(trials, table.objective, strict=True):
        optimizer.tell(configuration, value, failed=value is None)
    suggestions = [suggestion.parameters for suggestion in optimizer.ask(n)]
    write_configurations(sys.stdout if out is None else out, list(searched.parameters), suggestions)


@app.command(epilog="Example: diffhpo report study.db --out study.html")
def report(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="An Optuna study: SQLite or journal file, or storage URL.")
    ],
    study_name: Annotated[
        str | None, typer.Option(help="Which study, where the storage has several.", show_default="the one")
    ] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    seed: Annotated[int, typer.Option(help="Of the suggestions that the page shows.")] = 0,
) -> None:
    """Make an HTML page of an Optuna study: its trials, what the model expects, what to try next."""
    from diffhpo.study_page import write_study_page

    write_study_page(study, out, study_name=study_name, seed=seed)
    typer.echo(f"wrote {out}")


@app.command(epilog="Example: diffhpo doctor --json")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell versions, executor, threads, GPU, cache, and what is broken, slow or missing, with the remedy."""
    from diffhpo.doctor import examine

    facts = examine()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    findings = facts.pop("findings")
    for topic, value in facts.items():
        if not isinstance(value, dict):
            typer.echo(f"{topic}: {value}")
            continue
        typer.echo(f"{topic}:")
        for name, fact in value.items():
            typer.echo(f"  {name}: {'not there' if fact is None else fact}")
    typer.echo("findings:" if findings else "findings: nothing is broken, slow or missing")
    for finding in findings:
        typer.echo(f"  {finding['kind']}: {finding['text']}")

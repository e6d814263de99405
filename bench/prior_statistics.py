# SPDX-License-Identifier: Apache-2.0
"""Do the synthetic functions look like real tuning tasks?  Five statistics of both, as a table.

    python -m bench.prior_statistics [--data DIR] [--functions 400] [--dims 2 10]

Real tasks: the embedded suite's train part; with --data also the choice spaces of `DIR/hpob-reduced` and
the train and validation data sets of `DIR/hpobench-xgb`. Every function is seen at 512 uniform points (the
last source at 512 rows of its table), without noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from diffhpo.hpob import suite
from diffhpo.hpob.data import Benchmark
from diffhpo.prior import FAMILIES, PriorSampler
from diffhpo.suites.splits import HPOB_REDUCED, x48_tables
from diffhpo.suites.x48 import unit_cube

Array = NDArray[np.float64]

POINTS = 512
NAMES = ("dimensions", "first order", "roughness", "near best", "skewness")


def first_order(x: Array, y: Array, bins: int = 10) -> Array:
    """(d,) share of y's variance that each column explains alone; 0 where it is within the noise.

    The variance of bin means less what independent values would give, (k - 1) / n of the variance.
    """
    n, d = x.shape
    centred = (y - y.mean()) / max(y.std(), 1e-12)
    shares = np.zeros(d)
    for j in range(d):
        values, codes = np.unique(x[:, j], return_inverse=True)
        if len(values) > bins:
            codes = np.argsort(np.argsort(x[:, j], kind="stable")) * bins // n
        k = int(codes.max()) + 1
        counts = np.bincount(codes, minlength=k)
        means = np.bincount(codes, weights=centred, minlength=k) / np.maximum(counts, 1)
        share = float((counts * means**2).sum() / n) - (k - 1) / n
        shares[j] = share if share > 2 * np.sqrt(2 * max(k - 1, 1)) / n else 0.0
    return shares


def statistics(x: Array, y: Array, best: float | None = None) -> tuple[float, ...]:
    """`NAMES` of a function seen at uniform points x (n, d).

    dimensions: how many columns hold 90 percent of the first-order variance (d where none is visible).
    first order: the share of the variance that single columns explain.
    roughness: mean |difference| of y over nearest neighbours, by that over random pairs.
    near best: share of the points within 5 percent of the range of the best value.
    skewness: third standardised moment of y.

    Args:
        best: the function's best value if better than that of the points.
    """
    shares = np.sort(first_order(x, y))[::-1]
    total = shares.sum()
    held = x.shape[1] if total == 0 else int(np.searchsorted(np.cumsum(shares), 0.9 * total) + 1)
    squares = (x**2).sum(1)
    distances = squares[:, None] + squares[None] - 2 * x @ x.T
    np.fill_diagonal(distances, np.inf)
    near = np.abs(y - y[distances.argmin(1)]).mean()
    far = np.abs(y - np.roll(y, len(y) // 2)).mean()
    top = max(y.max(), y.max() if best is None else best)
    close = float((y >= top - 0.05 * (top - y.min())).mean())
    z = (y - y.mean()) / max(y.std(), 1e-12)
    return (float(held), float(min(total, 1.0)), near / max(far, 1e-12), close, float((z**3).mean()))


def of_prior(
    name: str, count: int, dims: tuple[int, int] = (2, 10), seed: int = 0
) -> Iterator[tuple[float, ...]]:
    """Statistics of `count` functions of one family, or of the mixture ("all"), with `dims` columns."""
    sampler = PriorSampler(seed=seed, families=None if name == "all" else {name: 1.0}, max_dim=dims[1])
    generator = torch.Generator().manual_seed(seed)
    for index in range(10**9):
        for tasks, batch in sampler.groups(index, size=8, points=POINTS):
            dim = int(batch.dims[0])
            if dim < dims[0]:
                continue
            x = tasks.inputs.snap(torch.rand(len(batch), POINTS, dim, generator=generator))
            y = tasks(x)
            for one_x, one_y, best in zip(x, y, batch.best_value, strict=True):
                yield statistics(one_x.double().numpy(), one_y.double().numpy(), float(best))
                count -= 1
                if count == 0:
                    return


def of_benchmark(benchmark: Benchmark, spaces: Iterable[str]) -> Iterator[tuple[float, ...]]:
    """Statistics of every task's surrogate."""
    uniform = np.random.default_rng(0)
    for space in spaces:
        for name in benchmark.tasks(space):
            task = benchmark.task(space, name)
            x = uniform.random((POINTS, task.dim))
            yield statistics(x, task.surrogate(x), task.y_max)


def of_tables(file: Path) -> Iterator[tuple[float, ...]]:
    """Statistics of the XGBoost tables but the test tables; their `accs` are error rates."""
    rows = np.random.default_rng(0).permutation(1000)[:POINTS]
    with np.load(file, allow_pickle=False) as tables:
        for i in [*x48_tables("train"), *x48_tables("validation")]:
            x, y = unit_cube(tables[f"d{i}_domain"]), -tables[f"d{i}_accs"].astype(np.float64)
            chosen = rows[rows < len(x)]
            yield statistics(x[chosen], y.reshape(-1)[chosen], float(y.max()))


def row(name: str, found: Iterable[tuple[float, ...]]) -> str:
    """One line of the table: 10, 50 and 90 percent quantiles of each statistic."""
    table = np.array(list(found))
    low, middle, high = np.quantile(table, [0.1, 0.5, 0.9], axis=0)
    cells = [f"{b:6.2f} ({a:.2f} to {c:.2f})" for a, b, c in zip(low, middle, high, strict=True)]
    return f"{name:<22}{len(table):>5}  " + "".join(f"{cell:<26}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="directory of hpob-reduced and hpobench-xgb")
    parser.add_argument("--functions", type=int, default=400, help="synthetic functions a family")
    parser.add_argument("--dims", type=int, nargs=2, default=(2, 10), help="their dimensions, from and to")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'median (10% to 90%)':<22}{'n':>5}  " + "".join(f"{name:>6}{'':<20}" for name in NAMES))
    print(row("real: embedded suite", of_benchmark(suite.benchmark("train"), [suite.SPACE])))
    if given.data:
        reduced = Benchmark(given.data / "hpob-reduced")
        for space in HPOB_REDUCED["choice"]:
            print(row(f"real: HPO-B {space}", of_benchmark(reduced, [space])), flush=True)
        tables = given.data / "hpobench-xgb" / "hpobenchXGB.npz"
        print(row("real: XGBoost tables", of_tables(tables)))
    for name in ("all", *FAMILIES):
        print(row(name, of_prior(name, given.functions, tuple(given.dims))), flush=True)


if __name__ == "__main__":
    main()

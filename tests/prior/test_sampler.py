# SPDX-License-Identifier: Apache-2.0
"""Batches of the synthetic prior: what they promise, for every family."""

import hashlib
import subprocess
import sys

import pytest
import torch

from diffhpo.errors import InputError
from diffhpo.prior import FAMILIES, PriorSampler
from diffhpo.prior.input_transform import MAX_CATEGORIES, MAX_STEPS
from diffhpo.prior.task_batch import CATEGORICAL, CONTINUOUS, PADDING, STEPPED

TENSORS = ("x", "y", "value", "broad", "dims", "kinds", "roles", "best_x", "best_value")
DIGEST = f"""
import hashlib, torch
from diffhpo.prior import PriorSampler
torch.set_num_threads(1)
batch = PriorSampler(seed=5).batch(3, size=20, points=32)
print(hashlib.sha256(b"".join(getattr(batch, n).numpy().tobytes() for n in {TENSORS!r})).hexdigest())
"""


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def same(a, b):
    return a.origins == b.origins and all(torch.equal(getattr(a, n), getattr(b, n)) for n in TENSORS)


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def groups(request):
    sampler = PriorSampler(seed=11, families={request.param: 1.0})
    return [pair for index in range(2) for pair in sampler.groups(index, size=48, points=256)]


def test_a_batch_depends_on_seed_and_index_alone():
    fresh = PriorSampler(seed=5).batch(3, size=20, points=32)
    used = PriorSampler(seed=5)
    used.batch(7, size=3, points=16)
    assert same(fresh, used.batch(3, size=20, points=32))
    assert same(fresh, used.batch(3, size=20, points=32))
    assert not torch.equal(fresh.y, used.batch(4, size=20, points=32).y)
    assert not torch.equal(fresh.y, PriorSampler(seed=6).batch(3, size=20, points=32).y)


def test_another_process_draws_the_same():
    batch = PriorSampler(seed=5).batch(3, size=20, points=32)
    mine = hashlib.sha256(b"".join(getattr(batch, name).numpy().tobytes() for name in TENSORS)).hexdigest()
    run = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == mine


def test_shapes_types_and_padding():
    batch = PriorSampler(seed=1).batch(0, size=37, points=50)
    D = int(batch.dims.max())
    assert batch.x.shape == (37, 50, D)
    assert batch.best_x.shape == batch.kinds.shape == batch.roles.shape == (37, D)
    assert batch.y.shape == batch.value.shape == (37, 50)
    assert len(batch) == len(batch.origins) == len(batch.best_value) == 37
    assert batch.x.dtype == batch.y.dtype == batch.best_value.dtype == torch.float32
    assert batch.dims.dtype == batch.kinds.dtype == batch.roles.dtype == torch.int64
    assert not batch.roles.any()
    beyond = torch.arange(D) >= batch.dims.unsqueeze(1)
    assert ((batch.kinds == PADDING) == beyond).all()
    assert not batch.x.transpose(1, 2)[beyond].any()
    assert not batch.best_x[beyond].any()


def test_broad_points_are_uniform_and_on_faces():
    sampler = PriorSampler(seed=8)
    pairs = [pair for i in range(4) for pair in sampler.groups(i, size=32, points=200)]
    tasks = [batch for _, batch in pairs]
    always = [((b.kinds == CONTINUOUS) & ~made.inputs.conditional).all(0) for made, b in pairs]
    for batch in tasks:
        assert batch.broad.dtype == torch.bool
        assert (batch.broad.sum(1) == 80).all()
    continuous = torch.cat([b.x[b.broad][:, plain].flatten() for b, plain in zip(tasks, always, strict=True)])
    assert len(continuous) > 5000
    inner = continuous[(continuous > 0) & (continuous < 1)]
    share = torch.histc(inner, bins=5, min=0, max=1) / len(inner)
    assert (share - 0.2).abs().max() < 0.02
    # 40% of the points have 0 to 80% of their coordinates at bounds: 16% of all coordinates, on both sides.
    for bound in (0.0, 1.0):
        assert abs((continuous == bound).float().mean() - 0.08) < 0.015
    # The coordinates at bounds come together: 5% of the points are corners in more than 60% of them.
    cornered = torch.cat(
        [
            ((b.x == 0) | (b.x == 1))[:, :, plain][b.broad].float().mean(1) > 0.6
            for b, plain in zip(tasks, always, strict=True)
            if plain.sum() >= 6
        ]
    )
    assert 0.04 < cornered.float().mean() < 0.16
    # Search crowds near the best, so its points are better.
    better = [(b.value[~b.broad].mean() >= b.value[b.broad].mean()).float() for b in tasks]
    assert sum(better) / len(better) > 0.9


def test_every_family_is_finite_and_in_range(groups):
    for _, batch in groups:
        for name in ("x", "y", "value", "best_x", "best_value"):
            assert torch.isfinite(getattr(batch, name)).all(), name
        assert batch.x.min() >= 0
        assert batch.x.max() <= 1
        assert batch.best_x.min() >= 0
        assert batch.best_x.max() <= 1


def test_hardly_any_function_is_constant(groups):
    constant = [float((batch.value.amax(1) == batch.value.amin(1)).float().mean()) for _, batch in groups]
    assert sum(constant) / len(constant) <= 0.05


def test_values_are_those_of_the_functions(groups):
    for tasks, batch in groups:
        # Other shapes may round otherwise; a rounded or stepped function may then land on the next level.
        scale = (batch.best_value - batch.value.amin(1)).clamp_min(1e-6).unsqueeze(1)
        off = (tasks(batch.x) - batch.value).abs() / scale
        assert (off < 1e-3).float().mean() > 0.99


def test_the_best_configuration_has_the_best_value(groups):
    wrong = 0
    for tasks, batch in groups:
        assert (batch.best_value >= batch.value.amax(1)).all()
        scale = (batch.best_value - batch.value.amin(1)).clamp_min(1e-6)
        again = tasks(batch.best_x.unsqueeze(1)).squeeze(1)
        wrong += int(((again - batch.best_value).abs() / scale > 1e-3).sum())
    assert wrong <= 0.02 * 96


def test_the_best_is_refined_beyond_the_points():
    sampler = PriorSampler(seed=3, families={"gaussian-process": 1.0})
    pairs = sampler.groups(0, size=96, points=128)
    better = torch.cat(
        [tasks.function(tasks.inputs(batch.best_x.unsqueeze(1))).squeeze(1) for tasks, batch in pairs]
    )
    known = torch.cat(
        [
            tasks.function(tasks.inputs(batch.x)).amax(1)
            for tasks, batch in sampler.groups(0, size=96, points=128)
        ]
    )
    assert (better > known + 1e-4).float().mean() > 0.4


def test_the_best_is_hard_to_beat_at_random(groups):
    generator = torch.Generator().manual_seed(0)
    beaten, count = 0, 0
    for tasks, batch in groups:
        x = torch.rand(len(batch), 1000, batch.x.shape[2], generator=generator)
        # The output transform cuts values to the best one known: only the function below it tells.
        random = tasks.function(tasks.inputs(tasks.inputs.snap(x)))
        best = tasks.function(tasks.inputs(batch.best_x.unsqueeze(1))).squeeze(1)
        beaten += int((random.amax(1) - best > 0.01 * (best - random.amin(1))).sum())
        count += len(batch)
    assert beaten <= 0.08 * count


def test_kinds_are_honoured():
    seen = set()
    for index in range(6):
        for tasks, batch in PriorSampler(seed=2).groups(index, size=32, points=256):
            for b in range(len(batch)):
                for j in range(int(batch.dims[b])):
                    kind = int(batch.kinds[b, j])
                    seen.add(kind)
                    column = batch.x[b, :, j]
                    if tasks.inputs.conditional[b, j]:
                        assert kind != CATEGORICAL
                        continue
                    if kind == CONTINUOUS:
                        assert len(column.unique()) > 100
                        continue
                    levels = int(tasks.inputs.levels[b, j])
                    assert 2 <= levels <= {STEPPED: MAX_STEPS, CATEGORICAL: MAX_CATEGORIES}[kind]
                    used = torch.cat([column, batch.best_x[b, j : j + 1]])
                    grid = (used * (levels - 1)).round() / (levels - 1)
                    assert torch.equal(used, grid)
    assert seen == {CONTINUOUS, STEPPED, CATEGORICAL}


def test_conditional_columns_are_inactive_at_some_levels_of_another_column_alone():
    found = 0
    for tasks, batch in PriorSampler(seed=2).groups(3, size=64, points=256):
        for b, j in tasks.inputs.conditional.nonzero().tolist():
            middle = batch.x[b, :, j] == 0.5
            if middle.all() or not middle.any() or batch.kinds[b, j] == STEPPED:
                continue  # the middle level of a stepped column is 1/2 too
            # At a level of some discrete column all rows are inactive; elsewhere the search's copies of an
            # inactive parent's 1/2 are few.
            explained = torch.zeros_like(middle)
            for k in (batch.kinds[b] != CONTINUOUS).nonzero().flatten().tolist():
                levels = batch.x[b, :, k]
                off = torch.stack([middle[levels == v].all() for v in levels])
                if k != j and middle[~off].float().mean() < 0.2:
                    explained |= off
            assert explained.any()
            found += 1
            x = batch.x.clone()
            x[b, explained, j] = 0.9
            assert torch.equal(tasks(x), tasks(batch.x))
    assert found > 10


def test_a_value_is_constant_within_a_level():
    generator = torch.Generator().manual_seed(0)
    for tasks, batch in PriorSampler(seed=2).groups(1, size=48, points=64):
        half_a_level = 0.45 / (tasks.inputs.levels - 1).clamp_min(1.0)
        shift = (2 * torch.rand(batch.x.shape, generator=generator) - 1) * half_a_level.unsqueeze(1)
        steady = (tasks.inputs.levels > 0) & ~tasks.inputs.conditional
        moved = torch.where(steady.unsqueeze(1), batch.x + shift, batch.x)
        assert torch.equal(tasks(moved), tasks(batch.x))


def test_noise_is_as_documented():
    ratios = []
    for index in range(12):
        batch = PriorSampler(seed=4).batch(index, size=32, points=256)
        spread = batch.value.amax(1) - batch.value.amin(1)
        ratios.append(((batch.y - batch.value).std(1) / spread)[spread > 0])
    ratios = torch.cat(ratios)
    noisy = ratios[ratios > 0]
    assert 0.4 < len(noisy) / len(ratios) < 0.6
    assert noisy.min() > 0.0008
    assert noisy.max() < 0.12
    assert 0.005 < noisy.median() < 0.02


def test_dimensions_follow_their_distribution():
    sampler = PriorSampler(seed=0, families={"classic": 1.0}, group=1)
    dims = torch.cat([sampler.batch(i, size=40, points=1).dims for i in range(6)])
    share = [
        float(((dims >= low) & (dims <= high)).float().mean()) for low, high in ((1, 3), (4, 8), (17, 32))
    ]
    assert share == pytest.approx([0.2, 0.45, 0.1], abs=0.08)
    assert PriorSampler(seed=0, max_dim=3).batch(0, size=64, points=8).dims.max() <= 3


def test_gradients_stay_on_for_the_caller():
    for tasks, _ in PriorSampler(seed=0).groups(0, size=16, points=8):
        assert torch.is_grad_enabled()
        assert tasks.family in FAMILIES


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_dim": 33}, "max_dim is 33"),
        ({"max_dim": 0}, "max_dim is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"group": 0}, "group is 0"),
        ({"families": {"fractals": 1.0}}, "fractals"),
        ({"families": {"trees": -1.0}}, "trees"),
        ({"families": {}}, "families"),
        ({"families": {"trees": float("nan")}}, "families"),
    ],
)
def test_wrong_arguments_are_named(given, message):
    with pytest.raises(InputError, match=message):
        PriorSampler(**{"seed": 0, **given})


@pytest.mark.parametrize(("name", "given"), [("index", -1), ("size", 0), ("points", 0)])
def test_wrong_batches_are_named(name, given):
    arguments = {"index": 0, "size": 4, "points": 8} | {name: given}
    with pytest.raises(InputError, match=f"{name} is {given}"):
        PriorSampler(seed=0).batch(**arguments)

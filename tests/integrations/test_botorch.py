# SPDX-License-Identifier: Apache-2.0
"""The candidate generator for BoTorch: its contract with tensors, and its invariances."""

import pytest
import torch

from diffhpo import Float, Optimizer, Space
from diffhpo.errors import ExhaustedWarning, InputError
from diffhpo.integrations.botorch import suggest
from diffhpo.trial import Trial

BOUNDS = torch.tensor([[-2.0, 0.0, 10.0], [3.0, 1.0, 20.0]], dtype=torch.double)


def data(n=12, dtype=torch.double):
    generator = torch.Generator().manual_seed(5)
    unit = torch.rand(n, 3, generator=generator, dtype=torch.double)
    X = BOUNDS[0] + (BOUNDS[1] - BOUNDS[0]) * unit
    Y = -(unit - torch.tensor([0.2, 0.7, 0.5], dtype=torch.double)).square().sum(-1, keepdim=True)
    return X.to(dtype), Y.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [0, 3, 12, 97])
def test_points_are_distinct_within_the_bounds_and_of_the_given_dtype(dtype, n):
    X, Y = data(n, dtype)
    found = suggest(BOUNDS.to(dtype), X, Y, 4)
    assert found.shape == (4, 3)
    assert found.dtype == dtype
    assert found.device == X.device
    assert ((found >= BOUNDS[0]) & (found <= BOUNDS[1])).all()
    assert len(torch.unique(torch.cat([X, found]), dim=0)) == n + 4


def test_it_is_the_optimizer_on_the_same_trials():
    X, Y = data()
    space = Space({f"x{k}": Float(float(BOUNDS[0, k]), float(BOUNDS[1, k])) for k in range(3)})
    optimizer = Optimizer(space, seed=4)
    for point, value in zip(X.tolist(), Y[:, 0].tolist(), strict=True):
        optimizer.tell([Trial(dict(zip(space.parameters, point, strict=True)), value)])
    expected = [list(asked.parameters.values()) for asked in optimizer.ask(3)]
    assert suggest(BOUNDS, X, Y, 3, seed=4).tolist() == expected


def test_the_points_are_near_the_optimum_of_a_bowl():
    X, Y = data(24)
    unit = (suggest(BOUNDS, X, Y, 4) - BOUNDS[0]) / (BOUNDS[1] - BOUNDS[0])
    distance = (unit - torch.tensor([0.2, 0.7, 0.5])).norm(dim=-1)
    anywhere = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0))
    at_random = (anywhere - torch.tensor([0.2, 0.7, 0.5])).norm(dim=-1)
    assert distance.mean() < 0.7 * at_random.mean()
    assert distance.min() < 0.3 * at_random.mean()


def test_pending_points_are_respected():
    X, Y = data()
    first = suggest(BOUNDS, X, Y, 1)
    second = suggest(BOUNDS, X, Y, 1, X_pending=first)
    assert not torch.equal(first, second)
    ints = torch.tensor([[0.0], [3.0]], dtype=torch.double)
    points = torch.tensor([[0.0], [1.0]], dtype=torch.double)
    values = torch.tensor([[0.0], [1.0]], dtype=torch.double)
    waiting = torch.tensor([[2.0]], dtype=torch.double)
    assert suggest(ints, points, values, 1, waiting, integer_indices=[0]).tolist() == [[3.0]]
    with pytest.warns(ExhaustedWarning):
        assert suggest(ints, points, values, 2, waiting, integer_indices=[0]).tolist() == [[3.0]]


def test_the_same_arguments_give_the_same_points_and_another_seed_others():
    X, Y = data()
    assert torch.equal(suggest(BOUNDS, X, Y, 3, seed=2), suggest(BOUNDS, X, Y, 3, seed=2))
    assert not torch.equal(suggest(BOUNDS, X, Y, 3, seed=2), suggest(BOUNDS, X, Y, 3, seed=3))


@pytest.mark.parametrize("scale", [4.0, 1e-3, 1e6])
def test_scale_and_offset_of_the_values_do_not_matter(scale):
    X, Y = data()
    torch.testing.assert_close(
        suggest(BOUNDS, X, scale * Y - 17.0, 3), suggest(BOUNDS, X, Y, 3), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(("scale", "offset"), [(4.0, 0.0), (1e-3, 0.0), (7.0, -3.0)])
def test_scale_and_offset_of_the_points_do_not_matter(scale, offset):
    X, Y = data()
    moved = suggest(scale * BOUNDS + offset, scale * X + offset, Y, 3)
    torch.testing.assert_close((moved - offset) / scale, suggest(BOUNDS, X, Y, 3), rtol=1e-5, atol=1e-5)


def test_graphs_are_left_alone():
    X, _ = data()
    X.requires_grad_()
    found = suggest(BOUNDS, X, (X**2).sum(-1, keepdim=True), 2)
    assert not found.requires_grad
    assert X.grad is None


def test_whole_numbers_and_choices():
    bounds = torch.tensor([[1.0, 0.0, -1.0], [9.0, 1.0, 1.0]], dtype=torch.double)
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(10, 3, generator=generator, dtype=torch.double) * (bounds[1] - bounds[0]) + bounds[0]
    X[:, [0, 2]] = X[:, [0, 2]].round()
    found = suggest(bounds, X, X.sum(-1), 6, integer_indices=[0], cat_dims=[2])
    assert torch.equal(found[:, [0, 2]], found[:, [0, 2]].round())
    assert ((found >= bounds[0]) & (found <= bounds[1])).all()


def test_names_are_used():
    X, Y = data()
    known = suggest(BOUNDS, X, Y, 2, names=["learning_rate", "subsample", "max_depth"])
    assert not torch.equal(known, suggest(BOUNDS, X, Y, 2))


def test_one_column_and_one_dimension_of_values_are_the_same():
    X, Y = data()
    assert torch.equal(suggest(BOUNDS, X, Y, 2), suggest(BOUNDS, X, Y[:, 0], 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_X": [[0.0, 0.5, 11.0]]}, "train_X is list; a torch.Tensor"),
        ({"train_X": torch.zeros(12, 3, dtype=torch.long)}, "train_X has dtype torch.int64"),
        ({"train_X": torch.zeros(12, 3).to_sparse()}, r"train_X has layout torch.sparse_coo.*to_dense"),
        ({"train_X": torch.zeros(12, 3, device="meta")}, r"train_X has layout .* on device meta"),
        ({"train_X": torch.zeros(2, 12, 3)}, r"train_X has shape \(2, 12, 3\)"),
        ({"bounds": torch.zeros(3, 2)}, r"bounds has shape \(3, 2\); \(2, 3\) is needed"),
        ({"bounds": torch.tensor([[0.0, 0, 0], [1, 0, 1]])}, r"bounds\[:, 1\] is \[0.0, 0.0\]"),
        ({"bounds": torch.tensor([[0.0, 0, 0], [1, 1, torch.inf]])}, r"bounds\[:, 2\]"),
        ({"bounds": BOUNDS + 4.0}, r"train_X\[0, 0\] is .*, outside its bounds \[2.0, 7.0\]"),
        ({"train_Y": torch.zeros(12, 2)}, r"train_Y is \(12, 2\).*one objective"),
        ({"train_Y": torch.zeros(11, 1)}, r"train_Y is \(11, 1\).*\(12, 1\)"),
        ({"train_Y": torch.full((12, 1), torch.nan)}, r"train_Y\[0\] is nan.*X_pending"),
        ({"q": 0}, "q is 0"),
        ({"q": 1.5}, "q is 1.5"),
        ({"X_pending": torch.zeros(1, 2)}, "X_pending has 2 dimensions; train_X has 3"),
        ({"X_pending": torch.zeros(1, 3) - 5}, r"X_pending\[0, 0\] is -5.0, outside"),
        ({"names": ["a", "b"]}, "names is .*3 different names"),
        ({"names": ["a", "b", "b"]}, "names is .*3 different names"),
        ({"integer_indices": [3]}, "integer_indices has 3; dimensions 0 to 2"),
        (
            {"bounds": BOUNDS + 0.5, "train_X": BOUNDS[:1] + 0.6, "train_Y": torch.zeros(1), "cat_dims": [1]},
            r"cat_dims has 1, and bounds\[:, 1\] is \[0.5, 1.5\]",
        ),
        ({"integer_indices": [0], "cat_dims": [0]}, r"both have \[0\]"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    X, Y = data()
    with pytest.raises(InputError, match=message):
        suggest(**{"bounds": BOUNDS, "train_X": X, "train_Y": Y, "q": 2, **change})

# SPDX-License-Identifier: Apache-2.0
"""The universal model's kernels against the torch modules in float64."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from tests.kernels.problem_variants import strided

from diffhpo.errors import BackendError, InputError
from diffhpo.history import History
from diffhpo.kernels import ops, universal
from diffhpo.model.universal import Dimensions, UniversalContext, UniversalModel
from diffhpo.model.universal.executed_model import ExecutedModel
from diffhpo.model.universal.held_out import held_out_log_density
from diffhpo.model.universal.in_context import InContextModel
from diffhpo.model.universal.predictor import ConditionedPredictor
from diffhpo.model.universal.transformer import UniversalEmbedding
from diffhpo.model.universal.value_scale import ValueScale
from diffhpo.pretrained import pretrained_model
from diffhpo.pretrained_policy import PretrainedPolicy

BEST = ops.native_isas(runnable=True)[-1]
#: width, layers, predictor layers, heads: heads that fill no vector, one head, cells of one number.
_MODELS = (
    (64, 3, 2, 4),
    (16, 1, 1, 2),
    (32, 2, 1, 1),
    (48, 1, 3, 3),
    (2, 1, 1, 1),
    (40, 1, 1, 4),
    (96, 1, 1, 2),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """torch's own threads cost more than they bring here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.lru_cache
def model_of(width: int = 64, layers: int = 3, predictor_layers: int = 2, heads: int = 4) -> UniversalModel:
    """Random weights, none of them at its zero start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(width + heads)
        sizes = {"width": width, "layers": layers, "predictor_layers": predictor_layers, "heads": heads}
        model = UniversalModel(**sizes, blocks=1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


def context_of(n: int, dim: int, seed: int = 0) -> UniversalContext:
    """Three contexts: a whole one, one with masked trials, and one with masked trials and dimensions."""
    generator = torch.Generator().manual_seed(seed + 100 * n + dim)
    x = torch.rand(3, n, dim, generator=generator)
    x[:, : n // 3] = (4 * x[:, : n // 3]).round() / 4
    y = 50 * torch.randn(3, n, generator=generator).double() ** 3
    mask = torch.rand(3, n, generator=generator) < 0.7
    mask[0] = True
    kinds = torch.randint(0, 3, (3, dim), generator=generator)
    kinds[2, 1::2] = 3
    roles = torch.randint(0, 64, (3, dim), generator=generator)
    return UniversalContext(x, y, mask, Dimensions(kinds, roles))


def queries_of(dim: int, count: int = 37) -> torch.Tensor:
    x = torch.rand(3, count, dim, generator=torch.Generator().manual_seed(dim))
    x[:, 0], x[:, 1], x[:, 2] = 0, 1, 0.5
    return x


@contextmanager
def in_float64() -> Iterator[None]:
    """What the modules compute in float32 is computed in float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield


@functools.lru_cache
def exact_of(model: UniversalModel) -> UniversalModel:
    return copy.deepcopy(model).double()


def doubled(embedding: UniversalEmbedding) -> UniversalEmbedding:
    parts = [getattr(embedding, name).double() for name in ("z", "codes", "tokens")]
    pooled, mask = embedding.pooled.double(), embedding.token_mask
    return UniversalEmbedding(embedding.context, embedding.scale, *parts, mask, pooled)


def assert_as_exact(
    ours: torch.Tensor, torchs: torch.Tensor, exact: torch.Tensor, factor: float = 2.5
) -> None:
    """Mean error against float64 at most twice that of torch's float32, and a quarter for its BLAS."""
    own = (ours.double() - exact).abs().mean()
    other = (torchs.double() - exact).abs().mean()
    assert float(own) <= factor * float(other) + 3e-8 * float(exact.abs().mean()) + 1e-9


def parts_of(embedding: UniversalEmbedding) -> list[torch.Tensor]:
    mask = embedding.token_mask
    return [embedding.z, embedding.codes, embedding.tokens[mask], embedding.pooled]


@functools.lru_cache
def embeddings(model: UniversalModel, n: int, dim: int) -> tuple[UniversalEmbedding, UniversalEmbedding]:
    """In float32 and in float64."""
    context = context_of(n, dim)
    plain = model.transformer(context)
    with in_float64():
        exact = exact_of(model).transformer(context)
    return plain, exact


@functools.lru_cache
def conditioned(model: UniversalModel, n: int, dim: int) -> tuple[ConditionedPredictor, ConditionedPredictor]:
    plain = embeddings(model, n, dim)[0]
    with in_float64():
        exact = exact_of(model).predictor.condition(doubled(plain))
    return model.predictor.condition(plain), exact


def assert_embeddings_exact(model: UniversalModel, n: int, dim: int, isa: str) -> None:
    plain, exact = embeddings(model, n, dim)
    native = ExecutedModel(model, f"cpu-{isa}").embed(context_of(n, dim))
    for ours, torchs, truth in zip(parts_of(native), parts_of(plain), parts_of(exact), strict=True):
        if truth.numel():
            assert_as_exact(ours, torchs, truth)
    for name in ("median", "span", "location", "scale"):
        torch.testing.assert_close(
            getattr(native.scale, name), getattr(exact.scale, name), rtol=1e-12, atol=1e-12
        )


def hyperparameters(known: ConditionedPredictor) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of dimensions and those of contexts, each on the scale on which the network gives it."""
    space, processes = known.space, known.processes
    inverse = space.inverse_lengthscale[space.inverse_lengthscale > 0]
    of_contexts = (space.emphasis.log(), processes.amplitude.log(), processes.noise.log(), space.constant)
    of_dimensions = (inverse.log(), *(exponent.log() for exponent in space.warp))
    return torch.cat([part.flatten() for part in of_dimensions]), torch.cat(
        [part.flatten() for part in of_contexts]
    )


def assert_predictions_exact(model: UniversalModel, n: int, dim: int, isa: str) -> None:
    """From one embedding and one posterior, so that nobody's rounding is amplified by a factorisation."""
    plain, exact = conditioned(model, n, dim)
    executed = ExecutedModel(model, f"cpu-{isa}")
    native = executed.condition(plain.embedding)
    for ours, torchs, truth in zip(*map(hyperparameters, (native, plain, exact)), strict=True):
        assert_as_exact(ours, torchs, truth)

    x = queries_of(dim)
    rounded = [part.float() for part in (exact.space.inverse_lengthscale, exact.space.emphasis)]
    warp = tuple(part.float() for part in exact.space.warp)
    space = type(exact.space)(rounded[0], warp, rounded[1], exact.space.constant.float())
    points = executed._points(plain.embedding, space, x)
    torchs = model.predictor._points(plain.embedding, space, x)
    with in_float64():
        truth = exact_of(model).predictor._points(doubled(plain.embedding), exact.space, x)
    for ours, theirs, true in zip(points, torchs, truth, strict=True):
        assert_as_exact(ours, theirs, true)

    for noisy in (True, False):
        ours = executed.jointly(plain, x, noisy=noisy)[0]
        theirs = model.predictor.jointly(plain, x, noisy=noisy)[0]
        with in_float64():
            given = type(exact)(
                doubled(plain.embedding), plain.space, plain.processes, plain.log_weights.double()
            )
            true = exact_of(model).predictor.jointly(given, x, noisy=noisy)[0]
        for name in ("log_weights", "means", "deviations"):
            assert_as_exact(*(getattr(one, name) for one in (ours, theirs, true)))


@pytest.mark.parametrize("dim", [1, 3, 8, 32])
@pytest.mark.parametrize("n", [0, 1, 7, 50, 100])
def test_every_context_matches_float64(isa: str, n: int, dim: int) -> None:
    assert_embeddings_exact(model_of(), n, dim, isa)
    assert_predictions_exact(model_of(), n, dim, isa)


@pytest.mark.parametrize("sizes", _MODELS)
def test_every_model_matches_float64(isa: str, sizes: tuple[int, ...]) -> None:
    assert_embeddings_exact(model_of(*sizes), 23, 5, isa)
    assert_predictions_exact(model_of(*sizes), 23, 5, isa)


def test_the_shipped_weights_match_float64(isa: str) -> None:
    assert_embeddings_exact(pretrained_model(), 40, 6, isa)
    assert_predictions_exact(pretrained_model(), 40, 6, isa)


def chosen(context: UniversalContext, rows: list[int]) -> UniversalContext:
    dimensions = Dimensions(context.dimensions.kinds[rows], context.dimensions.roles[rows])
    return UniversalContext(context.x[rows], context.y[rows], context.mask[rows], dimensions)


def assert_same_bits(one: UniversalEmbedding, other: UniversalEmbedding) -> None:
    for name in ("z", "codes", "tokens", "pooled"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_bits_of_a_context_do_not_depend_on_the_others(isa: str) -> None:
    executed, context = ExecutedModel(model_of(), f"cpu-{isa}"), context_of(41, 5)
    whole = executed.embed(context)
    for rows in ([0], [1], [2], [2, 0, 2]):
        part = executed.embed(chosen(context, rows))
        for name in ("z", "codes", "tokens", "pooled"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[rows])
        for name in ("median", "span", "location", "scale"):
            assert torch.equal(getattr(part.scale, name), getattr(whole.scale, name)[rows])


def test_what_is_masked_leaves_no_trace(isa: str) -> None:
    executed, context = ExecutedModel(model_of(), f"cpu-{isa}"), context_of(41, 5)
    whole = executed.embed(context)
    trials, there = context.mask[2], context.dimensions.mask[2]
    dimensions = Dimensions(context.dimensions.kinds[2:, there], context.dimensions.roles[2:, there])
    present = UniversalContext(
        context.x[2:, trials][..., there],
        context.y[2:, trials],
        torch.ones(1, int(trials.sum()), dtype=torch.bool),
        dimensions,
    )
    alone = executed.embed(present)
    assert torch.equal(alone.codes[0], whole.codes[2][there])
    assert torch.equal(alone.tokens[0], whole.tokens[2][whole.token_mask[2]])
    assert torch.equal(alone.pooled[0], whole.pooled[2])
    assert not whole.codes[2][~there].any()
    x, y = context.x.clone(), context.y.clone()
    x[2, ~trials], x[2, :, ~there], y[2, ~trials] = torch.nan, torch.nan, torch.nan
    spoilt = UniversalContext(x, y, context.mask, context.dimensions)
    assert_same_bits(executed.embed(spoilt), whole)

    x = queries_of(5)
    for given in (whole, executed.embed(spoilt)):
        space = executed.condition(whole).space
        found = executed._points(
            given, space, x.masked_fill(~context.dimensions.mask.unsqueeze(1), torch.nan)
        )
        for one, other in zip(found, executed._points(whole, space, x), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("threads", [2, 3, 64])
def test_bits_do_not_depend_on_threads(isa: str, threads: int) -> None:
    packed, context = model_of().packed, context_of(30, 4)
    mask, kinds, roles = context.mask, context.dimensions.kinds, context.dimensions.roles
    inputs = (context.x, context.y, mask, kinds, roles, packed[0].weights, packed[0].layout)
    one = universal.embed(*inputs, isa=isa)
    for first, second in zip(one, universal.embed(*inputs, isa=isa, threads=threads), strict=True):
        assert torch.equal(first, second)
    weights, layout = packed[1].weights, packed[1].layout
    there = context.dimensions.mask
    space = universal.kernel_space(one.codes, one.pooled, there, weights, layout, isa=isa)[:5]
    points = (queries_of(4), one.codes, one.pooled, there, space, weights, layout)
    found = universal.points(*points, isa=isa)
    for first, second in zip(found, universal.points(*points, isa=isa, threads=threads), strict=True):
        assert torch.equal(first, second)


def corrected(
    executed: ExecutedModel, known: ConditionedPredictor, x: torch.Tensor, rows: slice
) -> torch.Tensor:
    """Corrections of some of the candidates, from one and the same posterior of all."""
    joint = known.processes.joint(executed._points(known.embedding, known.space, x)[0])
    _, prior, embedded = executed._points(known.embedding, known.space, x[:, rows])
    embedding = known.embedding
    mixture = universal.correct(
        embedded,
        prior,
        joint.mean[..., rows].contiguous(),
        joint.variance[..., rows].contiguous(),
        known.processes.noise,
        known.log_weights,
        embedding.z,
        embedding.tokens,
        embedding.context.mask,
        executed._predictor_weights,
        executed._predictor_layout,
        isa=executed.executor.isa,
    )
    return torch.stack(mixture)


@pytest.mark.parametrize("n", [5, 60])
def test_bits_of_a_candidate_do_not_depend_on_the_split(isa: str, n: int) -> None:
    executed = ExecutedModel(model_of(), f"cpu-{isa}")
    known = executed.condition(executed.embed(context_of(n, 3)))
    x = queries_of(3, 230)
    points, whole = (
        executed._points(known.embedding, known.space, x),
        corrected(executed, known, x, slice(None)),
    )
    for rows in (slice(0, 1), slice(1, 4), slice(95, 97), slice(96, 97), slice(100, 230)):
        part = executed._points(known.embedding, known.space, x[:, rows])
        assert torch.equal(part[0], points[0][:, :, rows])
        assert torch.equal(part[1], points[1][..., rows])
        assert torch.equal(part[2], points[2][:, rows])
        assert torch.equal(corrected(executed, known, x, rows), whole[:, :, rows])


def test_orders_do_not_matter(isa: str) -> None:
    executed, context = ExecutedModel(model_of(), f"cpu-{isa}"), context_of(20, 6)
    generator = torch.Generator().manual_seed(0)
    trials, order = torch.randperm(20, generator=generator), torch.randperm(6, generator=generator)
    kinds, roles = context.dimensions.kinds[:, order], context.dimensions.roles[:, order]
    turned = UniversalContext(
        context.x[:, trials][..., order],
        context.y[:, trials],
        context.mask[:, trials],
        Dimensions(kinds, roles),
    )
    one, other = executed.embed(context), executed.embed(turned)
    torch.testing.assert_close(other.codes, one.codes[:, order], rtol=0, atol=2e-5)
    torch.testing.assert_close(other.tokens[:, 1:], one.tokens[:, 1:][:, trials], rtol=0, atol=2e-5)
    torch.testing.assert_close(other.pooled, one.pooled, rtol=0, atol=2e-5)


def test_values_of_any_size_and_ties_are_as_in_torch(isa: str) -> None:
    model = model_of()
    for y in ([3.0] * 6, [1e300, -1e300, 0, 1, 1, 2], [0, 1e-320, 5e-321, 0, 0, 0], [1, 1, 1, 1, 1, -9e99]):
        values = torch.tensor([y], dtype=torch.float64)
        mask, x = torch.ones(1, 6, dtype=torch.bool), queries_of(2, 6)[:1]
        context = UniversalContext(x, values, mask, Dimensions.continuous(1, 2))
        ours, torchs = ExecutedModel(model, f"cpu-{isa}").embed(context), model.transformer(context)
        for name in ("z", "codes", "tokens", "pooled"):
            torch.testing.assert_close(
                getattr(ours, name), getattr(torchs, name), rtol=1e-5, atol=2e-5, equal_nan=True
            )
        assert isinstance(ours.scale, ValueScale)


def test_names_may_be_given(isa: str) -> None:
    model, context = model_of(), context_of(9, 4)
    packed = model.packed[0]
    names = torch.tensor([[3, 31, 0, 7], [5, 2, 30, 1], [0, 1, 2, 3]])
    found = universal.embed(
        context.x,
        context.y,
        context.mask,
        context.dimensions.kinds,
        context.dimensions.roles,
        packed.weights,
        packed.layout,
        names=names,
        isa=isa,
    )
    expected = model.transformer(context, names)
    torch.testing.assert_close(found.codes, expected.codes, rtol=0, atol=2e-5)
    assert not torch.allclose(found.codes, ExecutedModel(model, f"cpu-{isa}").embed(context).codes, atol=1e-3)


def test_strided_inputs_give_the_same_bits() -> None:
    executed, context = ExecutedModel(model_of()), context_of(12, 3)
    dimensions = Dimensions(strided(context.dimensions.kinds), strided(context.dimensions.roles))
    other = UniversalContext(strided(context.x), strided(context.y), strided(context.mask), dimensions)
    assert_same_bits(executed.embed(other), executed.embed(context))


def history(n: int = 30, dim: int = 4) -> History:
    rng = np.random.default_rng(n)
    x = rng.random((n, dim))
    return History(x, -((x - 0.3) ** 2).sum(1) + 0.01 * rng.normal(size=n))


def test_a_run_is_read_alike_on_every_executor(isa: str) -> None:
    model, known = pretrained_model(), history()
    x, y = torch.tensor(known.x), torch.tensor(known.y)
    kinds, roles = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 3, 5, 1])
    reference, native = (
        InContextModel(model, x, y, kinds=kinds, roles=roles, executor=executor)
        for executor in ("reference", f"cpu-{isa}")
    )
    queries = torch.rand(64, 4, generator=torch.Generator().manual_seed(0))
    for noisy in (True, False):
        with torch.no_grad():
            one, other = (run.mixture(queries, noisy=noisy) for run in (reference, native))
        for name in ("log_weights", "means", "deviations"):
            torch.testing.assert_close(getattr(other, name), getattr(one, name), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        native.belief(queries).log_improvement(),
        reference.belief(queries).log_improvement(),
        atol=5e-3,
        rtol=0,
    )
    folds = [np.arange(start, 30, 3) for start in range(3)]
    one, other = (
        held_out_log_density(model, x, y, folds, Dimensions(kinds[None], roles[None]), executor=executor)
        for executor in ("reference", f"cpu-{isa}")
    )
    torch.testing.assert_close(other, one, atol=1e-3, rtol=0)


def test_suggestions_come_from_the_same_predictions() -> None:
    known = history()
    runs = [PretrainedPolicy(executor=executor).read(known) for executor in ("reference", "auto", "cuda")]
    assert [run.executed.native for run in runs] == [False, True, True]
    for executor in ("reference", "auto"):
        policy = PretrainedPolicy(executor=executor)
        point = torch.tensor(policy.suggest(known))
        medians = [run.predict(point).median for run in runs]
        torch.testing.assert_close(medians[1], medians[0], rtol=0, atol=1e-4)
        assert policy.suggest(known, 3).shape == (3, 4)


def test_gradients_come_from_torch() -> None:
    known = history()
    found = []
    for executor in ("reference", "auto"):
        run = InContextModel(
            pretrained_model(), torch.tensor(known.x), torch.tensor(known.y), executor=executor
        )
        x = torch.full((3, 4), 0.4, requires_grad=True)
        run.log_improvement(x).sum().backward()
        found.append(x.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-2, atol=1e-3)


def test_weights_are_followed_and_kept_out_of_copies() -> None:
    model, context = copy.deepcopy(model_of(16, 1, 1, 2)), context_of(7, 3)
    before = ExecutedModel(model).embed(context)
    assert model.packed[0] is model.packed[0]
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.packed[0] is not model.packed[0]
        assert_same_bits(ExecutedModel(other).embed(context), before)
    with torch.no_grad():
        model.transformer.kind.weight.add_(1.0)
    after = ExecutedModel(model).embed(context)
    torch.testing.assert_close(after.codes, model.transformer(context).codes, rtol=0, atol=2e-5)
    assert not torch.allclose(after.codes, before.codes, atol=1e-3)
    model.transformer = copy.deepcopy(model_of(16, 1, 1, 2)).transformer
    assert_same_bits(ExecutedModel(model).embed(context), before)
    with torch.no_grad():
        model.predictor.mean.bias[0] = torch.nan
    with pytest.raises(BackendError, match=r"predictor parameter mean\.bias"):
        ExecutedModel(model)
    ExecutedModel(model, "reference")


def test_executors_that_there_are_not_are_refused() -> None:
    with pytest.raises(InputError, match="executor"):
        InContextModel(model_of(), torch.rand(3, 2), torch.rand(3), executor="gpu")
    with pytest.raises(BackendError, match="no CUDA kernel"):
        InContextModel(model_of(), torch.rand(3, 2), torch.rand(3), executor="cuda")


def test_sizes_are_those_of_the_native_table() -> None:
    for sizes in _MODELS:
        transformer, predictor = model_of(*sizes).packed
        assert transformer.weights.shape == (universal.encoder_size(transformer.layout),)
        assert predictor.weights.shape == (universal.predictor_size(predictor.layout),)


def test_bad_calls_of_embed_are_refused() -> None:
    context, packed = context_of(5, 3), model_of(16, 1, 1, 2).packed[0]
    kinds, roles = context.dimensions.kinds, context.dimensions.roles
    good = {
        "x": context.x,
        "y": context.y,
        "mask": context.mask,
        "kinds": kinds,
        "roles": roles,
        "packed": packed.weights,
        "layout": packed.layout,
        "isa": BEST,
    }
    universal.embed(**good)
    for change in (
        {"x": context.x[:2]},
        {"x": context.x[0]},
        {"x": context.x.double()},
        {"x": torch.rand(3, 5, 33)},
        {"x": context.x[..., :0]},
        {"x": context.x.to("meta")},
        {"x": torch.empty(0, 2**40, 3)},
        {"y": context.y.float()},
        {"y": context.y[:, :4]},
        {"y": torch.full_like(context.y, torch.nan)},
        {"mask": context.mask.long()},
        {"mask": context.mask[:, 1:]},
        {"kinds": kinds + 4},
        {"kinds": kinds - 4},
        {"kinds": kinds.int()},
        {"roles": roles + 64},
        {"roles": roles[:, :2]},
        {"names": torch.full_like(kinds, 32)},
        {"names": torch.full_like(kinds, -1)},
        {"names": kinds[:2]},
        {"packed": packed.weights[:-1]},
        {"packed": packed.weights.double()},
        {"layout": (16, 1)},
        {"layout": (16, 1, 3)},
        {"layout": (16, 0, 2)},
        {"layout": (2**40, 1, 2)},
        {"layout": (16, 2, 2)},
        {"layout": "wide"},
        {"isa": "sse9"},
        {"threads": 0},
    ):
        with pytest.raises(InputError):
            universal.embed(**{**good, **change})


def test_bad_calls_of_the_predictor_are_refused() -> None:
    model = model_of(16, 1, 1, 2)
    executed = ExecutedModel(model)
    known = executed.condition(executed.embed(context_of(5, 3)))
    embedding, packed, x = known.embedding, model.packed[1], queries_of(3)
    space = (known.space.inverse_lengthscale, *known.space.warp, known.space.emphasis, known.space.constant)
    mask = embedding.context.dimensions.mask
    points = (x, embedding.codes, embedding.pooled, mask, space, packed.weights, packed.layout)
    coordinates, prior, embedded = universal.points(*points, isa=BEST)
    joint = known.processes.joint(coordinates)
    correct = (
        embedded,
        prior,
        joint.mean,
        joint.variance,
        known.processes.noise,
        known.log_weights,
        embedding.z,
        embedding.tokens,
        embedding.context.mask,
        packed.weights,
        packed.layout,
    )
    universal.correct(*correct, isa=BEST)
    for function, good in (
        (universal.kernel_space, (embedding.codes, embedding.pooled, mask, packed.weights, packed.layout)),
        (universal.points, points),
        (universal.correct, correct),
    ):
        for place, value in enumerate(good):
            for wrong in (
                value[1:],
                *((value.half(), value.unsqueeze(0)) if isinstance(value, torch.Tensor) else ()),
            ):
                arguments = list(good)
                arguments[place] = wrong
                with pytest.raises((InputError, TypeError)):
                    function(*arguments, isa=BEST)

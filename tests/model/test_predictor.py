# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from diffhpo.errors import BackendError, ExecutorWarning, InputError
from diffhpo.kernels import ops
from diffhpo.kernels.executors import choose_executor
from diffhpo.model import BarDistribution, ContextBatch, Predictor, Scorer, Transformer
from diffhpo.model.transformer import ContextEmbedding, rank_within

_NATIVE = [f"cpu-{isa}" for isa in ops.native_isas(runnable=True)]


def seeded(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.fixture
def scorer() -> Scorer:
    return Scorer(seeded(Predictor(3), 1), seeded(Transformer(3), 2))


def trials(n: int, seed: int = 0, dim: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, dim, generator=generator), torch.randn(n, generator=generator)


def candidates(n: int, seed: int = 9, dim: int = 3) -> torch.Tensor:
    return torch.rand(n, dim, generator=torch.Generator().manual_seed(seed))


def test_a_candidate_does_not_see_the_others() -> None:
    predictor, transformer = seeded(Predictor(3).double(), 1), seeded(Transformer(3).double(), 2)
    embedding = transformer(ContextBatch.single(*(part.double() for part in trials(9))))
    x = candidates(5).double()
    alone = torch.cat([predictor(row.unsqueeze(0), embedding) for row in x])
    torch.testing.assert_close(predictor(x, embedding), alone, rtol=0, atol=1e-12)


def test_a_batch_of_contexts_is_each_of_them() -> None:
    predictor, transformer = seeded(Predictor(3).double(), 1), seeded(Transformer(3).double(), 2)
    batch = ContextBatch(
        torch.rand(2, 6, 3).double(),
        torch.randn(2, 6).double(),
        torch.tensor([[True] * 6, [True] * 2 + [False] * 4]),
    )
    x = torch.rand(2, 4, 3).double()
    together = predictor(x, transformer(batch))
    for index, count in enumerate((6, 2)):
        single = ContextBatch.single(batch.x[index, :count], batch.y[index, :count])
        torch.testing.assert_close(
            together[index], predictor(x[index], transformer(single)), rtol=0, atol=1e-12
        )


def test_config_rebuilds_the_same_shape() -> None:
    predictor = Predictor(4, width=24, layers=3, heads=3, context_width=8, bars=10)
    again = Predictor(**predictor.config)
    again.load_state_dict(predictor.state_dict())
    assert again.config == predictor.config


def test_it_can_be_trained() -> None:
    """Gradients reach every parameter of both modules."""
    predictor, transformer = Predictor(3), Transformer(3)
    embedding = transformer(ContextBatch.single(*trials(9)))
    loss = (
        -predictor.distribution(predictor(candidates(6), embedding)).log_prob(torch.linspace(-1, 1, 6)).mean()
    )
    loss.backward()
    for module in (predictor, transformer):
        assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("executor", [*_NATIVE, "cpu", "auto"])
@pytest.mark.parametrize("n", [0, 1, 20, 200])
def test_executors_agree(scorer: Scorer, executor: str, n: int) -> None:
    x = candidates(31)
    expected = scorer.predict(trials(n), x, executor="reference")
    predicted = scorer.predict(trials(n), x, executor=executor)
    assert isinstance(predicted, BarDistribution)
    torch.testing.assert_close(predicted.logits, expected.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(predicted.mean, expected.mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("executor", ["reference", _NATIVE[-1]])
def test_the_order_of_trials_does_not_matter(scorer: Scorer, executor: str) -> None:
    x, y = trials(150)
    order = torch.randperm(150, generator=torch.Generator().manual_seed(5))
    plain = scorer.predict((x, y), candidates(7), executor=executor).logits
    shuffled = scorer.predict((x[order], y[order]), candidates(7), executor=executor).logits
    torch.testing.assert_close(plain, shuffled, rtol=0, atol=1e-5)


@pytest.mark.parametrize("executor", ["reference", _NATIVE[-1]])
def test_shift_and_scale_of_y_do_not_matter(scorer: Scorer, executor: str) -> None:
    x, y = trials(12)
    plain = scorer.predict((x, y), candidates(7), executor=executor).logits
    moved = scorer.predict((x, 1e6 * y - 3e6), candidates(7), executor=executor).logits
    torch.testing.assert_close(plain, moved, rtol=0, atol=1e-4)


@pytest.mark.parametrize("executor", _NATIVE)
def test_jobs_are_single_calls_bit_for_bit(scorer: Scorer, executor: str) -> None:
    sizes, counts = (0, 300, 5, 64, 1), (3, 0, 100, 1, 31)
    contexts = [trials(n, seed) for seed, n in enumerate(sizes)]
    xs = [candidates(count, seed) for seed, count in enumerate(counts)]
    together = scorer.predict_jobs(contexts, xs, executor=executor, threads=2)
    for context, x, part in zip(contexts, xs, together, strict=True):
        assert torch.equal(scorer.predict(context, x, executor=executor, threads=1).logits, part.logits)
    assert scorer.predict_jobs([], [], executor=executor) == []


@pytest.mark.parametrize("executor", ["reference", _NATIVE[-1]])
def test_all_forms_of_a_context_are_the_same(scorer: Scorer, executor: str) -> None:
    x, y = trials(6)
    pair = scorer.predict((x, y), candidates(4), executor=executor).logits
    batch = ContextBatch.single(x.double(), y.double())
    masked = ContextBatch(
        torch.cat([batch.x, torch.full((1, 2, 3), 0.5)], 1),
        torch.cat([batch.y, torch.full((1, 2), torch.nan)], 1),
        torch.tensor([[True] * 6 + [False] * 2]),
    )
    with torch.no_grad():
        embedding = scorer.transformer(batch)
    for form in (batch, masked, embedding, (x.numpy(), y.unsqueeze(1))):
        other = scorer.predict(form, candidates(4), executor=executor).logits
        torch.testing.assert_close(other, pair, rtol=0, atol=1e-5)
    none = scorer.predict(None, candidates(4), executor=executor).logits
    empty = scorer.predict((x[:0], y[:0]), candidates(4), executor=executor).logits
    assert torch.equal(none, empty)


def test_weights_are_packed_anew_when_they_change(scorer: Scorer) -> None:
    def predict(executor: str) -> torch.Tensor:
        return scorer.predict(trials(9), candidates(4), executor=executor).logits

    before = predict("cpu")
    scorer.predictor.output.bias.data.add_(1.0)  # .data leaves version counters as they were
    scorer.transformer.anchor.data.add_(1.0)
    torch.testing.assert_close(predict("cpu"), predict("reference"), rtol=0, atol=1e-5)
    assert not torch.allclose(predict("cpu"), before)


def test_weights_that_are_not_finite_are_named(scorer: Scorer) -> None:
    scorer.predictor.layers[1].key.weight.data[0, 0] = torch.nan
    with pytest.raises(BackendError, match=r"predictor parameter layers\.1\.key\.weight"):
        scorer.predict(trials(9), candidates(4), executor="cpu")
    with pytest.raises(BackendError, match="not finite"):
        scorer.predict(trials(9), candidates(4), executor="reference")
    other = Scorer(seeded(Predictor(3), 1), seeded(Transformer(3), 2))
    other.transformer.anchor.data[0] = torch.inf
    with pytest.raises(BackendError, match="transformer parameter anchor"):
        other.predict(trials(9), candidates(4), executor="cpu")


def test_bad_arguments_are_refused(scorer: Scorer) -> None:
    x, y = trials(4)
    embedding = scorer.transformer(ContextBatch.single(x, y))
    no_anchor = ContextEmbedding(embedding.pooled, embedding.tokens, embedding.mask)
    for context, given, options in (
        ((x, y), torch.rand(3, 4), {}),
        ((x, y), torch.rand(3), {}),
        ((x, y), torch.full((2, 3), torch.nan), {}),
        ((x, y), torch.full((2, 3), 1.1), {}),
        ((x, y), [["a"]], {}),
        ((x, y[:3]), torch.rand(2, 3), {}),
        ((x, y * torch.nan), torch.rand(2, 3), {}),
        ((x + 1, y), torch.rand(2, 3), {}),
        ((x[:, :2], y), torch.rand(2, 3), {}),
        (torch.rand(32), torch.rand(2, 3), {}),
        (no_anchor, torch.rand(2, 3), {}),
        ((x, y), torch.rand(2, 3), {"threads": 0}),
        ((x, y), torch.rand(2, 3), {"threads": 1.5}),
        ((x, y), torch.rand(2, 3), {"executor": "gpu"}),
    ):
        with pytest.raises(InputError):
            scorer.predict(context, given, **options)
    with pytest.raises(InputError, match="2 entries for 1"):
        scorer.predict_jobs([None], [torch.rand(2, 3)] * 2)
    with pytest.raises(BackendError, match="no CUDA kernel"):
        scorer.predict((x, y), torch.rand(2, 3), executor="cuda")
    with pytest.raises(InputError):
        Scorer(Predictor(3), Transformer(4))
    with pytest.raises(InputError):
        Scorer(Predictor(3, context_width=16), Transformer(3))
    for bad in ({"width": 30, "heads": 4}, {"layers": 0}, {"bars": 1}, {"dim": 0}):
        with pytest.raises(InputError):
            Predictor(**{"dim": 3, **bad})
    for wrong in (torch.rand(3, 4), torch.rand(2, 3, 3), torch.rand(3)):
        with pytest.raises(InputError):
            scorer.predictor(wrong, embedding)
    with pytest.raises(InputError, match="anchor"):
        scorer.predictor(torch.rand(3, 3), no_anchor)


def test_auto_says_when_it_takes_the_reference() -> None:
    with pytest.warns(ExecutorWarning, match="no CUDA kernel"):
        assert choose_executor("auto", device=torch.device("cuda"), kernels=("cpu",)).name == "reference"


def test_ranks_are_those_of_pairwise_comparison() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 0), (2, 1), (5, 40)):
        y = torch.randint(-3, 4, shape, generator=generator).double()
        y[:, ::7] = torch.inf
        mask = torch.rand(shape, generator=generator) < 0.7
        y = y.masked_fill(~mask, torch.nan)
        valid = mask.unsqueeze(1) & mask.unsqueeze(2)
        below = ((y.unsqueeze(1) < y.unsqueeze(2)) & valid).sum(-1)
        above = ((y.unsqueeze(1) > y.unsqueeze(2)) & valid).sum(-1)
        expected = (below - above).double() / (mask.sum(-1, keepdim=True) - 1).clamp(min=1)
        assert torch.equal(rank_within(y, mask), expected)

# SPDX-License-Identifier: Apache-2.0
"""The attention kernels against the torch modules in float64."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from tests.kernels.problem_variants import strided

from diffhpo.errors import InputError
from diffhpo.kernels import attention, ops
from diffhpo.model.packed_attention import PackedPredictor, PackedTransformer
from diffhpo.model.predictor import Predictor
from diffhpo.model.transformer import ContextBatch, ContextEmbedding, Transformer

_SIZES = (0, 1, 2, 31, 64, 97, 1025)
_CONTEXTS = (0, 1, 15, 31, 63, 64, 127, 128, 159, 160, 161, 300, 1024)
_DIMS = (1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 47, 64)
#: width, heads, context width: shared, projected and folded keys, heads that fill no whole vector.
_PREDICTORS = (
    (64, 2, 32),
    (64, 1, 32),
    (64, 4, 32),
    (32, 2, 32),
    (96, 3, 16),
    (128, 4, 32),
    (20, 2, 7),
    (7, 1, 5),
)
#: width, heads.
_ENCODERS = ((32, 2), (32, 1), (64, 4), (64, 1), (24, 2), (7, 1), (96, 2), (128, 2))


def seeded(module: torch.nn.Module, seed: int = 0, scale: float = 1.0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            size = scale * parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
    return module


class PredictorCase:
    """A random Predictor with random tokens of one context."""

    def __init__(
        self, dim: int = 5, width: int = 64, heads: int = 2, source: int = 32, *, n: int = 20, layers: int = 2
    ) -> None:
        predictor = Predictor(dim, width=width, heads=heads, context_width=source, layers=layers, bars=50)
        self.predictor = seeded(predictor, 1000 * dim + 10 * width + heads)
        self.packed = PackedPredictor(self.predictor)
        self.generator = torch.Generator().manual_seed(n)
        self.tokens = torch.randn(n + 1, source, generator=self.generator)

    def candidates(self, count: int) -> torch.Tensor:
        return torch.rand(count, self.predictor.dim, generator=self.generator)

    def torch(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        tokens = self.tokens.to(dtype).unsqueeze(0)
        mask = torch.ones(1, tokens.shape[1] - 1, dtype=torch.bool)
        embedding = ContextEmbedding(tokens[:, 0], tokens[:, 1:], mask, tokens[:, 0])
        with torch.no_grad():
            return copy.deepcopy(self.predictor).to(dtype)(x.to(dtype), embedding)

    def native(self, x: torch.Tensor, isa: str, threads: int = 1) -> torch.Tensor:
        packed, tokens = self.packed, self.tokens
        return attention.predict(
            x, [len(x)], tokens, [len(tokens)], packed.weights, packed.layout, isa=isa, threads=threads
        )

    def assert_as_exact_as_torch(self, x: torch.Tensor, isa: str) -> None:
        """Mean error against float64 at most twice that of torch's own float32."""
        exact = self.torch(x, torch.float64)
        ours = (self.native(x, isa).double() - exact).abs().mean()
        torchs = (self.torch(x, torch.float32).double() - exact).abs().mean()
        assert float(ours) <= 2 * float(torchs) + 1e-8


class EncoderCase:
    """A random Transformer with random contexts of several sizes."""

    def __init__(
        self, counts: tuple[int, ...], dim: int = 5, width: int = 32, heads: int = 2, layers: int = 2
    ) -> None:
        self.transformer = seeded(
            Transformer(dim, width=width, heads=heads, layers=layers), 10 * width + heads
        )
        self.packed = PackedTransformer(self.transformer)
        generator = torch.Generator().manual_seed(sum(counts))
        self.counts = counts
        self.contexts = [
            ContextBatch.single(torch.rand(n, dim, generator=generator), torch.randn(n, generator=generator))
            for n in counts
        ]
        self.features = [self.transformer.features(context)[0].detach() for context in self.contexts]

    def torch(self, dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
        transformer = copy.deepcopy(self.transformer).to(dtype)
        # The features are the input of the kernel: rounded once, for both.
        transformer.features = lambda context: context.x.to(dtype)  # type: ignore[method-assign]
        results = []
        for features, context in zip(self.features, self.contexts, strict=True):
            with torch.no_grad():
                out = transformer(ContextBatch(features.unsqueeze(0), context.y, context.mask))
            results.append((torch.cat([out.anchor, out.tokens[0]]), out.pooled[0]))
        return results

    def native(
        self, isa: str, threads: int = 1, order: list[int] | None = None
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        order = list(range(len(self.counts))) if order is None else order
        counts = [self.counts[job] for job in order]
        tokens, pooled = attention.encode(
            torch.cat([self.features[job] for job in order]),
            counts,
            self.packed.weights,
            self.packed.layout,
            isa=isa,
            threads=threads,
        )
        return list(zip(tokens.split([count + 1 for count in counts]), pooled, strict=True))

    def assert_as_exact_as_torch(self, isa: str) -> None:
        def flat(results: list[tuple[torch.Tensor, torch.Tensor]], part: int) -> torch.Tensor:
            return torch.cat([result[part].flatten() for result in results]).double()

        for part in (0, 1):
            exact = flat(self.torch(torch.float64), part)
            ours = (flat(self.native(isa), part) - exact).abs().mean()
            torchs = (flat(self.torch(torch.float32), part) - exact).abs().mean()
            # Twice, and a quarter for torch's own, which is that of the blocks of the processor's BLAS.
            assert float(ours) <= 2.5 * float(torchs) + 1e-8


@pytest.mark.parametrize("count", _SIZES)
def test_every_number_of_candidates_matches_float64(isa: str, count: int) -> None:
    case = PredictorCase()
    if count == 0:
        assert case.native(case.candidates(0), isa).shape == (0, 50)
    else:
        case.assert_as_exact_as_torch(case.candidates(count), isa)


@pytest.mark.parametrize("n", _CONTEXTS)
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_every_context_matches_float64(isa: str, n: int, heads: int) -> None:
    case = PredictorCase(heads=heads, n=n)
    case.assert_as_exact_as_torch(case.candidates(37), isa)


@pytest.mark.parametrize("dim", _DIMS)
def test_every_dimension_matches_float64(isa: str, dim: int) -> None:
    case = PredictorCase(dim, layers=1)
    case.assert_as_exact_as_torch(case.candidates(29), isa)
    EncoderCase((33,), dim, layers=1).assert_as_exact_as_torch(isa)


@pytest.mark.parametrize(("width", "heads", "source"), _PREDICTORS)
@pytest.mark.parametrize("n", [0, 11, 140])
def test_every_predictor_matches_float64(isa: str, width: int, heads: int, source: int, n: int) -> None:
    case = PredictorCase(3, width, heads, source, n=n, layers=3)
    case.assert_as_exact_as_torch(case.candidates(53), isa)


@pytest.mark.parametrize(("width", "heads"), _ENCODERS)
def test_every_encoder_matches_float64(isa: str, width: int, heads: int) -> None:
    EncoderCase((40, 0, 161, 1), 3, width, heads, layers=3).assert_as_exact_as_torch(isa)


@pytest.mark.parametrize("n", _CONTEXTS)
def test_every_encoded_context_matches_float64(isa: str, n: int) -> None:
    EncoderCase((n,)).assert_as_exact_as_torch(isa)


def test_bits_do_not_depend_on_the_split(isa: str) -> None:
    for n in (20, 200):
        case = PredictorCase(n=n)
        x = case.candidates(230)
        whole = case.native(x, isa)
        cuts = [0, 1, 3, 6, 10, 15, 21, 28, 36, 45, 57, 70, 84, 180, 230]
        parts = [case.native(x[start:stop], isa) for start, stop in pairwise(cuts)]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("threads", [2, 3, 7, 64])
def test_bits_do_not_depend_on_threads(isa: str, threads: int) -> None:
    for heads in (2, 4):
        case = PredictorCase(heads=heads, n=200)
        x = case.candidates(200)
        assert torch.equal(case.native(x, isa, threads), case.native(x, isa))
    encoder = EncoderCase((200, 0, 31))
    for one, many in zip(encoder.native(isa), encoder.native(isa, threads), strict=True):
        assert torch.equal(one[0], many[0])
        assert torch.equal(one[1], many[1])


def test_bits_of_a_context_do_not_depend_on_the_others(isa: str) -> None:
    case = EncoderCase((5, 0, 300, 1, 129))
    whole = case.native(isa)
    for order in ([4, 2, 0, 3, 1], [2], [3, 3]):
        for job, (tokens, pooled) in zip(order, case.native(isa, order=order), strict=True):
            assert torch.equal(tokens, whole[job][0])
            assert torch.equal(pooled, whole[job][1])


@pytest.mark.parametrize("heads", [2, 4])
def test_ragged_jobs_are_single_jobs_bit_for_bit(isa: str, heads: int) -> None:
    cases = [PredictorCase(heads=heads, n=n) for n in (0, 300, 12, 63, 1)]
    counts = [3, 50, 0, 1, 97]
    xs = [case.candidates(count) for case, count in zip(cases, counts, strict=True)]
    packed = cases[0].packed
    for order in ([0, 1, 2, 3, 4], [3, 1, 4, 0, 2]):
        together = attention.predict(
            torch.cat([xs[job] for job in order]),
            [counts[job] for job in order],
            torch.cat([cases[job].tokens for job in order]),
            [len(cases[job].tokens) for job in order],
            packed.weights,
            packed.layout,
            isa=isa,
            threads=2,
        )
        single = torch.cat([cases[job].native(xs[job], isa) for job in order])
        assert torch.equal(together, single)


@pytest.mark.parametrize("n", [11, 150])
def test_the_order_of_tokens_does_not_matter(isa: str, n: int) -> None:
    case = PredictorCase(n=n)
    x = case.candidates(20)
    plain = case.native(x, isa)
    case.tokens = case.tokens[torch.randperm(n + 1, generator=case.generator)]
    torch.testing.assert_close(case.native(x, isa), plain, rtol=0, atol=2e-6)


@pytest.mark.parametrize("n", [11, 300])
def test_sharp_attention_matches_float64(isa: str, n: int) -> None:
    """Scores of thousands: almost all weight on one token, and running maxima that rise between chunks."""
    case = PredictorCase(n=n)
    case.tokens = case.tokens * torch.linspace(0, 1000, n + 1).unsqueeze(1)
    case.assert_as_exact_as_torch(case.candidates(64), isa)


@pytest.mark.parametrize("n", [11, 300])
def test_large_values_match_float64(isa: str, n: int) -> None:
    case = PredictorCase(n=n)
    case.assert_as_exact_as_torch(1e6 * case.candidates(64), isa)
    encoder = EncoderCase((n,))
    encoder.features = [1e6 * features for features in encoder.features]
    encoder.assert_as_exact_as_torch(isa)


def test_equal_tokens_share_the_weight(isa: str) -> None:
    """All scores equal: n equal tokens are one token."""
    case = PredictorCase(n=600)
    case.tokens = case.tokens[:1].expand(601, -1)
    x = case.candidates(9)
    many = case.native(x, isa)
    case.tokens = case.tokens[:1]
    torch.testing.assert_close(many, case.native(x, isa), rtol=0, atol=2e-6)


@pytest.mark.parametrize("n", [11, 300])
def test_nan_stays_with_its_candidate(isa: str, n: int) -> None:
    case = PredictorCase(n=n)
    x = case.candidates(50)
    clean = case.native(x, isa)
    x[17, 2] = torch.nan
    spoilt = case.native(x, isa)
    assert bool(torch.isnan(spoilt[17]).all())
    others = torch.arange(50) != 17
    assert torch.equal(spoilt[others], clean[others])


def test_nan_in_a_token_reaches_every_candidate(isa: str) -> None:
    for n in (11, 300):
        case = PredictorCase(n=n)
        case.tokens[n // 2, 3] = torch.nan
        assert bool(torch.isnan(case.native(case.candidates(5), isa)).all())


def test_strided_inputs_give_the_same_bits(isa: str) -> None:
    case = PredictorCase()
    x = case.candidates(13)
    expected = case.native(x, isa)
    case.tokens = strided(case.tokens)
    assert torch.equal(case.native(strided(x), isa), expected)
    encoder = EncoderCase((17,))
    tokens, _ = encoder.native(isa)[0]
    encoder.features = [strided(encoder.features[0])]
    assert torch.equal(encoder.native(isa)[0][0], tokens)


def test_no_jobs(isa: str) -> None:
    case = PredictorCase()
    nothing = torch.empty(0, 5)
    logits = attention.predict(
        nothing, [], torch.empty(0, 32), [], case.packed.weights, case.packed.layout, isa=isa
    )
    assert logits.shape == (0, 50)
    encoder = EncoderCase((1,))
    tokens, pooled = attention.encode(
        torch.empty(0, 7), [], encoder.packed.weights, encoder.packed.layout, isa=isa
    )
    assert tokens.shape == pooled.shape == (0, 32)


def test_sizes_are_those_of_the_native_table() -> None:
    for width, heads, source in _PREDICTORS:
        packed = PackedPredictor(Predictor(3, width=width, heads=heads, context_width=source))
        assert packed.weights.shape == (attention.predictor_size(packed.layout),)
    for width, heads in _ENCODERS:
        encoder = PackedTransformer(Transformer(3, width=width, heads=heads))
        assert encoder.weights.shape == (attention.encoder_size(encoder.layout),)


def test_bad_calls_of_predict_are_refused() -> None:
    case = PredictorCase(n=4)
    weights, layout, tokens, x = case.packed.weights, case.packed.layout, case.tokens, case.candidates(3)
    isa = ops.native_isas(runnable=True)[-1]
    good = {
        "x": x,
        "counts": [3],
        "tokens": tokens,
        "token_counts": [5],
        "packed": weights,
        "layout": layout,
        "isa": isa,
        "threads": 1,
    }
    attention.predict(**good)
    for change in (
        {"x": x[:, :4]},
        {"x": x[0]},
        {"x": x.double()},
        {"x": x.to("meta")},
        {"counts": [2]},
        {"counts": [4]},
        {"counts": [-1, 4]},
        {"counts": [2**63 - 1]},
        {"counts": [2**70]},
        {"counts": [1.5]},
        {"counts": []},
        {"tokens": tokens[:, :31]},
        {"tokens": tokens.long()},
        {"token_counts": [4]},
        {"token_counts": [5, 0]},
        {"token_counts": [0], "tokens": tokens[:0]},
        {"counts": [3, 0], "token_counts": [5, 0]},
        {"packed": weights[:-1]},
        {"packed": weights.double()},
        {"layout": (*layout[:5], 0)},
        {"layout": (*layout[:5], 2**40)},
        {"layout": (*layout[:3], 3, *layout[4:])},
        {"layout": (5, 64, 2, 2, 32, 50, 1)},
        {"layout": (5, 64)},
        {"isa": "sse9"},
        {"threads": 0},
        {"threads": 10**6},
    ):
        with pytest.raises(InputError):
            attention.predict(**{**good, **change})


def test_bad_calls_of_encode_are_refused() -> None:
    case = EncoderCase((4,))
    inputs = case.features[0]
    isa = ops.native_isas(runnable=True)[-1]
    good = {
        "inputs": inputs,
        "counts": [4],
        "packed": case.packed.weights,
        "layout": case.packed.layout,
        "isa": isa,
    }
    attention.encode(**good)
    for change in (
        {"inputs": inputs[:, :6]},
        {"inputs": inputs.double()},
        {"inputs": inputs[0]},
        {"counts": [3]},
        {"counts": [5, -1]},
        {"packed": case.packed.weights[1:]},
        {"layout": (7, 32, 2, 3)},
        {"layout": (7, 32, 2)},
        {"isa": "cpu"},
        {"threads": 0},
    ):
        with pytest.raises(InputError):
            attention.encode(**{**good, **change})


def test_the_native_functions_refuse_what_is_no_tensor() -> None:
    native = ops.native()
    case = PredictorCase(n=4)
    isa = ops.native_isas(runnable=True)[-1]
    rest = ([5], [3], list(case.packed.layout), isa, 1)
    for wrong in (None, [1.0], "x", 3, object()):
        with pytest.raises(TypeError, match="tokens"):
            native.attention_predict(
                torch.empty(3, 50), case.packed.weights, wrong, case.candidates(3), *rest
            )
    with pytest.raises(ValueError, match="logits"):
        native.attention_predict(
            torch.empty(3, 51), case.packed.weights, case.tokens, case.candidates(3), *rest
        )


@pytest.mark.filterwarnings("ignore")  # torch's own deprecations while it traces
def test_opcheck_and_compile_pass() -> None:
    case, isa = PredictorCase(n=4), ops.native_isas(runnable=True)[-1]
    arguments = (
        case.candidates(3),
        [3],
        case.tokens,
        [5],
        case.packed.weights,
        list(case.packed.layout),
        isa,
        1,
    )
    operator = torch.ops.diffhpo.attention_predict.default
    torch.library.opcheck(operator, arguments)
    compiled = torch.compile(lambda *inputs: operator(*inputs) + 1, fullgraph=True, backend="eager")
    assert torch.equal(compiled(*arguments), operator(*arguments) + 1)

    packed = PackedTransformer(Transformer(3, width=8))
    encoder = (torch.rand(6, 5), [2, 4], packed.weights, list(packed.layout), isa, 1)
    torch.library.opcheck(torch.ops.diffhpo.attention_encode.default, encoder)

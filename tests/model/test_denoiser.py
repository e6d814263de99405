# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from diffhpo.errors import BackendError, InputError
from diffhpo.kernels import ops, reference
from diffhpo.model.denoiser import Denoiser
from diffhpo.model.network import NO_FLAG, Network
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.transformer import ContextBatch, Transformer

_EXECUTORS = ["reference", *(f"cpu-{isa}" for isa in ops.native_isas(runnable=True))]


def random_network(dim: int = 5, *, seed: int = 0, **settings: int | bool) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(dim, **{"width": 32, "context_width": 8, **settings})
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.5)
    return network


def random_transformer(dim: int = 5) -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        transformer = Transformer(dim, width=8, heads=2)
        torch.nn.init.normal_(transformer.anchor)
    return transformer


def literal_algorithm_2(
    network: Network, betas: Tensor, n: int, seed: int, context: Tensor, flag: int
) -> Tensor:
    """Algorithm 2 of Ho et al. (2020) as printed, t = T, ..., 1; sigma^2 is the posterior variance, eq. 7."""
    network = network.double()
    total = len(betas)
    alphas = 1 - betas
    x = reference.noise(seed, range(n), total, network.dim).double()
    for t in range(total, 0, -1):
        alpha, beta = float(alphas[t - 1]), float(betas[t - 1])
        alpha_bar = float(alphas[:t].prod())
        alpha_bar_before = float(alphas[: t - 1].prod())
        z = reference.noise(seed, range(n), t - 1, network.dim).double() if t > 1 else torch.zeros_like(x)
        eps = network(x, torch.full((n,), t - 1), torch.full((n,), flag), context.double().expand(n, -1))
        sigma = ((1 - alpha_bar_before) / (1 - alpha_bar) * beta) ** 0.5
        x = (x - (1 - alpha) / (1 - alpha_bar) ** 0.5 * eps) / alpha**0.5 + sigma * z
    return x


@pytest.mark.parametrize("executor", _EXECUTORS)
@pytest.mark.parametrize("flag", [0, 1, None])
@torch.no_grad()
def test_unclipped_ddpm_is_algorithm_2(executor: str, flag: int | None) -> None:
    network, schedule, context = random_network(), NoiseSchedule.linear(200), torch.linspace(-1, 1, 8)
    drawn = Denoiser(network, schedule).sample(
        context, 40, steps=200, seed=7, clip=False, improve=flag, executor=executor
    )
    x = literal_algorithm_2(network, schedule.betas, 40, 7, context, NO_FLAG if flag is None else flag)
    expected = (x + 1) / 2
    assert float((drawn.double() - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@torch.no_grad()
def test_the_float64_reference_is_algorithm_2_to_rounding() -> None:
    network, schedule, context = random_network().double(), NoiseSchedule.cosine(300), torch.zeros(8)
    drawn = Denoiser(network, schedule).sample(context, 6, steps=300, clip=False, executor="reference")
    x = literal_algorithm_2(network, schedule.betas, 6, 0, context, 1)
    expected = ((x + 1) / 2).float()
    assert torch.allclose(drawn, expected, rtol=3e-7, atol=0)


class GaussianNoise(Network):
    """The exact noise prediction where x_0 ~ N(mean, deviation^2) in every dimension."""

    mean, deviation = 0.3, 0.2

    def __init__(self, schedule: NoiseSchedule) -> None:
        super().__init__(dim=2, context_width=0)
        self._alpha_bars = schedule.alpha_bars

    def forward(self, x: Tensor, t: Tensor, *_: Tensor | None) -> Tensor:
        bar = self._alpha_bars[t].unsqueeze(-1).to(x.dtype)
        return (1 - bar).sqrt() * (x - bar.sqrt() * self.mean) / (bar * self.deviation**2 + 1 - bar)


@pytest.mark.parametrize(("method", "steps"), [("ddpm", 1000), ("ddpm", 200), ("ddim", 200)])
def test_a_perfect_network_gives_back_its_distribution(method: str, steps: int) -> None:
    schedule = NoiseSchedule.linear(1000)
    denoiser = Denoiser(GaussianNoise(schedule), schedule)
    drawn = 2 * denoiser.sample(None, 4000, steps=steps, method=method, clip=False, executor="reference") - 1
    assert float((drawn.mean(0) - 0.3).abs().max()) < 0.02
    assert float((drawn.std(0) - 0.2).abs().max()) < 0.02


@pytest.mark.parametrize("executor", _EXECUTORS)
def test_ddim_is_equation_12_and_adds_no_noise(executor: str) -> None:
    network, schedule = random_network(), NoiseSchedule.linear(1000)
    steps = [900, 600, 300, 40, 0]
    drawn = Denoiser(network, schedule).sample(None, 12, steps=steps, method="ddim", executor=executor)
    x = reference.noise(0, range(12), 1000, 5).double()
    exact = network.double()
    with torch.no_grad():
        for t, t_next in zip(steps, [*steps[1:], None], strict=True):
            bar = float(schedule.alpha_bars[t])
            bar_next = 1.0 if t_next is None else float(schedule.alpha_bars[t_next])
            eps = exact(x, torch.full((12,), t), torch.ones(12, dtype=torch.long))
            x0 = ((x - (1 - bar) ** 0.5 * eps) / bar**0.5).clamp(-1, 1)
            eps_of_x0 = (x - bar**0.5 * x0) / (1 - bar) ** 0.5
            x = bar_next**0.5 * x0 + (1 - bar_next) ** 0.5 * eps_of_x0
    assert float((drawn.double() - (x + 1) / 2).abs().max()) < 1e-4


@pytest.mark.parametrize("executor", _EXECUTORS)
def test_the_last_step_adds_no_noise(executor: str) -> None:
    """One step from x_T: x_0 = the clipped estimate alone, whatever the method."""
    denoiser = Denoiser(random_network(), NoiseSchedule.linear(100))
    ddpm = denoiser.sample(None, 9, steps=[60], executor=executor)
    assert torch.equal(ddpm, denoiser.sample(None, 9, steps=[60], method="ddim", executor=executor))


@pytest.mark.parametrize("executor", _EXECUTORS)
def test_executors_agree_and_stay_in_the_cube(executor: str) -> None:
    denoiser = Denoiser(random_network(), None, random_transformer())
    generator = torch.Generator().manual_seed(3)
    context = (torch.rand(6, 5, generator=generator), torch.rand(6, generator=generator))
    for settings in ({}, {"guidance": 1.5}, {"improve": None}, {"method": "ddim"}):
        drawn = denoiser.sample(context, 33, steps=40, executor=executor, seed=2**63 + 1, **settings)
        expected = denoiser.sample(context, 33, steps=40, executor="reference", seed=2**63 + 1, **settings)
        assert drawn.dtype == torch.float32
        assert drawn.shape == (33, 5)
        assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
        assert float((drawn - expected).abs().median()) < 1e-6
        assert float((drawn - expected).abs().max()) < 1e-3


@pytest.mark.parametrize("executor", _EXECUTORS)
def test_guidance_is_the_extrapolation_it_says(executor: str) -> None:
    network = random_network()
    denoiser = Denoiser(network, NoiseSchedule.linear(50))
    plain = denoiser.sample(None, 8, steps=50, executor=executor)
    assert torch.equal(denoiser.sample(None, 8, steps=50, executor=executor, guidance=0), plain)
    # w = -1 leaves the branch without the flag.
    withheld = denoiser.sample(None, 8, steps=50, executor=executor, improve=None)
    guided = denoiser.sample(None, 8, steps=50, executor=executor, guidance=-1)
    assert torch.allclose(guided, withheld, atol=1e-5)
    assert not torch.allclose(plain, withheld, atol=1e-3)
    with torch.no_grad():
        network.flag.weight.copy_(network.flag.weight[0].expand(3, -1).clone())
    strong = denoiser.sample(None, 8, steps=50, executor=executor, guidance=2.5)
    assert torch.allclose(strong, denoiser.sample(None, 8, steps=50, executor=executor), atol=1e-4)


@pytest.mark.parametrize("executor", [name for name in _EXECUTORS if name != "reference"])
def test_a_candidate_does_not_depend_on_the_call_it_is_drawn_in(executor: str) -> None:
    denoiser = Denoiser(random_network(), NoiseSchedule.linear(30), random_transformer())
    generator = torch.Generator().manual_seed(0)
    runs = [(torch.rand(m, 5, generator=generator), torch.rand(m, generator=generator)) for m in (0, 1, 9)]
    contexts, counts, seeds = [*runs, None], [3, 70, 0, 12], [5, 5, 6, 2**64 - 1]
    together = denoiser.sample_jobs(
        contexts, counts, seeds=seeds, improve=[True, None, False, True], steps=30, executor=executor
    )
    flags = [True, None, False, True]
    order = [2, 3, 1, 0]
    shuffled = denoiser.sample_jobs(
        [contexts[j] for j in order],
        [counts[j] for j in order],
        seeds=[seeds[j] for j in order],
        improve=[flags[j] for j in order],
        steps=30,
        executor=executor,
        threads=3,
    )
    for j in range(4):
        alone = denoiser.sample(
            contexts[j], counts[j], seed=seeds[j], improve=flags[j], steps=30, executor=executor
        )
        assert torch.equal(together[j], alone)
        assert torch.equal(shuffled[order.index(j)], alone)
    tail = denoiser.sample(
        contexts[1], 20, seed=5, improve=None, steps=30, executor=executor, first_candidate=50
    )
    assert torch.equal(tail, together[1][50:])
    assert torch.equal(together[0], denoiser.sample(None, 3, seed=5, steps=30, executor=executor))


def test_seeds_differ_and_global_random_state_stays() -> None:
    denoiser = Denoiser(random_network(), NoiseSchedule.linear(20))
    state = torch.random.get_rng_state()
    a, b, c = (denoiser.sample(None, 4, steps=20, seed=seed) for seed in (0, 1, 0))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(a, c)
    assert not torch.equal(a, b)


@pytest.mark.parametrize("executor", ["reference", "cpu"])
def test_training_between_calls_is_seen(executor: str) -> None:
    network = random_network()
    denoiser = Denoiser(network, NoiseSchedule.linear(20))

    def fresh() -> Tensor:
        return Denoiser(network, denoiser.schedule).sample(None, 4, steps=20, executor=executor, clip=False)

    def sample() -> Tensor:
        return denoiser.sample(None, 4, steps=20, executor=executor, clip=False)

    drawn = [sample()]
    for fused in (False, True):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=fused)
        network(torch.ones(1, 5), torch.ones(1), torch.ones(1, dtype=torch.long)).sum().backward()
        optimizer.step()
        drawn.append(sample())
        assert torch.equal(drawn[-1], fresh())
    network.blocks[0].contract.bias.data += 0.1  # leaves no trace in the version counter
    drawn.append(sample())
    assert torch.equal(drawn[-1], fresh())
    network.output = torch.nn.Linear(32, 5)
    drawn.append(sample())
    assert torch.equal(drawn[-1], fresh())
    assert all(not torch.equal(a, b) for a, b in pairwise(drawn))


def test_contexts_come_in_every_documented_form() -> None:
    network, transformer = random_network(), random_transformer()
    denoiser = Denoiser(network, NoiseSchedule.linear(10), transformer)

    def sample(context: object, of: Denoiser = denoiser) -> Tensor:
        return of.sample(context, 3, steps=10)

    x, y = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, 0.4, 0.2, 0.3])
    drawn = sample((x, y))
    assert not torch.equal(drawn, sample(None))
    batch = ContextBatch.single(x.double(), y.double())
    with torch.no_grad():
        embedding = transformer(batch)
    for same in (
        (x.numpy(), y.numpy()),
        [x.tolist(), y.tolist()],
        (x, y.unsqueeze(1)),
        batch,
        embedding,
        embedding.pooled[0],
    ):
        assert torch.allclose(sample(same), drawn, atol=1e-5)
    assert torch.equal(sample((np.zeros((0, 5)), np.zeros(0))), sample(None))
    bare = Denoiser(network, denoiser.schedule)
    assert torch.equal(sample(None, bare), sample(torch.zeros(8), bare))


@pytest.mark.parametrize("executor", _EXECUTORS)
def test_cross_attention_reads_tokens(executor: str) -> None:
    network = random_network(cross_attention=True)
    denoiser = Denoiser(network, NoiseSchedule.linear(10), random_transformer())
    tokens = torch.rand(4, 8, generator=torch.Generator().manual_seed(0))
    drawn = denoiser.sample(tokens, 6, steps=10, executor=executor)
    assert torch.allclose(drawn, denoiser.sample(tokens, 6, steps=10, executor="reference"), atol=1e-5)
    # Tokens are a set, and matter.
    shuffled = denoiser.sample(tokens[[2, 0, 3, 1]], 6, steps=10, executor=executor)
    assert torch.allclose(drawn, shuffled, atol=1e-5)
    fewer = denoiser.sample(tokens[:2], 6, steps=10, executor=executor)
    assert not torch.allclose(drawn, fewer, atol=1e-5)
    x, y = torch.rand(3, 5), torch.rand(3)
    many = denoiser.sample_jobs(
        [(x, y), None], [4, 2], seeds=[1, 2], steps=10, executor=executor, guidance=1.0
    )
    alone = denoiser.sample(None, 2, seed=2, steps=10, executor=executor, guidance=1.0)
    assert torch.equal(many[1], alone)
    # Without any tokens the attention adds nothing.
    bare = Denoiser(network, denoiser.schedule)
    without = bare.sample(tokens[:0], 6, steps=10, executor=executor)
    assert torch.allclose(without, bare.sample(None, 6, steps=10, executor="reference"), atol=1e-5)


@pytest.mark.parametrize("executor", ["reference", "cpu"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_parameter_is_named(executor: str, value: float) -> None:
    network = random_network()
    denoiser = Denoiser(network, NoiseSchedule.linear(10))
    expected = denoiser.sample(None, 2, steps=10, executor=executor)
    parameter = network.blocks[1].expand.weight
    before = float(parameter.detach()[3, 4])
    for _ in range(2):
        with torch.no_grad():
            parameter[3, 4] = value
        with pytest.raises(BackendError, match=r"blocks\.1\.expand\.weight holds nan or inf"):
            denoiser.sample(None, 2, steps=10, executor=executor)
    with torch.no_grad():
        parameter[3, 4] = before
    assert torch.equal(denoiser.sample(None, 2, steps=10, executor=executor), expected)


@pytest.mark.fault(24)
@pytest.mark.parametrize("executor", ["reference", "cpu"])
def test_a_diverging_network_names_the_step(executor: str) -> None:
    network = random_network()
    with torch.no_grad():
        network.output.weight.mul_(1e30)
        network.blocks[0].contract.weight.mul_(1e12)
    with pytest.raises(BackendError, match=r"step 0 \(timestep 9\)"):
        Denoiser(network, NoiseSchedule.linear(10)).sample(None, 2, steps=10, executor=executor)


@pytest.mark.parametrize("executor", _EXECUTORS)
@pytest.mark.parametrize("guidance", [0.0, 0.7])
@torch.no_grad()
def test_a_loop_that_stops_early_returns_what_the_whole_one_passes_through(
    executor: str, guidance: float
) -> None:
    """The states of the whole loop are what the network is called on, in the reference."""
    network, context = random_network(), torch.randn(8, generator=torch.Generator().manual_seed(2))
    denoiser = Denoiser(network, NoiseSchedule.linear(30))
    settings = {"steps": 12, "seed": 5, "guidance": guidance}
    states: list[Tensor] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0].clone()))
    whole = denoiser.sample(context, 7, executor="reference", **settings)
    hook.remove()
    states = states[:: 2 if guidance else 1]
    assert len(states) == 12
    for step, state in enumerate(states):
        stopped = denoiser.sample(context, 7, executor=executor, stop_after=step, **settings)
        if executor == "reference":
            assert torch.equal(stopped, (state + 1) / 2)
        assert torch.allclose(stopped, (state + 1) / 2, atol=1e-5)
    own = denoiser.sample(context, 7, executor=executor, **settings)
    assert torch.equal(denoiser.sample(context, 7, executor=executor, stop_after=12, **settings), own)
    assert torch.allclose(own, whole, atol=1e-4)
    start = reference.noise(5, range(7), 30, 5)
    stopped = denoiser.sample(context, 7, executor=executor, stop_after=0, **settings)
    assert torch.equal(stopped, (start + 1) / 2)


def test_nothing_asked_gives_nothing() -> None:
    denoiser = Denoiser(random_network(), NoiseSchedule.linear(10))
    for executor in _EXECUTORS:
        assert denoiser.sample(None, 0, steps=10, executor=executor).shape == (0, 5)
        assert denoiser.sample_jobs([], [], seeds=[], steps=10, executor=executor) == []


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n": -1}, "n is -1"),
        ({"n": 2.5}, r"n is 2\.5"),
        ({"steps": 11}, "steps is 11"),
        ({"steps": [3, 3]}, "strictly decreasing"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is"),
        ({"seed": "0"}, "seed is '0'"),
        ({"executor": "tpu"}, "executor is 'tpu'"),
        ({"method": "euler"}, "method is 'euler'"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"guidance": "1"}, "guidance is '1'"),
        ({"guidance": 1.0, "improve": None}, "improve is None"),
        ({"improve": 2}, "improve is 2"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": -1}, "threads is -1"),
        ({"first_candidate": -1}, "first_candidate is -1"),
        ({"first_candidate": 2**63}, r"stay below 2\^63"),
        ({"stop_after": 11}, "stop_after is 11; the loop has 10 steps"),
        ({"stop_after": -1}, "stop_after is -1"),
        ({"context": torch.zeros(7)}, r"shape \(7,\)"),
        ({"context": torch.zeros(3, 8)}, r"shape \(3, 8\)"),
        ({"context": torch.zeros(8, dtype=torch.long)}, "floating-point"),
        ({"context": torch.full((8,), torch.nan)}, "finite"),
        ({"context": "x"}, "context is a str"),
        ({"context": (1, 2, 3)}, "sequence of 3"),
        ({"context": (torch.zeros(3, 4), torch.zeros(3))}, "dim|d="),
        ({"context": (torch.zeros(3, 5), torch.zeros(4))}, "x has shape"),
        ({"context": (torch.full((3, 5), 1.5), torch.zeros(3))}, "unit cube"),
        ({"context": (torch.full((3, 5), torch.nan), torch.zeros(3))}, "unit cube"),
        ({"context": (torch.zeros(3, 5), torch.full((3,), torch.inf))}, "y holds nan or inf"),
        ({"context": ("a", "b")}, "not numeric"),
        (
            {"context": ContextBatch(torch.zeros(2, 3, 5), torch.zeros(2, 3), torch.ones(2, 3).bool())},
            "2 contexts",
        ),
    ],
)
def test_bad_arguments_are_named(settings: dict[str, object], match: str) -> None:
    denoiser = Denoiser(random_network(), NoiseSchedule.linear(10), random_transformer())
    arguments = {"context": None, "n": 2, "steps": 10, **settings}
    with pytest.raises(InputError, match=match):
        denoiser.sample(arguments.pop("context"), arguments.pop("n"), **arguments)


def test_misfitting_parts_are_refused() -> None:
    with pytest.raises(InputError, match="context_width is 8"):
        Denoiser(random_network(), None, Transformer(5, width=32))
    with pytest.raises(InputError, match="takes no context"):
        Denoiser(Network(5, context_width=0)).sample(torch.zeros(8), 1)
    with pytest.raises(InputError, match="transformer="):
        Denoiser(random_network()).sample((torch.zeros(1, 5), torch.zeros(1)), 1)
    with pytest.raises(InputError, match="seeds has 1 entries for 2 contexts"):
        Denoiser(random_network()).sample_jobs([None, None], [1, 1], seeds=[0])


def test_a_schedule_shorter_than_the_default_steps_says_so() -> None:
    with pytest.raises(InputError, match="steps is 1000; this schedule has 50 levels"):
        Denoiser(random_network(), NoiseSchedule.linear(50)).sample(None, 1)


def test_double_networks_run_everywhere() -> None:
    network = random_network()
    single = Denoiser(network, NoiseSchedule.linear(10)).sample(None, 4, steps=10)
    for executor in ("reference", "cpu"):
        drawn = Denoiser(network.double(), NoiseSchedule.linear(10)).sample(
            None, 4, steps=10, executor=executor
        )
        assert drawn.dtype == torch.float32
        assert torch.allclose(drawn, single, atol=1e-5)

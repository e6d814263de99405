# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import functools
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffhpo.errors import InputError
from diffhpo.history import History
from diffhpo.kernels import ops, training, training_reference
from diffhpo.kernels.reference import noise, philox4x32
from diffhpo.kernels.training_problem import DrawRule, TrainingProblem, TrainingState, TrialTable
from diffhpo.model import ContextBatch, Loss, Network, NoiseAdder, Sampler, Transformer
from diffhpo.model.native_training import training_shape
from diffhpo.model.network import sinusoidal_features
from diffhpo.model.sampler import TrainingBatch

_ALL = {
    "jitter": 0.4,
    "jitter_share": 0.7,
    "balanced": True,
    "exclude_query": True,
    "flag_dropout": 0.15,
}
_C = ops.native()


def history(n: int, dim: int, seed: int = 0) -> History:
    rng = np.random.default_rng([n, dim, seed])
    return History(rng.random((n, dim)), rng.normal(size=n).round(1))  # rounded: with ties


class Case:
    """A model, its tasks and the same for the kernel."""

    def __init__(
        self,
        dim: int = 5,
        width: int = 24,
        blocks: int = 2,
        context: int = 16,
        features: int = 8,
        layers: int = 1,
        heads: int = 2,
        *,
        sizes: tuple[int, ...] = (12,),
        batch: int = 8,
        **options: float,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(dim + width + context)
            network = Network(dim, width=width, blocks=blocks, context_width=context, time_features=features)
            transformer = Transformer(dim, width=context, layers=layers, heads=heads)
            with torch.no_grad():
                for parameter in transformer.parameters():  # norms and anchor start at 1 and 0
                    parameter.add_(0.2 * torch.randn_like(parameter))
        self.loss = Loss(network, transformer)
        self.samplers = [
            Sampler(history(n, dim, task), greed=2.0, **(_ALL | options)) for task, n in enumerate(sizes)
        ]
        adder = NoiseAdder()
        self.problem = TrainingProblem(
            training_shape(network, transformer),
            tuple(sampler.table for sampler in self.samplers),
            tuple(range(2**40, 2**40 + len(sizes))),
            self.samplers[0].rule,
            batch,
            4e-3,
            adder.signal,
            adder.noise,
            sinusoidal_features(torch.arange(1000), features).float(),
        )
        named = dict(self.loss.named_parameters())
        assert {name: tuple(named[name].shape) for name in named} == self.problem.shape.parameters
        flat = torch.cat([named[name].detach().reshape(-1) for name in self.problem.shape.parameters])
        self.state = TrainingState.fresh(flat.expand(len(sizes), -1))

    def tensors(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        table = self.problem.shape.parameters
        parts = flat.split([int(np.prod(shape)) for shape in table.values()])
        return {name: part.view(shape) for (name, shape), part in zip(table.items(), parts, strict=True)}

    def loss_of(self, loss: Loss, task: int, step: int) -> torch.Tensor:
        """The loss in torch, on the batch that the kernel draws."""
        sampler, seed = self.samplers[task], self.problem.seeds[task]
        batch, eps = sampler.draw_steps(self.problem.batch, seed, range(step, step + 1))[0]
        dtype = loss.network.input.weight.dtype
        context = ContextBatch(batch.context.x.to(dtype), batch.context.y, batch.context.mask)
        return loss(TrainingBatch(batch.x.to(dtype), batch.improve, context, batch.t), eps.to(dtype))

    def autograd(self, step: int, dtype: torch.dtype) -> tuple[float, dict[str, torch.Tensor]]:
        loss = copy.deepcopy(self.loss).to(dtype)
        value = self.loss_of(loss, 0, step)
        value.backward()
        return float(value.detach()), {name: p.grad.double() for name, p in loss.named_parameters()}


def copied(state: TrainingState) -> TrainingState:
    return TrainingState(*(tensor.clone() for tensor in vars(state).values()))


def trained(case: Case, steps: int, isa: str, threads: int = 1) -> tuple[TrainingState, torch.Tensor]:
    state = copied(case.state)
    losses = torch.full((len(state.steps), steps), float("nan"), dtype=torch.float64)
    training.train(case.problem, state, losses, isa=isa, threads=threads)
    return state, losses


def assert_same(ours: TrainingState, theirs: TrainingState) -> None:
    for name, tensor in vars(ours).items():
        assert torch.equal(tensor, getattr(theirs, name)), name


@pytest.mark.parametrize("options", [{}, _ALL, {**_ALL, "jitter_share": 1.0, "flag_dropout": 1.0}])
def test_triples_and_noise_have_the_same_bits_everywhere(isa: str, options: dict[str, float]) -> None:
    for n, dim, batch in ((1, 1, 1), (2, 3, 2), (31, 16, 31), (64, 18, 97), (97, 64, 5), (1025, 2, 3)):
        sampler = Sampler(history(n, dim), greed=3.0, **options)
        for seed, step in ((0, 0), (2**64 - 1, 2**32 - 1), (2**33 + 5, 77)):
            steps = range(step, step + 1)
            wanted = training_reference.draw(sampler.table, sampler.rule, batch, seed, steps)
            drawn = training.draw(sampler.table, sampler.rule, batch, seed, step, isa=isa)
            for name, tensor in vars(wanted).items():
                assert torch.equal(tensor, getattr(drawn, name)), (name, n, dim, batch)


def test_draws_are_what_their_definition_says() -> None:
    seed, step, batch = 2**40 + 3, 2**31 + 9, 6
    table = TrialTable.of(
        torch.rand(9, 5), torch.tensor([3.0, 1, 2, 2, 5, 4, 0, 0, 9]), torch.arange(1.0, 10)
    )
    rule = DrawRule(50, jitter=0.6, jitter_share=0.5, balanced=True, exclude_query=True, flag_dropout=0.4)
    drawn = training_reference.draw(table, rule, batch, seed, range(step, step + 1))

    def words(index: int, purpose: int, row: int) -> list[int]:
        counter = tuple(torch.tensor(word) for word in (index, purpose, step, row))
        key = (torch.tensor(seed % 2**32), torch.tensor(seed >> 32))
        return [int(word) for word in philox4x32(counter, key)]

    for row in range(batch):
        pick, share, clears, withheld = words(0, 0xFFFFFFF0, row)
        jittered, level = words(1, 0xFFFFFFF0, row)[:2]
        query = next(i for i in range(9) if sum(range(i + 2)) / 45 > pick / 2**32)
        assert int(drawn.query[0, row]) == query
        members = []
        for trial in range(9):
            joins = words(trial // 4, 0xFFFFFFF1, row)[trial % 4] < share and trial != query
            better = float(table.y[trial]) > float(table.y[query])
            members.append(joins and not (better and clears < 2**31))
        assert drawn.mask[0, row].tolist() == members
        improves = not any(
            m and float(y) > float(table.y[query]) for m, y in zip(members, table.y, strict=True)
        )
        assert int(drawn.improve[0, row]) == (2 if withheld < 0.4 * 2**32 else improves)
        assert int(drawn.t[0, row]) == level * 50 // 2**32
        moved = table.x[query].clone()
        if jittered < 2**31:
            moved += 0.3 * noise(seed, torch.tensor([row * 2**32 + step]), 0xFFFFFFF2, 5)[0]
        folded = (moved % 2).minimum(2 - moved % 2)
        torch.testing.assert_close(drawn.x[0, row], folded, atol=1e-6, rtol=0)
        assert torch.equal(
            drawn.eps[0, row], noise(seed, torch.tensor([row * 2**32 + step]), 0xFFFFFFF3, 5)[0]
        )


#: (dim, width, blocks, context width, time features, layers, heads), trials, batch.
_SHAPES = [
    ((16, 64, 2, 32, 32, 1, 2), 20, 32),
    ((1, 1, 1, 1, 2, 1, 1), 2, 2),
    ((3, 31, 1, 6, 4, 2, 3), 31, 7),
    ((18, 20, 3, 24, 6, 2, 3), 64, 4),
    ((64, 97, 2, 64, 10, 1, 1), 97, 3),
    ((2, 16, 2, 40, 8, 3, 5), 13, 33),
]


@pytest.mark.parametrize(("sizes", "trials", "batch"), _SHAPES)
def test_gradients_match_autograd_in_float64(
    isa: str, sizes: tuple[int, ...], trials: int, batch: int
) -> None:
    """Per tensor, relative to its norm: within twice torch's own error in float32, averaged over steps."""
    case = Case(*sizes, sizes=(trials,), batch=batch)
    ours: dict[str, list[float]] = {}
    torchs: dict[str, list[float]] = {}
    for step in range(4):
        case.state.steps[0] = step
        flat, loss = training.gradients(case.problem, case.state, isa=isa)
        value, exact = case.autograd(step, torch.float64)
        single = case.autograd(step, torch.float32)[1]
        assert float(loss[0]) == pytest.approx(value, rel=1e-5)
        for name, gradient in case.tensors(flat[0]).items():
            size = float(exact[name].norm()) or 1.0
            ours.setdefault(name, []).append(float((gradient - exact[name]).norm()) / size)
            torchs.setdefault(name, []).append(float((single[name] - exact[name]).norm()) / size)
    for name, errors in ours.items():
        assert np.mean(errors) <= 2 * np.mean(torchs[name]) + 3e-7, (name, errors, torchs[name])


def test_gradients_are_exact_to_a_millionth(isa: str) -> None:
    case = Case(16, 64, 2, 32, 32, 1, 2, sizes=(20,), batch=32)
    for step in range(5):
        case.state.steps[0] = step
        gradients = case.tensors(training.gradients(case.problem, case.state, isa=isa)[0][0])
        for name, exact in case.autograd(step, torch.float64)[1].items():
            assert float((gradients[name] - exact).norm()) <= 1e-6 * float(exact.norm()), name


def test_values_far_apart_equal_and_huge_are_embedded_as_in_torch(isa: str) -> None:
    for y in ([1.0] * 6, [0, 0, 1e300, -1e300, 5, 5], [1e-300 * k for k in range(6)], [0, 1, 2, 3, 4, 1e9]):
        case = Case(4, 16, 1, 8, 4, 1, 1, sizes=(6,))
        sampler = Sampler(History(np.random.default_rng(0).random((6, 4)), y), **_ALL)
        case.samplers = [sampler]
        case.problem = replace(case.problem, histories=(sampler.table,))
        gradients = case.tensors(training.gradients(case.problem, case.state, isa=isa)[0][0])
        for name, exact in case.autograd(0, torch.float64)[1].items():
            assert float((gradients[name] - exact).norm()) <= 3e-6 * float(exact.norm()) + 1e-9, name


def test_updates_are_those_of_torchs_adam(isa: str) -> None:
    """Along 100 steps of torch's own path, each update of the kernel's gradient."""
    case = Case(sizes=(9,))
    weights = case.state.parameters.clone().requires_grad_()
    adam = torch.optim.Adam([weights], lr=case.problem.learning_rate)
    state = copied(case.state)
    for _ in range(100):
        weights.grad = training.gradients(case.problem, state, isa=isa)[0]
        training.train(case.problem, state, torch.zeros(1, 1, dtype=torch.float64), isa=isa)
        before = weights.detach().clone()
        adam.step()
        moments = adam.state[weights]
        torch.testing.assert_close(state.exp_avg, moments["exp_avg"], rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(state.exp_avg_sq, moments["exp_avg_sq"], rtol=1e-5, atol=1e-20)
        update, wanted = state.parameters - before, weights.detach() - before
        torch.testing.assert_close(update, wanted, rtol=1e-4, atol=2e-7)  # an ulp of weights up to 2
        for ours, theirs in (
            (state.parameters, weights.detach()),
            (state.exp_avg, moments["exp_avg"]),
            (state.exp_avg_sq, moments["exp_avg_sq"]),
        ):
            ours.copy_(theirs)


@functools.cache
def hundred_steps_of_torch() -> tuple[Case, torch.Tensor, float, list[float]]:
    """A case, its parameters after 100 steps in float64, how far float32 is from them, and the losses."""
    case = Case(sizes=(9,), batch=16)

    def path(dtype: torch.dtype) -> tuple[torch.Tensor, list[float]]:
        loss = copy.deepcopy(case.loss).to(dtype)
        adam, losses = torch.optim.Adam(loss.parameters(), lr=case.problem.learning_rate), []
        for step in range(100):
            value = case.loss_of(loss, 0, step)
            adam.zero_grad()
            value.backward()
            adam.step()
            losses.append(float(value.detach()))
        named = dict(loss.named_parameters())
        names = case.problem.shape.parameters
        return torch.cat([named[name].detach().double().reshape(-1) for name in names]), losses

    exact, losses = path(torch.float64)
    return case, exact, float((path(torch.float32)[0] - exact).norm()), losses


def test_a_hundred_steps_stay_as_near_to_float64_as_torchs(isa: str) -> None:
    case, exact, torchs_error, exact_losses = hundred_steps_of_torch()
    state, losses = trained(case, 100, isa)
    assert int(state.steps[0]) == 100
    assert float((state.parameters[0] - exact).norm()) <= 3 * torchs_error + 1e-5
    assert losses[0].tolist() == pytest.approx(exact_losses, rel=1e-3)
    assert np.mean(exact_losses[-20:]) < np.mean(exact_losses[:20])


def test_bits_do_not_depend_on_threads_or_on_the_other_tasks(isa: str) -> None:
    sizes = (7, 1, 33, 12, 5)
    case = Case(sizes=sizes, width=20, context=12)
    case.state.parameters.mul_(torch.linspace(0.5, 1.5, len(sizes))[:, None])
    case.state.steps.copy_(torch.tensor([0, 5, 0, 2**32 - 20, 3]))
    whole, losses = trained(case, 6, isa)
    assert whole.steps.tolist() == [6, 11, 6, 2**32 - 14, 9]
    assert bool(torch.isfinite(losses).all())
    for threads in (2, 3, 64):
        state, again = trained(case, 6, isa, threads)
        assert_same(state, whole)
        assert torch.equal(again, losses)
    for order in ([4, 2, 0, 1, 3], [2], [3, 0]):
        index = torch.tensor(order)
        part = copy.copy(case)
        part.problem = replace(
            case.problem,
            histories=tuple(case.problem.histories[task] for task in order),
            seeds=tuple(case.problem.seeds[task] for task in order),
        )
        part.state = TrainingState(*(tensor[index] for tensor in vars(case.state).values()))
        state, again = trained(part, 6, isa)
        assert torch.equal(again, losses[index])
        assert_same(state, TrainingState(*(tensor[index] for tensor in vars(whole).values())))


def test_bits_do_not_depend_on_the_cut_into_calls(isa: str) -> None:
    case = Case(layers=2)
    whole, losses = trained(case, 11, isa)
    state = copied(case.state)
    parts = []
    for start, stop in pairwise([0, 1, 4, 4, 11]):
        parts.append(torch.zeros(1, stop - start, dtype=torch.float64))
        training.train(case.problem, state, parts[-1], isa=isa)
    assert_same(state, whole)
    assert torch.equal(torch.cat(parts, dim=1), losses)


def test_a_diverged_task_leaves_its_neighbours_alone(isa: str) -> None:
    """Padding must not carry a nan from one task of a thread to the next."""
    case = Case(5, 20, 2, 12, 6, 2, 3, sizes=(9, 9))
    alone, losses = trained(case, 3, isa)
    case.state.parameters[0] = float("nan")
    state, with_nan = trained(case, 3, isa)
    assert bool(with_nan[0].isnan().all())
    assert torch.equal(with_nan[1], losses[1])
    assert torch.equal(state.parameters[1], alone.parameters[1])


def test_no_tasks_and_no_steps_change_nothing(isa: str) -> None:
    case = Case()
    assert_same(trained(case, 0, isa)[0], case.state)


def arguments(case: Case) -> dict[str, object]:
    problem, state = case.problem, copied(case.state)
    both = training._Histories.of(problem.histories, problem.seeds)
    return {
        "parameters": state.parameters,
        "exp_avg": state.exp_avg,
        "exp_avg_sq": state.exp_avg_sq,
        "steps_done": state.steps,
        "losses": torch.zeros(len(problem.seeds), 2, dtype=torch.float64),
        "gradients": None,
        "shape": problem.shape.sizes,
        "signal": problem.signal,
        "noise": problem.noise,
        "features": problem.features,
        **both.arguments,
        "batch": problem.batch,
        **training._rule_arguments(problem.rule),
        "learning_rate": 1e-3,
        "isa": "portable",
        "threads": 1,
    }


_TENSORS = ("parameters", "exp_avg", "exp_avg_sq", "steps_done", "losses", "signal", "noise", "features")
_TENSORS += ("trials", "x", "y", "ranks", "thresholds", "seeds")
_DAMAGE = {
    "none": lambda tensor: None,
    "number": lambda tensor: 3,
    "list": lambda tensor: tensor.tolist(),
    "half": lambda tensor: tensor.half(),
    "int32": lambda tensor: tensor.int(),
    "scalar": lambda tensor: tensor.new_zeros(()),
    "one rank more": lambda tensor: tensor.unsqueeze(0),
    "one row more": lambda tensor: torch.cat([tensor, tensor[:1]]),
    "one row less": lambda tensor: tensor[:-1],
    "empty": lambda tensor: tensor[:0],
    "meta": lambda tensor: tensor.to("meta"),
    "strided": lambda tensor: torch.stack([tensor, tensor], dim=-1)[..., 0],
    "negative": lambda tensor: tensor.float() if tensor.is_floating_point() else -1 - tensor,
    "requires grad": lambda tensor: tensor.float().requires_grad_(),
}
_FINE = {("seeds", "negative"), *((name, "negative") for name in _TENSORS if name not in ("losses", "y"))}
_FINE -= {(name, "negative") for name in ("steps_done", "trials", "ranks", "thresholds")}


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(_TENSORS), damage=st.sampled_from(sorted(_DAMAGE)))
def test_damaged_tensors_raise(name: str, damage: str) -> None:
    if (name, damage) in _FINE:
        return
    call = arguments(Case(3, 8, 1, 4, 4, 1, 1, sizes=(4, 2), batch=3))
    call[name] = _DAMAGE[damage](call[name])
    with pytest.raises((TypeError, ValueError, BufferError, RuntimeError)):
        _C.train(**call)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_shapes_raise_or_run(data: st.DataObject) -> None:
    call = arguments(Case(3, 8, 1, 4, 4, 1, 1, sizes=(4, 2), batch=3))
    shape = st.lists(st.integers(0, 6), min_size=0, max_size=3)
    for name in data.draw(st.lists(st.sampled_from(_TENSORS), min_size=1, max_size=6, unique=True)):
        call[name] = torch.zeros(data.draw(shape), dtype=call[name].dtype)
    call["shape"] = data.draw(st.lists(st.integers(-1, 6), min_size=6, max_size=8))
    with pytest.raises((TypeError, ValueError)):
        _C.train(**call)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shape", [3, 8, 1, 4, 4, 1]),
        ("shape", [3, 8, 0, 4, 4, 1, 1]),
        ("shape", [3, 8, 1, 4, 4, 1, 3]),
        ("shape", [3, 8, 2**40, 4, 4, 1, 1]),
        ("shape", [4096] * 7),
        ("batch", 0),
        ("batch", -1),
        ("batch", 2**40),
        ("batch", 2**20),
        ("jitter", float("nan")),
        ("jitter", -0.1),
        ("jitter_below", -1),
        ("flag_dropout_below", 2**32 + 1),
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("threads", 0),
        ("isa", "sse9"),
        ("steps_done", torch.tensor([-1, 0])),
        ("steps_done", torch.tensor([2**32 - 1, 0])),
        ("trials", torch.tensor([6, 0])),
        ("trials", torch.tensor([5, 5])),
        ("trials", torch.tensor([2**62, 2**62])),
        ("ranks", torch.tensor([0, 1, 2, 4, 0, 1])),
        ("thresholds", torch.tensor([1, 2, 3, 4, 1, 2**32])),
        ("thresholds", torch.tensor([5, 2, 3, 2**32, 1, 2**32])),
        ("gradients", torch.zeros(2, 3)),
    ],
)
def test_bad_values_raise(name: str, value: object) -> None:
    call = arguments(Case(3, 8, 1, 4, 4, 1, 1, sizes=(4, 2), batch=3))
    call[name] = value
    with pytest.raises((TypeError, ValueError)):
        _C.train(**call)


def test_misfits_are_input_errors_through_the_op() -> None:
    case = Case()
    losses = torch.zeros(1, 1, dtype=torch.float64)
    with pytest.raises(InputError, match="signal has"):
        training.train(replace(case.problem, signal=case.problem.signal[:5]), case.state, losses)
    with pytest.raises(InputError, match="losses has the wrong dtype"):
        training.train(case.problem, case.state, losses.float())
    with pytest.raises(InputError, match="seeds"):
        training.train(replace(case.problem, seeds=()), case.state, losses)
    table, rule = case.samplers[0].table, case.samplers[0].rule
    for batch, steps in ((0, range(1)), (1, range(-1, 1)), (1, range(0)), (1, range(2**32, 2**32 + 1))):
        with pytest.raises(InputError, match="batch"):
            training_reference.draw(table, rule, batch, 0, steps)
    with pytest.raises(InputError, match="step"):
        training.draw(table, rule, 1, 0, 2**32, isa="portable")

# SPDX-License-Identifier: Apache-2.0
"""Time of a training step: `pytest bench/bench_train.py`, after a check of its gradients.

`python bench/bench_train.py` prints microseconds per step of the kernel, of the torch loop and, where JAX is
installed, of a jitted scan over steps with the same model, each measured in turn with the others: processor
time of one thread, the least of many repeats. A figure counts for the machine and the hour it was taken on
alone.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffhpo.history import History
from diffhpo.kernels import ops, training
from diffhpo.kernels.training_problem import TrainingProblem, TrainingState
from diffhpo.model import Loss, Network, NoiseAdder, Sampler, Trainer, Transformer
from diffhpo.model.native_training import training_shape
from diffhpo.model.network import sinusoidal_features

_TRIALS = (5, 20, 48)
_DIM, _BATCH, _RATE = 16, 32, 4e-3
#: Of `HistoryPolicy`'s "elite" recipe.
_OPTIONS = {"greed": 3.0, "jitter": 0.4, "jitter_share": 0.7, "flag_dropout": 0.15}
_OPTIONS |= {"balanced": True, "exclude_query": True}
#: Steps of one refit, for the figure per refit.
_REFIT = 25


def make_model() -> tuple[Network, Transformer]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(_DIM, width=64, blocks=2), Transformer(_DIM, width=32, layers=1)


def make_sampler(trials: int) -> Sampler:
    rng = np.random.default_rng(trials)
    return Sampler(History(rng.random((trials, _DIM)), rng.normal(size=trials)), **_OPTIONS)


def make_problem(trials: int) -> tuple[TrainingProblem, TrainingState, Loss]:
    network, transformer = make_model()
    loss, adder, sampler = Loss(network, transformer), NoiseAdder(), make_sampler(trials)
    shape = training_shape(network, transformer)
    features = sinusoidal_features(torch.arange(1000), shape.time_features).float()
    problem = TrainingProblem(
        shape, (sampler.table,), (0,), sampler.rule, _BATCH, _RATE, adder.signal, adder.noise, features
    )
    named = dict(loss.named_parameters())
    flat = torch.cat([named[name].detach().reshape(-1) for name in shape.parameters])
    return problem, TrainingState.fresh(flat[None]), loss


def check(trials: int, isa: str) -> None:
    """The gradients of what is about to be timed, against torch's."""
    problem, state, loss = make_problem(trials)
    gradients, value = training.gradients(problem, state, isa=isa)
    batch, eps = make_sampler(trials).draw_steps(_BATCH, 0, range(1))[0]
    wanted = loss(batch, eps)
    wanted.backward()
    named = dict(loss.named_parameters())
    theirs = torch.cat([named[name].grad.reshape(-1) for name in problem.shape.parameters])
    assert abs(float(value[0]) - float(wanted.detach())) < 1e-5
    assert float((gradients[0] - theirs).norm()) < 1e-5 * float(theirs.norm())


@pytest.mark.parametrize("isa", ops.native_isas(runnable=True))
@pytest.mark.parametrize("trials", _TRIALS)
def test_train(benchmark, isa: str, trials: int) -> None:
    check(trials, isa)
    problem, state, _ = make_problem(trials)
    losses = torch.zeros(1, _REFIT, dtype=torch.float64)
    benchmark.extra_info["steps"] = _REFIT
    benchmark(training.train, problem, state, losses, isa=isa)


@pytest.mark.parametrize("trials", _TRIALS)
def test_refit(benchmark, trials: int) -> None:
    """Through the Trainer, with parameters and moments taken there and back."""
    check(trials, ops.native_isas(runnable=True)[-1])
    trainer, sampler = Trainer(*make_model(), batch=_BATCH, executor="cpu"), make_sampler(trials)
    benchmark.extra_info["steps"] = _REFIT
    benchmark(trainer.fit, sampler, _REFIT)


def jax_steps(trials: int, steps: int) -> Callable[[], None]:
    """The same model and Adam under jax.jit, scanned over `steps` batches that are drawn beforehand.

    Contexts are padded and masked, as shapes must not change; the draws and the shapes of the values are not
    part of what is timed.
    """
    import jax
    import jax.numpy as jnp

    network, transformer = make_model()
    named = dict(Loss(network, transformer).named_parameters())
    weights = {name: jnp.asarray(value.detach().numpy()) for name, value in named.items()}
    width, heads, blocks = 32, 2, 2

    def dense(w: dict, name: str, x: jnp.ndarray) -> jnp.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(w: dict, name: str, x: jnp.ndarray) -> jnp.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred * scale * w[f"{name}.weight"] + w[f"{name}.bias"]

    def embed(w: dict, inputs: jnp.ndarray, mask: jnp.ndarray) -> jnp.ndarray:
        batch, count = mask.shape
        anchor = jnp.broadcast_to(w["transformer.anchor"], (batch, 1, width))
        tokens = jnp.concatenate([anchor, dense(w, "transformer.token", inputs)], 1)
        at = "transformer.layers.0"
        mixed = dense(w, f"{at}.query_key_value", norm(w, f"{at}.attention_norm", tokens))
        q, k, v = mixed.reshape(batch, count, 3, heads, -1).transpose(2, 0, 3, 1, 4)
        scores = jnp.where(mask[:, None, None], q @ k.swapaxes(-1, -2) / (width / heads) ** 0.5, -1e30)
        attended = (jax.nn.softmax(scores) @ v).swapaxes(1, 2).reshape(batch, count, width)
        tokens = tokens + dense(w, f"{at}.attention_output", attended)
        hidden = jax.nn.silu(dense(w, f"{at}.mlp.0", norm(w, f"{at}.mlp_norm", tokens)))
        tokens = tokens + dense(w, f"{at}.mlp.2", hidden)
        return (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)

    def loss(w: dict, drawn: tuple) -> jnp.ndarray:
        x_t, features, flag, inputs, mask, eps = drawn
        time_part = dense(w, "network.time.2", jax.nn.silu(dense(w, "network.time.0", features)))
        pooled = embed(w, inputs, mask)
        shifts = time_part + w["network.flag.weight"][flag] + pooled @ w["network.context.weight"].T
        h = dense(w, "network.input", x_t)
        for block, shift in enumerate(jnp.split(shifts, blocks, axis=1)):
            at = f"network.blocks.{block}"
            h = h + dense(w, f"{at}.contract", jax.nn.silu(dense(w, f"{at}.expand", h) + shift))
        return ((dense(w, "network.output", h) - eps) ** 2).mean()

    def update(carry: tuple, drawn: tuple) -> tuple:
        w, m, v, count = carry
        value, g = jax.value_and_grad(loss)(w, drawn)
        count = count + 1
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        rate, root = _RATE / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
        w = jax.tree.map(lambda a, b, c: a - rate * b / (jnp.sqrt(c) / root + 1e-8), w, m, v)
        return (w, m, v, count), value

    drawn = [
        jax_inputs(batch, eps) for batch, eps in make_sampler(trials).draw_steps(_BATCH, 0, range(steps))
    ]
    stacked = tuple(jnp.asarray(np.stack(parts)) for parts in zip(*drawn, strict=True))
    zeros = {name: jnp.zeros_like(value) for name, value in weights.items()}
    start = (weights, zeros, zeros, jnp.float32(0))
    scan = jax.jit(lambda carry, batches: jax.lax.scan(update, carry, batches))
    problem, state, _ = make_problem(trials)
    ours = torch.zeros(1, steps, dtype=torch.float64)
    training.train(problem, state, ours, isa=ops.native_isas(runnable=True)[-1])
    np.testing.assert_allclose(scan(start, stacked)[1], ours[0], rtol=1e-2)
    return lambda: jax.block_until_ready(scan(start, stacked))


def jax_inputs(batch: object, eps: torch.Tensor) -> tuple[np.ndarray, ...]:
    from diffhpo.model.transformer import rank_within, standardise_within

    context, adder = batch.context, NoiseAdder()
    shape = torch.stack([f(context.y, context.mask) for f in (rank_within, standardise_within)], -1).float()
    inputs = torch.cat([2 * context.x - 1, shape], -1).masked_fill(~context.mask[..., None], 0)
    mask = torch.cat([torch.ones(len(eps), 1), context.mask.float()], 1)
    x_t, features = adder(2 * batch.x - 1, batch.t, eps), sinusoidal_features(batch.t, 32).float()
    return tuple(tensor.numpy() for tensor in (x_t, features, batch.improve, inputs, mask, eps))


def main() -> None:
    torch.set_num_threads(1)
    isa = ops.native_isas(runnable=True)[-1]
    with_jax = importlib.util.find_spec("jax") is not None
    if not with_jax:
        print("jax is not installed: left out")
    print(f"64x2, transformer 32 wide, 1 layer, d = {_DIM}, batch {_BATCH}, {isa}, one thread\n")
    print("| trials | us per step | torch | ratio | jax | ratio | ms per refit of 25, Trainer |")
    print("|---|---|---|---|---|---|---|")
    for trials in _TRIALS:
        check(trials, isa)
        sampler = make_sampler(trials)
        problem, state, _ = make_problem(trials)
        losses = torch.zeros(1, 100, dtype=torch.float64)
        torchs = Trainer(*make_model(), batch=_BATCH, executor="reference")
        refit = Trainer(*make_model(), batch=_BATCH, executor="cpu")
        runs: dict[str, tuple[int, Callable[[], object]]] = {
            "native": (100, lambda p=problem, s=state, out=losses: training.train(p, s, out, isa=isa)),
            "torch": (20, lambda t=torchs, s=sampler: t.fit(s, 20)),
            "refit": (1, lambda t=refit, s=sampler: t.fit(s, _REFIT)),
        }
        if with_jax:
            runs["jax"] = (50, jax_steps(trials, 50))
        best = dict.fromkeys(runs, float("inf"))
        for _ in range(15):
            for name, (steps, run) in runs.items():
                # XLA computes on threads of its own: the processor time of the whole process.
                start = time.process_time()
                run()
                best[name] = min(best[name], (time.process_time() - start) / steps)
        us = {name: 1e6 * seconds for name, seconds in best.items()}
        jax_part = f"{us['jax']:.0f} | {us['jax'] / us['native']:.1f}" if with_jax else "- | -"
        print(
            f"| {trials} | {us['native']:.0f} | {us['torch']:.0f} | {us['torch'] / us['native']:.1f} "
            f"| {jax_part} | {us['refit'] / 1e3:.1f} |"
        )


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""What the caller has set of torch, NumPy and the generators changes no result and stays as it was."""

from __future__ import annotations

import contextlib
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch

from diffhpo import Categorical, Float, History, HistoryPolicy, Int, Optimizer, Policy, Space
from diffhpo.errors import InputError
from diffhpo.hpob import DiffusionHPO
from diffhpo.model import Denoiser, Network, Sampler, Trainer, Transformer
from diffhpo.pretrained import pretrained_model

SPACE = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 9), "kind": Categorical("abc")})
GENERATOR = np.random.default_rng(0)
X, Y, POOL = GENERATOR.random((9, 3)), GENERATOR.random(9), GENERATOR.random((20, 3))


def ask(policy: Policy | None = None) -> object:
    pretrained_model.cache_clear()  # the weights are read under the settings too
    optimizer = Optimizer(SPACE, seed=5, policy=policy)
    for configuration in SPACE.sample(9, seed=1):
        optimizer.tell(configuration, configuration["lr"] * configuration["depth"])
    return optimizer.ask(3)


def minimize() -> object:
    return Optimizer.minimize(lambda c: c["lr"], SPACE, 7, progress=False).trials


def seeded(*modules: Callable[[], torch.nn.Module]) -> list[Any]:
    """Modules of the caller's own: only their initial weights come from torch's generator."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.inference_mode(False):
        torch.manual_seed(0)
        return [module() for module in modules]


def sample(executor: str) -> object:
    [network] = seeded(lambda: Network(3, width=16))
    return Denoiser(network).sample(None, 4, executor=executor, steps=5).tolist()


def fit(executor: str) -> object:
    network, transformer = seeded(lambda: Network(3, width=16), lambda: Transformer(3))
    trainer = Trainer(network, transformer, batch=8, executor=executor)
    trainer.fit(Sampler(History(X, Y)), 3)
    return trainer.losses


CALLS: dict[str, Callable[[], object]] = {
    "ask": ask,
    "ask, HistoryPolicy": lambda: ask(HistoryPolicy(seed=1)),
    "observe_and_suggest": lambda: DiffusionHPO(seed=1).observe_and_suggest(X, Y).tolist(),
    "observe_and_suggest, pool": lambda: DiffusionHPO(seed=1).observe_and_suggest(X, Y, POOL),
    "minimize": minimize,
    "Space.sample": lambda: SPACE.sample(3, seed=2),
    "Denoiser, native": lambda: sample("cpu"),
    "Denoiser, reference": lambda: sample("reference"),
    "Trainer, native": lambda: fit("cpu"),
    "Trainer, reference": lambda: fit("reference"),
}


@contextlib.contextmanager
def setting(change: Callable[[Any], object], value: object, back: object) -> Iterator[None]:
    change(value)
    try:
        yield
    finally:
        change(back)


@contextlib.contextmanager
def every_warning_an_error() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SETTINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "default dtype float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "default dtype bfloat16": lambda: setting(torch.set_default_dtype, torch.bfloat16, torch.float32),
    # Stands for a GPU: whatever is made without a device fails at once.
    "default device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "denormals flushed": lambda: setting(torch.set_flush_denormal, True, False),
    "matrix products": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
    "matrix products of one backend": lambda: setting(
        lambda precision: setattr(torch.backends.mkldnn.matmul, "fp32_precision", precision), "bf16", "none"
    ),
    "NumPy raises": lambda: np.errstate(all="raise"),
    "warnings are errors": every_warning_an_error,
    "one generator's seed": lambda: setting(torch.manual_seed, 9, 0),
    "NumPy's seed": lambda: setting(np.random.seed, 9, 0),
    "Python's seed": lambda: setting(random.seed, 9, 0),
    "threads": lambda: setting(torch.set_num_threads, 3, torch.get_num_threads()),
}


def state() -> list[object]:
    """Everything that a call could change and must not."""
    numpy_state: Any = np.random.get_state()  # noqa: NPY002 - the global one is meant
    return [
        random.getstate(),
        [np.asarray(part).tolist() for part in numpy_state],
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_num_threads(),
        [backend.matmul.fp32_precision for backend in (torch.backends.cuda, torch.backends.mkldnn)],
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        np.geterr(),
        np.get_printoptions(),
    ]


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, object]:
    return {name: call() for name, call in CALLS.items()}


@pytest.mark.fault(35)
@pytest.mark.parametrize("name", SETTINGS)
def test_35_the_callers_settings_change_nothing_and_stay(name: str, undisturbed: dict[str, object]) -> None:
    found = {}
    with SETTINGS[name]():
        before = state()
        for call, run in CALLS.items():
            found[call] = run()
            assert state() == before, call
    assert found == undisturbed


@pytest.mark.fault(35)
def test_35_a_failed_call_leaves_the_settings() -> None:
    [network] = seeded(lambda: Network(3, width=16))
    with SETTINGS["default dtype float64"](), torch.device("meta"):
        before = state()
        with pytest.raises(InputError):
            DiffusionHPO().observe_and_suggest(X, Y, np.full((2, 3), np.nan))
        with pytest.raises(InputError):
            Denoiser(network).sample(None, 4, executor="neither")
        assert state() == before


@pytest.mark.fault(35)
def test_35_threads_that_suggest_at_once_leave_the_settings(undisturbed: dict[str, object]) -> None:
    found: list[object] = []
    with SETTINGS["default dtype float64"]():
        threads = [threading.Thread(target=lambda: found.append(CALLS["ask"]())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64
    assert found == [undisturbed["ask"]] * 4

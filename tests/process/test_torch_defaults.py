# SPDX-License-Identifier: Apache-2.0
"""float32 for one thread, against what `torch.set_default_dtype` gives a process."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from diffhpo import Float, HistoryPolicy, Optimizer, Space
from diffhpo.baselines.deep_kernel import fit_deep_kernel
from diffhpo.gaussian_process import fit_gaussian_process
from diffhpo.history import History
from diffhpo.model.universal import UniversalModel
from diffhpo.process.torch_defaults import float32, torch_defaults

CALLS = {
    "empty": lambda: torch.empty(2).zero_(),
    "zeros": lambda: torch.zeros(2, 3),
    "ones": lambda: torch.ones((2, 3)),
    "eye": lambda: torch.eye(3),
    "linspace": lambda: torch.linspace(0, 1, 7),
    "logspace": lambda: torch.logspace(0, 1, 7),
    "full of floats": lambda: torch.full((2,), 0.1),
    "full of NumPy's floats": lambda: torch.full((2,), np.float64(0.1)),
    "full of ints": lambda: torch.full((2,), 3),
    "arange of floats": lambda: torch.arange(0, 1, 0.1),
    "arange of ints": lambda: torch.arange(4),
    "scalar_tensor": lambda: torch.scalar_tensor(0.1),
    "floats": lambda: torch.tensor([[0.1], [0.2]]),
    "ints": lambda: torch.tensor([1, 2]),
    "truth values": lambda: torch.tensor(True),
    "NumPy's float64": lambda: torch.tensor(np.float64(0.1)),
    "NumPy's float32": lambda: torch.tensor([np.float32(0.1)]),
    "an array": lambda: torch.tensor(np.array([0.1])),
    "an array by its name": lambda: torch.tensor(data=np.array([0.1])),
    "as_tensor": lambda: torch.as_tensor([0.1]),
    "as_tensor of an array": lambda: torch.as_tensor(np.array([0.1])),
    "asarray": lambda: torch.asarray(0.1),
    "no dtype": lambda: torch.zeros(2, dtype=None),
    "another dtype": lambda: torch.zeros(2, dtype=torch.float16),
    "like another": lambda: torch.zeros_like(torch.zeros(2, dtype=torch.float64)),
    "draws": lambda: torch.rand(4, generator=torch.Generator().manual_seed(1)),
    "normal draws": lambda: torch.randn(4, generator=torch.Generator().manual_seed(1)),
    "into a tensor": lambda: torch.ones(2, out=torch.zeros(2, dtype=torch.float64)),
    "weights": lambda: nn.Linear(2, 3).weight * 0,
}


@pytest.fixture(params=[torch.float64, torch.bfloat16], ids=str)
def default(request):
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def in_float32():
    return {name: call() for name, call in CALLS.items()}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_made_is_what_a_process_of_float32_makes(name, default, in_float32):
    with float32():
        made = CALLS[name]()
    assert made.dtype == in_float32[name].dtype
    assert torch.equal(made, in_float32[name])
    assert torch.get_default_dtype() == default


def test_inside_of_itself_and_after_an_error_it_ends(default):
    with torch_defaults(), torch_defaults():
        assert torch.zeros(1).dtype == torch.float32
    assert torch.zeros(1).dtype == default
    with pytest.raises(ZeroDivisionError), float32():
        raise ZeroDivisionError
    assert torch.zeros(1).dtype == default
    with float32():
        with float32():
            pass
        assert torch.zeros(1).dtype == torch.float32


def test_nothing_is_entered_where_it_is_the_default(monkeypatch):
    """It costs a call of Python for every one of torch."""
    monkeypatch.setattr("diffhpo.process.torch_defaults._Float32", None)
    with float32(), float32():
        assert torch.zeros(1).dtype == torch.float32


def test_another_thread_keeps_its_default(default):
    made = []
    with float32():
        thread = threading.Thread(target=lambda: made.append(torch.zeros(1).dtype))
        thread.start()
        thread.join(20)
    assert made == [default]


def product():
    """A product of two matrices of bfloat16's digits, which autocast rounds."""
    matrix = torch.linspace(0, 1, 9).reshape(3, 3)
    return matrix @ matrix


STATES = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "another device": lambda: torch.device("meta"),
    "torch's own": contextlib.nullcontext,
}


@pytest.mark.parametrize("name", STATES)
def test_torch_is_as_it_is_by_default(name):
    expected = product()
    with STATES[name](), torch_defaults():
        weight = torch.ones(1).requires_grad_()
        (2 * weight).backward()
        found = product()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
    assert weight.grad.item() == 2
    assert found.device.type == "cpu"
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="before torch 2.9")
@pytest.mark.parametrize(
    "change",
    [
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
        lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
        lambda: None,
    ],
)
def test_products_are_those_of_float32_and_the_callers_precision_comes_back(change):
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    matrix = torch.rand(128, 128, generator=torch.Generator().manual_seed(0))
    expected = matrix @ matrix
    try:
        change()
        before = [backend.fp32_precision for backend in backends]
        with torch_defaults(), torch_defaults():
            assert {backend.fp32_precision for backend in backends} <= {"none", "ieee"}
            assert torch.equal(matrix @ matrix, expected)
        assert [backend.fp32_precision for backend in backends] == before
    finally:
        torch.set_float32_matmul_precision("highest")
        for backend in backends:
            backend.fp32_precision = "none"


X = np.random.default_rng(0).random((9, 3))
SEEN = History(X, np.sin(5 * X).sum(1))


def hyperparameters():
    model = fit_gaussian_process(torch.tensor(SEEN.x), torch.tensor(SEEN.y))
    return [number.tolist() for number in [*model.buffers(), *model.parameters()]]


def deep_hyperparameters():
    with torch_defaults():
        model = fit_deep_kernel(SEEN, seed=0, steps=20).model
    return [number.tolist() for number in model.parameters()]


@pytest.mark.parametrize("fit", [hyperparameters, deep_hyperparameters])
def test_a_gaussian_process_has_the_same_hyperparameters(fit, in_float32):
    expected = fit()
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            with torch_defaults():
                assert fit() == expected
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.fault(35)
def test_the_default_dtype_of_other_threads_never_changes(default):
    """A thread that works in float64 while suggestions and models are made: it once saw float32."""
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    done = threading.Event()

    def suggest():
        for policy in (None, HistoryPolicy(seed=0)):
            optimizer = Optimizer(space, policy=policy)
            for configuration in space.sample(6, seed=0):
                optimizer.tell(configuration, configuration["x"])
            optimizer.ask(2)
        UniversalModel(width=16)

    def watch():
        seen = set()
        while not done.is_set():
            seen.add(torch.get_default_dtype())
            seen.add(torch.zeros(1).dtype)
        return seen

    with ThreadPoolExecutor(2) as pool:
        watching = pool.submit(watch)
        try:
            suggest()
        finally:
            done.set()
        assert watching.result() == {default}

# SPDX-License-Identifier: Apache-2.0
"""Every function of the native module, called with damaged arguments: an exception, never a crash.

Valid calls are recorded from ordinary use, so a new kernel joins by being used in `record`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffhpo.history import History
from diffhpo.kernels import attention, ops, training, universal
from diffhpo.model import Denoiser, Network, NoiseSchedule, Predictor, Sampler, Scorer, Trainer, Transformer
from diffhpo.model.universal import UniversalModel
from diffhpo.model.universal.in_context import InContextModel

ISA = ops.native_isas(runnable=True)[0]
#: Examples of each test. More than CI's are drawn at random, not by the fixed choice of the suite.
EXAMPLES = int(os.environ.get("DIFFHPO_FUZZ_EXAMPLES", "400"))
fuzz = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
#: Of other devices, or taking sizes alone.
_LEFT_OUT = {"arrange_cuda", "denoise_cuda", "fragment_bytes", "Snapshot"}
#: Arguments by position, then by name.
Call = dict[int | str, Any]


def _opened(value: Any) -> Any:
    """A capsule as a tensor on the same memory; lists likewise; everything else as it is."""
    if type(value).__name__ == "PyCapsule":
        return torch.from_dlpack(value)
    return type(value)(map(_opened, value)) if isinstance(value, list | tuple) else value


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    return type(value)(map(_copied, value)) if isinstance(value, list | tuple) else value


class _Recorder:
    def __init__(self, module: Any) -> None:
        self._module, self.calls = module, {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if not callable(value) or isinstance(value, type):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = _opened(args), {key: _opened(item) for key, item in kwargs.items()}
            arguments = dict(enumerate(args)) | kwargs
            self.calls.setdefault(name, {key: _copied(item) for key, item in arguments.items()})
            return value(*args, **kwargs)

        return call


@pytest.fixture(scope="module")
def recorded() -> dict[str, Call]:
    """A valid call of every function."""
    recorder = _Recorder(ops.native())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "_native", lambda: recorder)
        attention._encoder_size.cache_clear()
        attention._predictor_size.cache_clear()
        universal._encoder_size.cache_clear()
        universal._predictor_size.cache_clear()
        torch.manual_seed(0)
        network, transformer = Network(3, width=16, context_width=8), Transformer(3, width=8)
        history = History([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]], [1.0, 3.0, 2.0])
        executor = f"cpu-{ISA}"
        Denoiser(network, NoiseSchedule.linear(20)).sample(None, 3, steps=5, executor=executor)
        scorer = Scorer(Predictor(3, width=16, context_width=8, bars=8), transformer)
        scorer.predict((history.x, history.y), torch.rand(4, 3), executor=executor)
        Trainer(network, transformer, executor=executor).fit(Sampler(history), 2)
        model = UniversalModel(width=8, layers=1, predictor_layers=1, blocks=1, heads=2)
        run = InContextModel(model, torch.rand(5, 3), torch.rand(5), executor=executor)
        run.log_improvement(torch.rand(4, 3))
        run.belief(torch.rand(4, 3)).believe(1)
        universal.predictor_size(model.packed[1].layout)
        sampler = Sampler(history)
        training.draw(sampler.table, sampler.rule, 4, 7, 0, isa=ISA)
        ops.noise(0, range(3), 5, 3, isa=ISA)
        ops.precisions(ISA)
        ops.multiply_add(1, isa=ISA)
        ops.encode(torch.zeros(ops.native().packed_size(3, 16, 2)), 3, 16, 2, "int8")
    return recorder.calls


def test_every_function_is_recorded(recorded: dict[str, Call]) -> None:
    module = ops.native()
    functions = {name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")}
    assert functions - _LEFT_OUT <= set(recorded), functions - set(recorded)


_DAMAGE: dict[str, Callable[[torch.Tensor], Any]] = {
    "none": lambda tensor: None,
    "number": lambda tensor: 3.5,
    "text": lambda tensor: "x",
    "object": lambda tensor: object(),
    "list": lambda tensor: tensor.tolist(),
    "half": lambda tensor: tensor.half(),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "bool": lambda tensor: tensor.bool(),
    "int16": lambda tensor: tensor.to(torch.int16),
    "scalar": lambda tensor: tensor.new_zeros(()),
    "rank": lambda tensor: tensor.unsqueeze(0),
    "longer": lambda tensor: torch.cat([tensor, tensor[:1]]) if tensor.numel() else tensor.new_zeros(7),
    "shorter": lambda tensor: tensor[:-1] if len(tensor) else tensor.new_zeros(5),
    "meta": lambda tensor: tensor.to("meta"),
}


def call(name: str, arguments: Call) -> None:
    positions = [value for key, value in arguments.items() if isinstance(key, int)]
    getattr(ops.native(), name)(*positions, **{k: v for k, v in arguments.items() if isinstance(k, str)})


@pytest.mark.fault(37)
@fuzz
@given(data=st.data())
def test_a_damaged_tensor_is_an_exception(recorded: dict[str, Call], data: st.DataObject) -> None:
    places = [
        (name, key)
        for name, arguments in sorted(recorded.items())
        for key, value in arguments.items()
        if isinstance(value, torch.Tensor) and value.ndim
    ]
    name, key = data.draw(st.sampled_from(places))
    arguments = {other: _copied(value) for other, value in recorded[name].items()}
    arguments[key] = _DAMAGE[data.draw(st.sampled_from(sorted(_DAMAGE)))](arguments[key])
    with pytest.raises((TypeError, ValueError, BufferError, RuntimeError)):
        call(name, arguments)


@pytest.mark.fault(37)
@fuzz
@given(data=st.data())
def test_any_value_in_place_of_another_never_crashes(recorded: dict[str, Call], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(name for name, arguments in recorded.items() if arguments)))
    arguments = {other: _copied(value) for other, value in recorded[name].items()}
    key = data.draw(st.sampled_from(list(arguments)))
    integers = st.integers(-(2**70), 2**70) | st.sampled_from([-1, 0, 1, 2**31, 2**63 - 1])
    numbers = integers | st.floats(allow_nan=True, allow_infinity=True)
    arguments[key] = data.draw(st.none() | numbers | st.text(max_size=4) | st.lists(integers, max_size=9))
    if name in ("multiply_add", "train") and isinstance(arguments[key], int) and arguments[key] > 10:
        return  # as valid, and as long, as it says
    with contextlib.suppress(TypeError, ValueError, RuntimeError, OverflowError, MemoryError, BufferError):
        call(name, arguments)


_INTEGERS = (-(2**63), -(2**31) - 1, -1, 0, 1, 2, 3, 7, 2**31, 2**32, 2**32 + 1, 2**62, 2**63 - 1)
_REALS = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-42, 3e38, -3e38, 1e300, 1.0, -1.0, 2.0**31)


def _filled(tensor: torch.Tensor, data: st.DataObject) -> torch.Tensor:
    """The same shape with one number, or all, of an extreme value."""
    value = data.draw(st.sampled_from(_REALS if tensor.is_floating_point() else _INTEGERS))
    if not tensor.is_floating_point():
        information = torch.iinfo(tensor.dtype)
        value = min(max(value, information.min), information.max)
    elif tensor.dtype != torch.float64:
        value = float(torch.tensor(value, dtype=torch.float64).to(tensor.dtype))
    if data.draw(st.booleans()) or not tensor.numel():
        return torch.full_like(tensor, value)
    tensor = tensor.clone()
    tensor.view(-1)[data.draw(st.integers(0, tensor.numel() - 1))] = value
    return tensor


def _laid_out(tensor: torch.Tensor, data: st.DataObject) -> torch.Tensor:
    """The same numbers in another layout: every other element, one for all, reversed axes, no element."""
    how = data.draw(st.sampled_from(["every other", "broadcast", "reversed", "empty", "at an odd place"]))
    if how == "every other":
        return tensor.repeat_interleave(2, dim=-1)[..., ::2]
    if how == "broadcast":
        return tensor[:1].expand(tensor.shape) if len(tensor) else tensor
    if how == "reversed":
        return (
            tensor.permute(*range(tensor.ndim - 1, -1, -1))
            .contiguous()
            .permute(*range(tensor.ndim - 1, -1, -1))
        )
    if how == "empty":
        return tensor[:0]
    return (
        torch.cat([tensor.flatten()[:1], tensor.flatten()])[1:].view(tensor.shape)
        if tensor.numel()
        else tensor
    )


@pytest.mark.fault(37)
@fuzz
@given(data=st.data())
def test_any_contents_and_layouts_never_crash(recorded: dict[str, Call], data: st.DataObject) -> None:
    """Shapes and types stand; several arguments at once are extreme, laid out otherwise, or one memory."""
    names = [name for name, call in recorded.items() if any(torch.is_tensor(v) for v in call.values())]
    name = data.draw(st.sampled_from(sorted(names)))
    arguments = {other: _copied(value) for other, value in recorded[name].items()}
    places = [key for key, value in arguments.items() if torch.is_tensor(value) and value.ndim]
    for key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3, unique=True)):
        way = data.draw(st.sampled_from(["contents", "layout", "alias"]))
        if way == "contents":
            arguments[key] = _filled(arguments[key], data)
        elif way == "layout":
            arguments[key] = _laid_out(arguments[key], data)
        else:
            other = arguments[data.draw(st.sampled_from(places))]
            if other.dtype == arguments[key].dtype and other.numel() >= arguments[key].numel():
                arguments[key] = other.reshape(-1)[: arguments[key].numel()].view(arguments[key].shape)
    with contextlib.suppress(TypeError, ValueError, RuntimeError, OverflowError, MemoryError, BufferError):
        call(name, arguments)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import sysconfig
import threading
import time
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffhpo.errors import BackendError, InputError
from diffhpo.kernels import ops
from diffhpo.kernels.problem import DenoiseProblem

_C = ops.native()


def operator_arguments(problem: DenoiseProblem, packed: torch.Tensor) -> list[object]:
    return [
        packed,
        problem.step_conditioning,
        problem.job_conditioning,
        problem.coefficients,
        problem.keys,
        problem.counts,
        problem.seeds,
        problem.first_candidates,
        int(problem.counts.sum()),
        problem.weights.input_weight.shape[1],
        problem.guidance,
        problem.clip,
        "portable",
        1,
        "fp32",
        torch.empty(0, dtype=torch.uint8),
    ]


@pytest.mark.filterwarnings("ignore")  # torch's own deprecations while it traces
def test_opcheck_and_compile_pass(make_problem) -> None:
    problem, packed = make_problem(5, 32, 2, (3, 4))
    arguments = operator_arguments(problem, packed)
    operator = torch.ops.diffhpo.denoise.default
    torch.library.opcheck(operator, tuple(arguments))
    compiled = torch.compile(lambda *inputs: operator(*inputs) + 1, fullgraph=True, backend="eager")
    assert torch.equal(compiled(*arguments), operator(*arguments) + 1)


def test_packing_holds_every_weight_where_the_layout_says(make_problem) -> None:
    dim, width, blocks = 5, 40, 2
    problem, packed = make_problem(dim, width, blocks)
    weights = problem.weights

    def matrix(offset: int, outputs: int, inputs: int) -> tuple[torch.Tensor, int]:
        panels = -(-outputs // 32)
        cut = packed[offset : offset + panels * inputs * 32].view(panels, inputs, 32)
        dense = cut.permute(0, 2, 1).reshape(panels * 32, inputs)
        assert not dense[outputs:].any()
        return dense[:outputs], offset + cut.numel()

    found, at = matrix(0, width, dim)
    assert torch.equal(found, weights.input_weight)
    found, at = matrix(at, width, 1)
    assert torch.equal(found[:, 0], weights.input_bias)
    for block in range(blocks):
        found, at = matrix(at, 2 * width, width)
        assert torch.equal(found, weights.expand_weights[block])
        found, at = matrix(at, width, 2 * width)
        assert torch.equal(found, weights.contract_weights[block])
        found, at = matrix(at, width, 1)
        assert torch.equal(found[:, 0], weights.contract_biases[block])
    found, at = matrix(at, dim, width)
    assert torch.equal(found, weights.output_weight)
    found, at = matrix(at, dim, 1)
    assert torch.equal(found[:, 0], weights.output_bias)
    assert at == len(packed)


def native_arguments(problem: DenoiseProblem, packed: torch.Tensor) -> dict[str, object]:
    return {
        "out": torch.zeros(int(problem.counts.sum()), problem.weights.input_weight.shape[1]),
        "packed": packed,
        "step_conditioning": problem.step_conditioning,
        "job_conditioning": problem.job_conditioning,
        "coefficients": problem.coefficients,
        "keys": problem.keys,
        "counts": problem.counts,
        "seeds": problem.seeds,
        "first_candidates": problem.first_candidates,
        "guidance": 0.0,
        "clip": True,
        "isa": "portable",
        "threads": 1,
        "precision": "fp32",
        "coded": torch.empty(0, dtype=torch.uint8),
    }


_TENSORS: tuple[str, ...] = ("out", "packed", "step_conditioning", "job_conditioning")
_TENSORS += ("coefficients", "keys", "counts", "seeds", "first_candidates")
_DAMAGE = {
    "none": lambda tensor: None,
    "number": lambda tensor: 3,
    "list": lambda tensor: tensor.tolist(),
    "bfloat16": lambda tensor: tensor.bfloat16(),
    "half": lambda tensor: tensor.half(),
    "int32": lambda tensor: tensor.int(),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "scalar": lambda tensor: tensor.new_zeros(()),
    "one rank more": lambda tensor: tensor.unsqueeze(0),
    "one rank less": lambda tensor: tensor.reshape(-1) if tensor.ndim > 1 else tensor.sum(),
    "one element more": lambda tensor: torch.cat([tensor, tensor[:1]]),
    "one element less": lambda tensor: tensor[:-1],
    "empty": lambda tensor: tensor[:0],
    "meta": lambda tensor: tensor.to("meta"),
    "strided": lambda tensor: torch.stack([tensor, tensor], dim=-1)[..., 0],
    "expanded": lambda tensor: tensor[:1].expand(tensor.shape[0] + 1, *tensor.shape[1:]),
    "requires grad": lambda tensor: tensor.float().requires_grad_(),
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(_TENSORS),
    damage=st.sampled_from(sorted(_DAMAGE)),
    seed=st.integers(0, 3),
)
def test_damaged_tensors_raise(make_problem, name: str, damage: str, seed: int) -> None:
    problem, packed = make_problem(3 + seed, 16, 1 + seed % 2, (2, 3))
    arguments = native_arguments(problem, packed)
    arguments[name] = _DAMAGE[damage](arguments[name])
    with pytest.raises((TypeError, ValueError, BufferError, RuntimeError)):
        _C.denoise_cpu(**arguments)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_shapes_raise_or_run(make_problem, data: st.DataObject) -> None:
    """Random shapes for every tensor at once: an exception, or a result, never a crash."""
    problem, packed = make_problem(3, 16, 1, (2, 3))
    arguments = native_arguments(problem, packed)
    shape = st.lists(st.integers(0, 6), min_size=0, max_size=5)
    for name in data.draw(st.lists(st.sampled_from(_TENSORS), min_size=1, max_size=8, unique=True)):
        arguments[name] = torch.zeros(data.draw(shape), dtype=arguments[name].dtype)
    try:
        _C.denoise_cpu(**arguments)
    except (TypeError, ValueError):
        return
    assert bool(torch.isfinite(arguments["out"]).all())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("counts", torch.tensor([-1, 6])),
        ("counts", torch.tensor([2**62, 3])),
        ("counts", torch.tensor([2, 2])),
        ("first_candidates", torch.tensor([-1, 0])),
        ("first_candidates", torch.tensor([2**63 - 1, 0])),
        ("keys", torch.full((7,), 2**32)),
        ("keys", torch.full((7,), -1)),
        ("guidance", float("nan")),
        ("isa", "sse9"),
        ("isa", ""),
        ("threads", 0),
        ("threads", -3),
        ("threads", 10**9),
        ("threads", 2**70),
        ("isa", None),
    ],
)
def test_bad_values_raise(make_problem, name: str, value: object) -> None:
    arguments = native_arguments(*make_problem(3, 16, 1, (2, 3)))
    arguments[name] = value
    with pytest.raises((TypeError, ValueError), match=name if name not in ("isa", "threads") else None):
        _C.denoise_cpu(**arguments)


def test_counts_that_add_up_by_overflow_raise(make_problem) -> None:
    arguments = native_arguments(*make_problem(3, 16, 1, (1, 1, 1, 1, 1)))
    arguments["counts"] = torch.tensor([2**62, 2**62, 2**62, 2**62, 5])
    with pytest.raises(ValueError, match="counts must"):
        _C.denoise_cpu(**arguments)


def test_pack_and_noise_refuse_wrong_shapes(make_problem) -> None:
    problem, packed = make_problem(5, 16, 2)
    w = problem.weights
    good = {
        "out": torch.zeros_like(packed),
        "input_weight": w.input_weight,
        "input_bias": w.input_bias,
        "expand_weights": list(w.expand_weights),
        "contract_weights": list(w.contract_weights),
        "contract_biases": list(w.contract_biases),
        "output_weight": w.output_weight,
        "output_bias": w.output_bias,
    }
    _C.pack(**good)
    assert torch.equal(good["out"], packed)
    for name in good:
        bad = good[name][:-1]
        with pytest.raises(ValueError, match="entry per block" if isinstance(bad, list) else "shape"):
            _C.pack(**{**good, name: bad})
    for sizes in ((0, 1, 1), (1, -5, 1), (1, 1, 2**40)):
        with pytest.raises(ValueError, match="must lie in"):
            _C.packed_size(*sizes)
    for out, candidates, key in (
        (torch.zeros(3, 2), torch.arange(4), 0),
        (torch.zeros(3), torch.arange(3), 0),
        (torch.zeros(3, 2), torch.arange(3).int(), 0),
        (torch.zeros(3, 2), torch.arange(3), 2**32),
    ):
        with pytest.raises((TypeError, ValueError)):
            _C.noise(out, 0, candidates, key, "portable")


def test_misfits_are_input_errors_through_ops(make_problem) -> None:
    problem, packed = make_problem(5, 16, 2)
    with pytest.raises(InputError, match="packed has shape"):
        ops.denoise(problem, packed[:-1])
    with pytest.raises(InputError, match="coefficients has the wrong dtype"):
        ops.denoise(replace(problem, coefficients=problem.coefficients.float()), packed)


def test_a_missing_module_says_how_to_reinstall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "_native", lambda: ImportError("no such file"))
    with pytest.raises(BackendError, match="diffhpo doctor"):
        ops.native()
    assert ops.cuda_built() is False


def test_the_interpreter_runs_on_meanwhile(make_problem) -> None:
    problem, packed = make_problem(16, 128, 4, (400,), steps=60)
    done = threading.Event()

    def run() -> None:
        ops.denoise(problem, packed)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    ticks = 0
    while not done.is_set():
        ticks += 1
        time.sleep(0.001)
    thread.join()
    assert ticks > 5


@pytest.mark.skipif(sysconfig.get_platform() != "linux-x86_64", reason="other processors have one build")
def test_every_isa_is_built() -> None:
    assert ops.native_isas(runnable=False) == ["portable", "avx2", "avx512"]
    assert importlib.util.find_spec("diffhpo._C") is not None

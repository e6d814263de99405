# SPDX-License-Identifier: Apache-2.0
"""Other ways to run the same reverse loop on a CPU, each as its own users would run it at its best.

Every rival gets the conditioning of all steps precomputed, as the native loop does, and draws noise with its
own generator. A builder returns a callable that runs all steps from the loop's x_T.
"""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Loop:
    """One reverse loop; S steps of n candidates, sigma = 0 everywhere for DDIM."""

    blocks: tuple[tuple[Tensor, Tensor, Tensor], ...]
    """expand (2W, W), contract (W, 2W), contract bias (W,) of every block."""
    input_weight: Tensor
    input_bias: Tensor
    output_weight: Tensor
    output_bias: Tensor
    conditioning: Tensor
    """(S, B, 2W)"""
    coefficients: Tensor
    """(S, 5) float32 x0_from_x, x0_from_eps, x0_weight, x_weight, sigma."""
    timesteps: list[int]
    start: Tensor
    """(n, d) x_T."""
    noisy: bool


class Step(nn.Module):
    """One reverse step in plain torch."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.expands = nn.ParameterList([block[0].clone() for block in loop.blocks])
        self.contracts = nn.ParameterList([block[1].clone() for block in loop.blocks])
        self.biases = nn.ParameterList([block[2].clone() for block in loop.blocks])
        self.input, self.output = nn.Linear(1, 1), nn.Linear(1, 1)
        self.input.weight, self.input.bias = nn.Parameter(loop.input_weight), nn.Parameter(loop.input_bias)
        self.output.weight, self.output.bias = (
            nn.Parameter(loop.output_weight),
            nn.Parameter(loop.output_bias),
        )

    def eps(self, x: Tensor, conditioning: Tensor) -> Tensor:
        h = self.input(x)
        for i, (expand, contract, bias) in enumerate(
            zip(self.expands, self.contracts, self.biases, strict=True)
        ):
            hidden = nn.functional.silu(torch.addmm(conditioning[i], h, expand.t()))
            h = h + torch.addmm(bias, hidden, contract.t())
        return self.output(h)

    def forward(self, x: Tensor, conditioning: Tensor, c: Tensor, noise: Tensor) -> Tensor:
        x0 = (x * c[0] - self.eps(x, conditioning) * c[1]).clamp(-1.0, 1.0)
        return x0 * c[2] + x * c[3] + noise * c[4]


def _stepwise(loop: Loop, step: Callable[..., Tensor]) -> Run:
    conditioning, coefficients = list(loop.conditioning), list(loop.coefficients)
    zeros = torch.zeros_like(loop.start)

    @torch.inference_mode()
    def run() -> np.ndarray:
        x = loop.start
        for shift, c in zip(conditioning, coefficients, strict=True):
            x = step(x, shift, c, torch.randn_like(x) if loop.noisy else zeros)
        return x.numpy()

    return run


def torch_eager(loop: Loop) -> Run:
    return _stepwise(loop, Step(loop).requires_grad_(False))


def torch_compile(loop: Loop) -> Run:
    torch._dynamo.reset()
    # The step is compiled: a loop of a thousand steps would be unrolled. Inductor's own tuning is on.
    step = torch.compile(Step(loop).requires_grad_(False), fullgraph=True, options={"max_autotune": True})
    return _stepwise(loop, step)


class _ScriptedLoop(nn.Module):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.noisy = loop.noisy
        example = (loop.start, loop.conditioning[0], loop.coefficients[0], torch.zeros_like(loop.start))
        with torch.no_grad():
            self.step = torch.jit.trace(Step(loop).requires_grad_(False), example)

    def forward(self, x: Tensor, conditioning: Tensor, coefficients: Tensor) -> Tensor:
        zeros = torch.zeros_like(x)
        for i in range(conditioning.shape[0]):
            noise = torch.randn_like(x) if self.noisy else zeros
            x = self.step(x, conditioning[i], coefficients[i], noise)
        return x


def torchscript(loop: Loop) -> Run:
    module = torch.jit.freeze(torch.jit.script(_ScriptedLoop(loop).eval()))

    @torch.inference_mode()
    def run() -> np.ndarray:
        return module(loop.start, loop.conditioning, loop.coefficients).numpy()

    return run


def aot_inductor(loop: Loop) -> Run:
    example = (loop.start, loop.conditioning[0], loop.coefficients[0], torch.zeros_like(loop.start))
    exported = torch.export.export(Step(loop).requires_grad_(False), example)
    folder = tempfile.mkdtemp()
    package = torch._inductor.aoti_compile_and_package(exported, package_path=str(Path(folder) / "step.pt2"))
    return _stepwise(loop, torch._inductor.aoti_load_package(package))


def jax_fori_loop(loop: Loop) -> Run:
    import jax
    import jax.numpy as jnp

    def array(tensor: Tensor) -> jax.Array:
        return jnp.asarray(tensor.numpy())

    # Weights are constants of the compiled program; transposed once.
    blocks = [tuple(map(array, (e.T.contiguous(), c.T.contiguous(), b))) for e, c, b in loop.blocks]
    input_weight, output_weight = (
        array(loop.input_weight.T.contiguous()),
        array(loop.output_weight.T.contiguous()),
    )
    input_bias, output_bias = array(loop.input_bias), array(loop.output_bias)
    conditioning, coefficients = array(loop.conditioning), array(loop.coefficients)
    noisy = loop.noisy

    @functools.partial(jax.jit, donate_argnums=0)
    def reverse(x: jax.Array, key: jax.Array) -> jax.Array:
        def step(i: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            x, key = carry
            shift, c = conditioning[i], coefficients[i]
            h = x @ input_weight + input_bias
            for b, (expand, contract, bias) in enumerate(blocks):
                h = h + jax.nn.silu(h @ expand + shift[b]) @ contract + bias
            x0 = jnp.clip(x * c[0] - (h @ output_weight + output_bias) * c[1], -1.0, 1.0)
            x = x0 * c[2] + x * c[3]
            if noisy:
                key, sub = jax.random.split(key)
                x = x + jax.random.normal(sub, x.shape) * c[4]
            return x, key

        return jax.lax.fori_loop(0, conditioning.shape[0], step, (x, key))[0]

    start = loop.start.numpy()
    # XLA's own bit generator: several times faster on a CPU than the default threefry.
    key = jax.random.key(0, impl="unsafe_rbg")
    return lambda: np.asarray(reverse(jnp.array(start), key))


def onnx_runtime(loop: Loop) -> Run:
    import onnxruntime
    from onnx import TensorProto, checker, helper, numpy_helper

    def constant(name: str, tensor: Tensor | np.ndarray) -> object:
        return numpy_helper.from_array(np.array(tensor, order="C"), name)

    float_ = TensorProto.FLOAT
    shape = list(loop.start.shape)
    weights = [constant("input_weight", loop.input_weight.T), constant("input_bias", loop.input_bias)]
    weights += [constant("output_weight", loop.output_weight.T), constant("output_bias", loop.output_bias)]
    weights += [constant("conditioning", loop.conditioning), constant("coefficients", loop.coefficients)]
    weights += [constant("low", np.float32(-1)), constant("high", np.float32(1))]
    nodes = [
        helper.make_node("Gather", ["conditioning", "i"], ["shift"], axis=0),
        helper.make_node("Gather", ["coefficients", "i"], ["row"], axis=0),
        helper.make_node("Gemm", ["x", "input_weight", "input_bias"], ["h0"]),
    ]
    for b, (expand, contract, bias) in enumerate(loop.blocks):
        weights += [constant(f"expand{b}", expand.T), constant(f"contract{b}", contract.T)]
        weights += [constant(f"bias{b}", bias), constant(f"block{b}", np.int64(b))]
        nodes += [
            helper.make_node("Gather", ["shift", f"block{b}"], [f"shift{b}"], axis=0),
            helper.make_node("Gemm", [f"h{b}", f"expand{b}", f"shift{b}"], [f"a{b}"]),
            helper.make_node("Sigmoid", [f"a{b}"], [f"s{b}"]),
            helper.make_node("Mul", [f"a{b}", f"s{b}"], [f"g{b}"]),
            helper.make_node("Gemm", [f"g{b}", f"contract{b}", f"bias{b}"], [f"r{b}"]),
            helper.make_node("Add", [f"h{b}", f"r{b}"], [f"h{b + 1}"]),
        ]
    nodes.append(helper.make_node("Gemm", [f"h{len(loop.blocks)}", "output_weight", "output_bias"], ["eps"]))
    for k in range(5):
        weights.append(constant(f"k{k}", np.int64(k)))
        nodes.append(helper.make_node("Gather", ["row", f"k{k}"], [f"c{k}"], axis=0))
    nodes += [
        helper.make_node("Mul", ["x", "c0"], ["xa"]),
        helper.make_node("Mul", ["eps", "c1"], ["eb"]),
        helper.make_node("Sub", ["xa", "eb"], ["raw"]),
        helper.make_node("Clip", ["raw", "low", "high"], ["x0"]),
        helper.make_node("Mul", ["x0", "c2"], ["xw"]),
        helper.make_node("Mul", ["x", "c3"], ["xx"]),
        helper.make_node("Add", ["xw", "xx"], ["mean"]),
    ]
    if loop.noisy:
        nodes += [
            helper.make_node("RandomNormalLike", ["x"], ["z"], dtype=float_),
            helper.make_node("Mul", ["z", "c4"], ["zs"]),
            helper.make_node("Add", ["mean", "zs"], ["next"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["mean"], ["next"]))
    nodes.append(helper.make_node("Identity", ["go"], ["go_on"]))
    body = helper.make_graph(
        nodes,
        "step",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", float_, shape),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", float_, shape),
        ],
        weights,
    )
    steps = constant("steps", np.int64(len(loop.coefficients)))
    graph = helper.make_graph(
        [helper.make_node("Loop", ["steps", "true", "start"], ["end"], body=body)],
        "loop",
        [helper.make_tensor_value_info("start", float_, shape)],
        [helper.make_tensor_value_info("end", float_, shape)],
        [steps, constant("true", np.bool_(True))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    start = loop.start.numpy()
    return lambda: session.run(None, {"start": start})[0]


def diffusers(loop: Loop) -> Run:
    from diffusers import DDIMScheduler, DDPMScheduler

    kind = DDPMScheduler if loop.noisy else DDIMScheduler
    scheduler = kind(1000, 1e-4, 0.02, "linear", clip_sample=True)
    clipped = {} if loop.noisy else {"use_clipped_model_output": True}
    step = Step(loop).requires_grad_(False)
    conditioning = list(loop.conditioning)

    @torch.inference_mode()
    def run() -> np.ndarray:
        scheduler.set_timesteps(timesteps=loop.timesteps) if loop.noisy else scheduler.set_timesteps(1000)
        x = loop.start
        for t, shift in zip(loop.timesteps, conditioning, strict=True):
            x = scheduler.step(step.eps(x, shift), t, x, **clipped).prev_sample
        return x.numpy()

    return run


#: name -> (builder, packages that it needs).
RIVALS: dict[str, tuple[Callable[[Loop], Run], tuple[str, ...]]] = {
    "JAX fori_loop": (jax_fori_loop, ("jax",)),
    "ONNX Runtime": (onnx_runtime, ("onnx", "onnxruntime")),
    "TorchScript": (torchscript, ()),
    "torch eager": (torch_eager, ()),
    "torch.compile": (torch_compile, ()),
    "AOTInductor": (aot_inductor, ()),
    "diffusers": (diffusers, ("diffusers",)),
}


def missing(name: str) -> list[str]:
    """Packages that a rival lacks here."""
    return [package for package in RIVALS[name][1] if importlib.util.find_spec(package) is None]

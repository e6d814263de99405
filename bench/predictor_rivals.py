# SPDX-License-Identifier: Apache-2.0
"""Other ways of running the same Transformer and Predictor on one CPU thread, each with its best settings.

Every rival is a function of no arguments that returns the result, made for fixed inputs so that compilation
and transfer of weights stay outside the timing. One whose package is missing is named with the reason.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from diffhpo.model.predictor import Predictor
from diffhpo.model.transformer import Transformer

Run = Callable[[], Tensor]


class PredictorForward(nn.Module):
    """Logits of candidates for one context's tokens: what `kernels.attention.predict` computes."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        h = self.predictor.input(2 * x - 1).unsqueeze(0)
        for layer in self.predictor.layers:
            h = layer(h, tokens.unsqueeze(0), None)
        return self.predictor.output(self.predictor.output_norm(h))[0]


class EncoderForward(nn.Module):
    """Tokens of one context, anchor included, from its features: what `kernels.attention.encode` computes."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = torch.cat([self.transformer.anchor.unsqueeze(0), self.transformer.token(inputs)]).unsqueeze(
            0
        )
        for layer in self.transformer.layers:
            tokens = layer(tokens, None)
        return tokens[0]


def pin_to_one_core() -> None:
    """One thread for all: call it before the rivals' packages are imported."""
    torch.set_num_threads(1)
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def eager(module: nn.Module, inputs: tuple[Tensor, ...]) -> Run:
    def run() -> Tensor:
        with torch.inference_mode():
            return module(*inputs)

    return run


def torchscript(module: nn.Module, inputs: tuple[Tensor, ...]) -> Run:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(module.eval(), inputs)))

    def run() -> Tensor:
        with torch.inference_mode():
            return traced(*inputs)

    run()
    run()  # the profiling executor specialises on the first calls
    return run


def compiled(module: nn.Module, inputs: tuple[Tensor, ...]) -> Run:
    torch._dynamo.reset()
    function = torch.compile(module, fullgraph=True, dynamic=False)

    def run() -> Tensor:
        with torch.inference_mode():
            return function(*inputs)

    run()
    return run


def onnxruntime(module: nn.Module, inputs: tuple[Tensor, ...]) -> Run:
    import onnxruntime as ort

    names = ["first", "second"][: len(inputs)]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), inputs, buffer, input_names=names, output_names=["out"], dynamo=False
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(buffer.getvalue())
        file.flush()
        session = ort.InferenceSession(file.name, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in inputs]
    for name, array in zip(names, arrays, strict=True):
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    out = ort.OrtValue.ortvalue_from_numpy(np.empty(tuple(module(*inputs).shape), np.float32))
    binding.bind_ortvalue_output("out", out)

    def run() -> Tensor:
        session.run_with_iobinding(binding)
        return torch.from_numpy(out.numpy())

    return run


def jax_jit(module: nn.Module, inputs: tuple[Tensor, ...]) -> Run:
    import jax
    import jax.numpy as jnp

    def weights_of(linear: nn.Linear) -> tuple[object, object]:
        bias = None if linear.bias is None else jnp.asarray(linear.bias.detach().numpy())
        return jnp.asarray(linear.weight.detach().numpy().T.copy()), bias

    def dense(linear: nn.Linear, a):  # weights enter as constants of the compiled function
        weight, bias = weights_of(linear)
        return a @ weight if bias is None else a @ weight + bias

    def norm(layer: nn.LayerNorm, a):
        centred = a - a.mean(-1, keepdims=True)
        scaled = centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + layer.eps)
        return scaled * jnp.asarray(layer.weight.detach().numpy()) + jnp.asarray(layer.bias.detach().numpy())

    def block(layer, heads: int, h, query, key, value):
        def split(a):
            return a.reshape(len(a), heads, -1).transpose(1, 0, 2)

        q, k, v = split(query), split(key), split(value)
        weights = jax.nn.softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]).astype(np.float32), axis=-1)
        h = h + dense(layer.attention_output, (weights @ v).transpose(1, 0, 2).reshape(len(h), -1))
        return h + dense(layer.mlp[2], jax.nn.silu(dense(layer.mlp[0], norm(layer.mlp_norm, h))))

    def predictor(x, tokens):
        model = module.predictor
        h = dense(model.input, 2 * x - 1)
        for layer in model.layers:
            query = dense(layer.query, norm(layer.attention_norm, h))
            h = block(layer, layer.heads, h, query, dense(layer.key, tokens), dense(layer.value, tokens))
        return dense(model.output, norm(model.output_norm, h))

    def encoder(inputs):
        model = module.transformer
        h = jnp.concatenate([jnp.asarray(model.anchor.detach().numpy())[None], dense(model.token, inputs)])
        for layer in model.layers:
            parts = jnp.split(dense(layer.query_key_value, norm(layer.attention_norm, h)), 3, axis=1)
            h = block(layer, layer.heads, h, *parts)
        return h

    device = jax.devices("cpu")[0]
    arrays = [jax.device_put(tensor.numpy(), device) for tensor in inputs]
    function = jax.jit(predictor if isinstance(module, PredictorForward) else encoder)
    function(*arrays).block_until_ready()

    def run() -> Tensor:
        return torch.from_numpy(np.asarray(function(*arrays).block_until_ready()))

    return run


RIVALS = {
    "torch eager": eager,
    "TorchScript": torchscript,
    "torch.compile": compiled,
    "ONNX Runtime": onnxruntime,
    "JAX jit": jax_jit,
}


def rivals(module: nn.Module, inputs: tuple[Tensor, ...]) -> Iterator[tuple[str, Run | str]]:
    """Name and function of every rival, or why there is none; each checked against float64."""
    import copy

    with torch.no_grad():
        exact = copy.deepcopy(module).double()(*(tensor.double() for tensor in inputs))
    scale = float(exact.abs().mean()) + 1e-12
    for name, make in RIVALS.items():
        try:
            run = make(module, inputs)
        except Exception as error:
            yield name, f"{type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"
            continue
        error = float((run().double() - exact).abs().mean())
        assert error <= 1e-4 * scale, (name, error, scale)
        yield name, run

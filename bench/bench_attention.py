# SPDX-License-Identifier: Apache-2.0
"""Time of the Transformer's encoder for a context of n: `pytest bench/bench_attention.py`, after a check.

`python bench/bench_attention.py` prints it beside every rival that is installed, as bench_predict.py does,
and 64 contexts of different sizes in one call beside torch on the same, padded to the longest.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

import predictor_rivals
from bench_predict import arguments, fastest, header, row
from diffhpo.kernels import attention, ops
from diffhpo.model.packed_attention import PackedTransformer
from diffhpo.model.transformer import ContextBatch, Transformer

_CONTEXTS = (16, 64, 256, 1024)
_DIM = 16

Case = tuple[Transformer, PackedTransformer, torch.Tensor]


def make_case(n: int, layers: int = 2) -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = Transformer(_DIM, layers=layers).eval()
        inputs = torch.rand(n, _DIM + 2) * 2 - 1
    return transformer, PackedTransformer(transformer), inputs


def make_run(case: Case, counts: list[int], isa: str) -> Callable[[], torch.Tensor]:
    _, packed, inputs = case
    weights, layout = packed.weights, packed.layout

    def run() -> torch.Tensor:
        return attention.encode(inputs, counts, weights, layout, isa=isa, threads=1)[0]

    return run


def check(case: Case, run: Callable[[], torch.Tensor]) -> None:
    """The result of what is about to be timed, against float64."""
    transformer, _, inputs = case
    module = predictor_rivals.EncoderForward(transformer)
    with torch.no_grad():
        exact = copy.deepcopy(module).double()(inputs.double())
        torchs = float((module(inputs).double() - exact).abs().mean())
    error = float((run().double() - exact).abs().mean())
    assert error <= 2 * torchs + 1e-8, (error, torchs)


@pytest.mark.parametrize("isa", ops.native_isas(runnable=True))
@pytest.mark.parametrize("n", _CONTEXTS)
def test_encode(benchmark, isa: str, n: int) -> None:
    case = make_case(n)
    run = make_run(case, [n], isa)
    check(case, run)
    benchmark(run)


def ragged(isa: str, seconds: float) -> str:
    """64 contexts of 1 to 127 trials: our one call, and torch's on the padded batch."""
    counts = [2 * job + 1 for job in range(64)]
    case = make_case(sum(counts))
    transformer = case[0]
    run = make_run(case, counts, isa)
    inputs = torch.nn.utils.rnn.pad_sequence(case[2].split(counts), batch_first=True)
    mask = torch.arange(inputs.shape[1]) < torch.tensor(counts).unsqueeze(1)
    batch = ContextBatch(inputs[..., :_DIM], inputs[..., 0], mask)
    padded = copy.deepcopy(transformer)
    padded.features = lambda context: inputs  # type: ignore[method-assign]

    def torch_run() -> torch.Tensor:
        with torch.inference_mode():
            return padded(batch).tokens

    expected = torch_run()[mask]
    ours = torch.cat([part[1:] for part in run().split([count + 1 for count in counts])])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    times = fastest({"ours": run, "torch": torch_run}, seconds)
    ratio = times["torch"] / times["ours"]
    return f"{times['ours'] * 1e6:.0f} us; torch, padded, takes {ratio:.2f} times as long"


def main() -> None:
    options = arguments()
    predictor_rivals.pin_to_one_core()
    isa = ops.native_isas(runnable=True)[-1]
    print(header("n"))
    for n in options.contexts:
        case = make_case(n)
        run = make_run(case, [n], isa)
        check(case, run)
        module = predictor_rivals.EncoderForward(case[0])
        print(row(f"{n}", run, module, case[2:], options.seconds), flush=True)
    print(f"\n64 contexts of 1 to 127 trials: {ragged(isa, options.seconds)}")


if __name__ == "__main__":
    main()

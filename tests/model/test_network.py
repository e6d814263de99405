# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from diffhpo.errors import InputError
from diffhpo.model import Network
from diffhpo.model.network import NO_FLAG, sinusoidal_features


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network(3, width=16, context_width=8).double()


def inputs(rows=5):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 3, dtype=torch.float64, generator=generator)
    context = torch.randn(rows, 8, dtype=torch.float64, generator=generator)
    return x, torch.arange(rows) * 100, torch.ones(rows, dtype=torch.long), context


def test_forward_equals_the_equations_written_out(network):
    x, t, improve, context = inputs()
    shift = network.time(sinusoidal_features(t, 32)) + network.flag.weight[improve]
    shift = (shift + context @ network.context.weight.T).view(5, 2, 32)
    h = x @ network.input.weight.T + network.input.bias
    for k, block in enumerate(network.blocks):
        z = h @ block.expand.weight.T + block.expand.bias + shift[:, k]
        h = h + (z / (1 + torch.exp(-z))) @ block.contract.weight.T + block.contract.bias
    torch.testing.assert_close(network(*inputs()), h @ network.output.weight.T + network.output.bias)


def test_time_flag_and_context_each_matter(network):
    x, t, improve, context = inputs()
    plain = network(x, t, improve, context)
    for changed in (
        network(x, t + 1, improve, context),
        network(x, t, 1 - improve, context),
        network(x, t, torch.full_like(improve, NO_FLAG), context),
        network(x, t, improve, context + 1),
    ):
        assert (plain - changed).abs().max() > 1e-4


def test_cross_attention_reads_the_tokens_as_a_set():
    torch.manual_seed(0)
    network = Network(3, width=16, context_width=8, cross_attention=True).double()
    x, t, improve, context = inputs()
    tokens = torch.randn(5, 7, 8, dtype=torch.float64)
    mask = torch.ones(5, 7, dtype=torch.bool)
    plain = network(x, t, improve, context, tokens, mask)
    order = torch.randperm(7)
    torch.testing.assert_close(plain, network(x, t, improve, context, tokens[:, order], mask))
    assert (plain - network(x, t, improve, context, tokens + 1, mask)).abs().max() > 1e-4
    none = network(x, t, improve, context, tokens, torch.zeros_like(mask))
    assert torch.isfinite(none).all()
    torch.testing.assert_close(none, network(x, t, improve, context, tokens[:, :0], mask[:, :0]))


def test_config_rebuilds_the_same_shape(network):
    again = Network(**network.config).double()
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(again(*inputs()), network(*inputs()))


@pytest.mark.parametrize(
    "sizes",
    [{"dim": 0}, {"dim": 1, "time_features": 3}, {"dim": 1, "context_width": 0, "cross_attention": True}],
)
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(InputError):
        Network(**sizes)

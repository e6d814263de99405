# SPDX-License-Identifier: Apache-2.0
"""Histories in CSV files, up to the optimizer that is told them."""

from diffhpo import Optimizer
from diffhpo.trial_table import infer_space, read_trial_table


def seeds():
    yield b"lr,depth,kind,loss\n0.1,3,a,1.5\n0.001,5,b,\n0.01,4,a,nan\n"
    yield b'\xef\xbb\xbf"a b",y\r\n1,0.5\r\n2,-1e300\r\n'
    yield b"flag,x,y\ntrue,1e-3,1\nfalse,2e2,inf\n"


def one_input(data, folder):
    path = folder / "file"
    path.write_bytes(data)
    table = read_trial_table(path)
    space = infer_space(table)
    optimizer = Optimizer(space)
    for configuration, value in zip(table.configurations(), table.objective, strict=True):
        optimizer.tell(configuration, value, failed=value is None)

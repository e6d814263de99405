# SPDX-License-Identifier: Apache-2.0
"""Uses an installed diffhpo as a stranger would: the native module, the weights, the command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import diffhpo
from diffhpo import _C, Categorical, Float, Int, Optimizer, Space

assert shutil.which("cc") is None or "--any-path" in sys.argv, "a compiler is on PATH"
assert Path(diffhpo.__file__).is_relative_to(sys.prefix), f"{diffhpo.__file__} is not the installed one"
assert "portable" in _C.isas(True)

space = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 8), "kind": Categorical(["a", "b", "c"])})
optimizer = Optimizer(space, seed=0)
for suggestion in optimizer.ask(6):
    optimizer.tell(suggestion, -abs(suggestion.parameters["depth"] - 5.0))
(suggestion,) = optimizer.ask()
space.encode(suggestion.parameters)

command = Path(sys.executable).with_name("diffhpo")
printed = subprocess.run([command, "doctor"], check=True, capture_output=True, text=True).stdout
assert "broken" not in printed.split("findings:")[-1].replace("nothing is broken", ""), printed
print(f"diffhpo {diffhpo.__version__} suggests {suggestion.parameters}")

# SPDX-License-Identifier: Apache-2.0
"""`python -m diffhpo`, the same as the command `diffhpo`."""

from diffhpo.cli import app

app()

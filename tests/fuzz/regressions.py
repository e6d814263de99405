# SPDX-License-Identifier: Apache-2.0
"""Inputs that a fuzz target once failed on, (target, input); `test_fuzz_targets.py` gives them again."""

FOUND: list[tuple[str, bytes]] = []

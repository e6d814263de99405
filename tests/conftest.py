# SPDX-License-Identifier: Apache-2.0
"""Settings and fixtures of all tests."""

import os
from pathlib import Path

import hypothesis
import pytest

# No timing decides a test; a fixed choice of examples keeps the suite reproducible.
hypothesis.settings.register_profile("diffhpo", deadline=None, derandomize=True)
hypothesis.settings.load_profile("diffhpo")


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder of published benchmark data, which is not part of the project; skips without it."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    path = Path(os.environ.get("DIFFHPO_DATA", default))
    if not path.is_dir():
        pytest.skip(f"no benchmark data at {path}; set DIFFHPO_DATA")
    return path

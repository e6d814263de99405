# SPDX-License-Identifier: Apache-2.0
"""The Python of every page on an integration runs as it stands, block after block in one namespace."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[2] / "docs" / "integrations"
#: Page -> the packages that its examples import.
NEEDS = {
    "ax": ["ax"],
    "botorch": ["botorch"],
    "configspace": ["ConfigSpace"],
    "optuna": ["optuna"],
    "ray": ["ray"],
    "sklearn": ["sklearn"],
}


def blocks(page):
    """(line in the page, source) of each ```python block."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, match.start()) + 1, match.group(1)


@pytest.mark.parametrize("page", sorted(page.stem for page in PAGES.glob("*.md")))
# The other libraries warn; a user's script does not stop at that either.
@pytest.mark.filterwarnings("default", "ignore::DeprecationWarning")
def test_the_pages_examples_run(page, tmp_path, monkeypatch):
    for package in NEEDS.get(page, []):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    path = PAGES / f"{page}.md"
    namespace = {"__name__": f"documentation_{page}"}
    for line, source in blocks(path):
        exec(compile("\n" * line + source, str(path), "exec"), namespace)  # its lines are the page's


def test_every_page_but_the_recipes_has_an_example():
    without = [page.stem for page in PAGES.glob("*.md") if not list(blocks(page))]
    assert set(without) <= {"others"}

# SPDX-License-Identifier: Apache-2.0
"""The documentation: its examples run, its links lead somewhere, the public API is listed once."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
#: Pages whose Python blocks run, in their order and one namespace; integrations have tests of their own.
RUN = ("index", "quickstart", "spaces", "settings", "pictures")
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
API = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", RUN)
def test_the_examples_run(name, tmp_path, monkeypatch):
    if name in ("quickstart", "pictures"):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    # A module of its own: annotations and lambdas of the examples look names up there.
    names = {"__name__": f"docs_{name}"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{name}.md, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {target}"


def anchors(page):
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_every_figure_of_a_page_is_there_and_used():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for figure in (DOCS / "figures" / "pictures").glob("*.png"):
        assert f"figures/pictures/{figure.name}" in text


def test_the_public_api_is_listed_once():
    assert len(API) == len(set(API))
    for module in ("diffhpo", "diffhpo.model", "diffhpo.hpob", "diffhpo.pictures", "diffhpo.study_page"):
        public = {f"{module}.{name}" for name in importlib.import_module(module).__all__ if name[0] != "_"}
        listed = {name for name in API if name.rpartition(".")[0] == module}
        assert listed - {"diffhpo.errors"} == public, module


def test_what_the_api_lists_is_there_and_documented():
    for name in API:
        module, _, attribute = name.rpartition(".")
        thing = importlib.import_module(name) if name == "diffhpo.errors" else None
        thing = getattr(importlib.import_module(module), attribute) if thing is None else thing
        assert inspect.getdoc(thing), name


def test_the_site_lists_every_page():
    configuration = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).as_posix()
        assert name.startswith("integrations/") or f": {name}\n" in configuration, name


@pytest.fixture
def hooks(monkeypatch):
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(str(DOCS / "site_assets"))
    yield importlib.import_module("hooks")
    sys.modules.pop("hooks", None)


class Page:
    """Stands for mkdocs' own."""

    def __init__(self, uri):
        self.file = type("File", (), {"src_uri": uri})


def test_links_out_of_the_site_lead_to_the_repository(hooks):
    from mkdocs.exceptions import PluginError

    config = type("Config", (), {"docs_dir": str(DOCS), "repo_url": "https://example.org/r"})
    text = "[a](../README.md) [b](../../csrc) [c](../method.md#x) [d](method.md)"
    rewritten = hooks.on_page_markdown(text, Page("integrations/a.md"), config)
    assert rewritten == (
        "[a](../README.md) [b](https://example.org/r/tree/main/csrc) [c](../method.md#x) [d](method.md)"
    )
    text = "[a](../README.md#install-and-see-it-work)"
    expected = "[a](https://example.org/r/blob/main/README.md#install-and-see-it-work)"
    assert hooks.on_page_markdown(text, Page("index.md"), config) == expected
    with pytest.raises(PluginError, match="leads to no file"):
        hooks.on_page_markdown("[a](../nothing.md)", Page("index.md"), config)


def test_integrations_are_found(hooks, tmp_path):
    config = type(
        "Config", (), {"docs_dir": str(tmp_path), "nav": [{"Home": "index.md"}, {"Integrations": []}]}
    )
    assert hooks.on_config(config).nav == [{"Home": "index.md"}]
    (tmp_path / "integrations").mkdir()
    (tmp_path / "integrations" / "ray.md").write_text("# Ray")
    config.nav = [{"Integrations": []}]
    assert hooks.on_config(config).nav == [{"Integrations": ["integrations/ray.md"]}]

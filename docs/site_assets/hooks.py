# SPDX-License-Identifier: Apache-2.0
"""What the site does beside mkdocs: links that leave docs/ lead to the repository; integrations are found."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

#: A Markdown link or image whose target goes up, out of a page's own folder.
_UPWARD = re.compile(r"(\]\()((?:\.\./)+[^)\s#]*)")


def on_config(config: Any) -> Any:
    """Fill the section "Integrations" with the pages that are there; without any it is left out."""
    pages = sorted(Path(config.docs_dir, "integrations").glob("*.md"))
    for entry in list(config.nav):
        if "Integrations" in entry:
            entry["Integrations"] = [f"integrations/{page.name}" for page in pages]
            if not pages:
                config.nav.remove(entry)
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Rewrite links to files of the repository that are not pages of the site."""
    root = Path(config.docs_dir).parent
    folder = posixpath.dirname(posixpath.join("docs", page.file.src_uri))

    def in_repository(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        if target.startswith("docs/"):
            return match[0]
        if target.startswith("..") or not (root / target).exists():
            raise PluginError(f"{page.file.src_uri}: the link {match[2]} leads to no file of the repository")
        kind = "tree" if (root / target).is_dir() else "blob"
        return f"{match[1]}{config.repo_url.rstrip('/')}/{kind}/main/{target}"

    return _UPWARD.sub(in_repository, markdown)

# SPDX-License-Identifier: Apache-2.0
"""A page as one HTML file: figures inside, no script, nothing fetched, legible on light and dark screens."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1a1a1a; --muted: #5c5c5c; --line: #d9d9d9; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16181c; --text: #e8e8e8; --muted: #a5a5a5; --line: #3a3d43; } }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.note, figcaption, footer { color: var(--muted); font-size: .9rem; }
figure { margin: 1rem 0; } figure div { display: flex; flex-wrap: wrap; gap: .6rem; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
div.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .7rem; text-align: right; white-space: pre; }
th { font-weight: 600; } td:first-child, th:first-child { text-align: left; }
"""

#: Forbids scripts, and everything that is not inside the page, to the browser.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

#: Characters of a cell; the rest is in a tooltip.
_CELL = 40


@dataclass(frozen=True)
class Picture:
    """A figure as PNG, and what it shows in words for those who do not see it."""

    png: bytes
    alternative: str

    @classmethod
    def of(cls, ax: Axes, alternative: str) -> Picture:
        """Draw the figure of Axes. Letters that its font lacks are boxes there; the alternative has them."""
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*[Gg]lyph .*missing")
            cast("Figure", ax.figure).savefig(buffer, format="png", dpi=110)
        return cls(buffer.getvalue(), alternative)


@dataclass(frozen=True)
class Table:
    """A header and rows of any values."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass
class Section:
    """A part of the page."""

    title: str
    caption: str = ""
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def page(title: str, lead: str, sections: Sequence[Section], footer: str) -> str:
    """The HTML of a page; every text is escaped.

    Example:
        >>> "&lt;script&gt;" in page("<script>", "", [], "")
        True
    """
    body = "\n".join(_section(section) for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">
<title>{_text(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_text(title)}</h1>
<p>{_text(lead)}</p>
{body}
<footer><p>{_text(footer)}</p></footer>
</body>
</html>
"""


def _text(text: object) -> str:
    """Escaped, and without characters that HTML or UTF-8 does not have."""
    plain = str(text).encode("utf-8", "replace").decode("utf-8")
    return escape("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in plain))


def _section(section: Section) -> str:
    parts = [f"<section>\n<h2>{_text(section.title)}</h2>"]
    if section.pictures:
        images = "\n".join(
            f'<img src="data:image/png;base64,{base64.b64encode(one.png).decode()}" '
            f'alt="{_text(one.alternative)}">'
            for one in section.pictures
        )
        parts.append(
            f"<figure>\n<div>\n{images}\n</div>\n<figcaption>{_text(section.caption)}</figcaption>\n</figure>"
        )
    elif section.caption:
        parts.append(f"<p>{_text(section.caption)}</p>")
    parts += [_table(table) for table in section.tables]
    parts += [f'<p class="note">{_text(note)}</p>' for note in section.notes]
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    header = "".join(f'<th scope="col">{_text(name)}</th>' for name in table.header)
    rows = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    return f'<div class="table"><table>\n<tr>{header}</tr>\n{rows}\n</table></div>'


def _cell(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
    if len(text) <= _CELL:
        return f"<td>{_text(text)}</td>"
    return f'<td title="{_text(text)}">{_text(text[: _CELL - 1])}…</td>'

# SPDX-License-Identifier: Apache-2.0
"""The version of a file's layout, its schema: what a reader says of a file that a newer diffhpo wrote."""

from __future__ import annotations

import re
from typing import Any

from diffhpo import __version__
from diffhpo.errors import DiffHPOError

#: The key under which every writer leaves its version, so that an older reader can say what to install.
WRITER = "diffhpo"

# What may stand in a command that is shown to a user: the file may come from anywhere.
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}((a|b|rc|\.post|\.dev)[0-9]{1,6})?")


def check_schema(
    found: Any, latest: int, place: object, *, writer: Any = None, error: type[DiffHPOError]
) -> int:
    """The schema of a file, if it can be read.

    Args:
        found: what the file says, a whole number from 1, as int or text.
        latest: the latest schema that this version reads; it reads all before, too.
        place: the file, for messages.
        writer: the version of diffhpo that the file says wrote it, None if it does not say.
        error: what is raised.

    Raises:
        DiffHPOError: of the class `error`. A later schema: the message has the file's, the latest that is
            read, and the command that installs what can read it. Anything else: the file is damaged.

    Example:
        >>> from diffhpo.errors import DataError
        >>> check_schema("1", 2, "a.json", error=DataError)
        1
        >>> try:
        ...     check_schema(3, 2, "a.json", writer="9.1.0", error=DataError)
        ... except DataError as error:
        ...     print(str(error).partition(";")[0], "...", str(error).rpartition(": ")[2])
        a.json has schema 3, written by diffhpo 9.1.0 ... pip install --upgrade "diffhpo>=9.1.0"
    """
    text = found if isinstance(found, str) else str(found) if type(found) is int else ""
    if not re.fullmatch("[1-9][0-9]{0,8}", text, re.ASCII):
        raise error(f"{place} is damaged: its schema is {found!r:.40}; a whole number from 1 is needed")
    schema = int(text)
    if schema > latest:
        known = isinstance(writer, str) and _VERSION.fullmatch(writer) is not None
        # A file may say an old version, by hand or from a development tree: this version cannot read it.
        newer = known and _release(writer) > _release(__version__)
        wanted = f">={writer}" if newer else f">{__version__}"
        raise error(
            f"{place} has schema {schema}, written by {f'diffhpo {writer}' if known else 'a newer diffhpo'}; "
            f"this is diffhpo {__version__}, which reads up to schema {latest}: "
            f'pip install --upgrade "diffhpo{wanted}"'
        )
    return schema


def _release(version: str) -> list[int]:
    match = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return [int(part) for part in match[0].split(".")] if match else []

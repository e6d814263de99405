# SPDX-License-Identifier: Apache-2.0
"""One HTML page of an Optuna study: its trials, what the model makes of them, and what to try next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffhpo.process.lazy_import import lazy_exports

if TYPE_CHECKING:
    from diffhpo.study_page.page import study_page, write_study_page
    from diffhpo.study_page.study_file import open_study

__all__ = ["open_study", "study_page", "write_study_page"]

__getattr__, __dir__ = lazy_exports(
    __name__, {"open_study": "study_file", "study_page": "page", "write_study_page": "page"}
)

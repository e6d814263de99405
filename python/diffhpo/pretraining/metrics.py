# SPDX-License-Identifier: Apache-2.0
"""`metrics.csv` of a pretraining run: means of the losses, one row every so many steps."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffhpo.errors import RunError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically

COLUMNS = ("step", "surprise", "noise_error", "gradient_norm", "learning_rate", "seconds")


class Metrics:
    """Sums losses, and keeps rows until they are on the disk.

    Args:
        path: of the file; made by the first `save`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[list[float]] = []
        self._sums, self._summed = torch.zeros(3), 0

    def add(self, losses: Tensor) -> None:
        """The losses of one step.

        Args:
            losses: (3,) surprise, noise error and norm of the gradient.
        """
        self._sums += losses
        self._summed += 1

    def end_row(self, step: int, rate: float, seconds: float) -> list[float]:
        """A row of the means of what was added since the last one; they are returned."""
        means: list[float] = (self._sums / self._summed).tolist()
        self._rows.append([step, *means, rate, seconds])
        self._sums, self._summed = torch.zeros(3), 0
        return means

    def cut(self, step: int) -> None:
        """Drop rows after `step` from the file: steps that will be done again write them again.

        Raises:
            RunError: if the file cannot be read or written anew.
        """
        if not self.path.exists():
            return
        waiting = {str(row[0]) for row in self._rows}

        def stands(line: str) -> bool:
            number = line.split(",", 1)[0]
            whole = line.endswith("\n") and number.isdigit()
            return whole and int(number) <= step and number not in waiting

        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            text = "".join([",".join(COLUMNS) + "\n", *filter(stands, lines)])
            write_atomically(self.path, text.encode())
        except OSError as error:
            raise RunError(f"{self.path} cannot be written anew: {reason_and_remedy(error)}") from error

    def save(self) -> None:
        """Append the rows that are not on the disk yet.

        Raises:
            RunError: if the disk refuses them; they are kept, and `cut` removes what it took of them.
        """
        lines = [] if self.path.exists() else [",".join(COLUMNS)]
        lines += [",".join([str(row[0]), *(f"{value:.6g}" for value in row[1:])]) for row in self._rows]
        rest = "".join(line + "\n" for line in lines).encode()
        try:
            with open(self.path, "ab", buffering=0) as file:
                while (
                    rest
                ):  # once; a disk that is nearly full takes a part, and the next write tells the reason
                    rest = rest[file.write(rest) :]
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {reason_and_remedy(error)}") from error
        self._rows = []

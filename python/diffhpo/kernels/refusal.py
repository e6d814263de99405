# SPDX-License-Identifier: Apache-2.0
"""What the native module refuses, as an InputError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffhpo.errors import DiffHPOError, InputError


@contextmanager
def refusal(who: str) -> Iterator[None]:
    """Within it, what a binding, an operator's schema or DLPack refuses is an InputError.

    Args:
        who: is said to have refused its input.

    Raises:
        InputError: that says what did not fit.

    Example:
        >>> with refusal("the encoder"):
        ...     raise ValueError("packed has rank 2; 1 is needed")
        Traceback (most recent call last):
        ...
        diffhpo.errors.InputError: the encoder refused its input: packed has rank 2; 1 is needed
    """
    try:
        yield
    except DiffHPOError:
        raise
    # RuntimeError: what does not fit a schema, or a tensor without memory, of the meta device for example.
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise InputError(f"{who} refused its input: {error}") from error

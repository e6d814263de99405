# SPDX-License-Identifier: Apache-2.0
"""Every error and warning that diffhpo raises, in one tree."""


class DiffHPOError(Exception):
    """Root of every error raised by diffhpo."""


class InputError(DiffHPOError, ValueError):
    """An argument has a wrong shape, type or value; the message names it and says what is accepted."""


class SpaceError(InputError):
    """A parameter value lies outside its search space, or the space itself is not well formed."""


class DataError(DiffHPOError):
    """A benchmark file is missing, truncated or not what its checksum says; the message names the file."""


class CheckpointError(DiffHPOError):
    """A checkpoint is corrupt, of another version or of another network; nothing of it was loaded."""


class BackendError(DiffHPOError, RuntimeError):
    """The requested executor is not there or failed while running."""


class DependencyError(DiffHPOError, ImportError):
    """An optional package is needed for this call; the message has the pip command that brings it."""


class InterpreterError(DiffHPOError, ImportError):
    """The package was imported in a sub-interpreter, where its native module cannot work."""


class RunError(DiffHPOError, RuntimeError):
    """A run's directory or file is in use, unwritable or belongs to another configuration."""


class DiffHPOWarning(UserWarning):
    """Root of every warning issued by diffhpo."""


class InputWarning(DiffHPOWarning):
    """An input was usable only after a correction, which the message states."""


class ExhaustedWarning(DiffHPOWarning):
    """A finite space has fewer new configurations than were asked for."""


class AllFailedWarning(DiffHPOWarning):
    """Every trial so far failed, so suggestions come from the initial design."""


class DimensionWarning(DiffHPOWarning):
    """A space has more columns than the pretrained model takes; the message says how it is searched."""


class IndependentSamplingWarning(DiffHPOWarning):
    """A parameter's value was drawn uniformly, without the model; the message says why."""


class ExecutorWarning(DiffHPOWarning):
    """`executor="auto"` had to leave the native kernels; the message says why and what that costs."""

# SPDX-License-Identifier: Apache-2.0
"""The faults that the package answers for: number -> (what goes wrong, what the user gets)."""

PROMISES = (
    "The same inputs, seed and version give identical suggestions on one executor, for any number of "
    "threads, any batch split and any process.",
    "CPU and CUDA agree within a stated bound ([numerics](numerics.md)); their noise has the same bits.",
    "Every suggestion is inside the space and valid.",
    "`ask(n)` gives n distinct configurations, or says how many there are.",
    "Nothing that was told is lost: with a path, it is on disk when `run` or `minimize` goes on; a "
    "benchmark's journal has each run when it is finished.",
    "No pickle is read, and no network is used but by `diffhpo data fetch`.",
    "Nothing falls back in silence: an error, or a warning class of `diffhpo.errors`, says what is done "
    "instead.",
    "An error names the argument, what came, what is accepted and what to do, and leaves the object usable.",
    "Arrays that are given are never changed.",
)

ROWS: dict[int, tuple[str, str]] = {
    1: ("nan among the values", "InputError with its index; `tell(failed=True)` is the way to say it"),
    2: ("infinite values", "clipped to the best or worst finite value, with an InputWarning"),
    3: ("all trials failed", "suggestions spread over the space, with an AllFailedWarning"),
    4: ("configurations that are not finite or outside [0, 1]", "InputError with row, column and value"),
    5: ("an empty history", "a scrambled Sobol sequence"),
    6: ("one observation", "suggestions as ever"),
    7: ("constant values", "suggestions as ever"),
    8: ("values of 1e-300, 1e300, denormals, one huge outlier", "finite, valid suggestions"),
    9: ("a configuration told twice", "kept once with equal values, as repeats under noise with others"),
    10: ("1, 32 and more than 32 columns", "1 to 32 as ever; more by HistoryPolicy, with a DimensionWarning"),
    11: ("10,000 trials", "the work of a suggestion stays that of 100; what is read is a documented choice"),
    12: ("an empty pool", "InputError"),
    13: ("a pool of one", "0, without the model"),
    14: ("a large pool", "read in parts, with the same answer"),
    15: ("ask(0), ask(-1), ask of thousands", "[]; InputError; distinct configurations"),
    16: ("more asked for than the space has", "what there is, with an ExhaustedWarning"),
    17: ("a value outside its parameter", "SpaceError with the accepted values"),
    18: ("inactive conditional parameters", "absent from configurations; refused where they are given"),
    19: (
        "arrays of other types and layouts, tensors with gradients",
        "converted at the edge, left unchanged",
    ),
    20: ("complex, object, string and ragged arrays", "InputError"),
    21: ("tensors on another device", "taken from it at the edge; a kernel refuses mixed devices"),
    22: ("CUDA asked for and not there", "BackendError with the reason; imports never fail"),
    23: ("GPU memory runs out", "BackendError, never a wrong result"),
    24: (
        "weights that are not finite, a sample that diverges",
        "CheckpointError; BackendError with the step",
    ),
    25: ("damaged checkpoints: bits, lengths, schema, shapes, headers", "CheckpointError; nothing is loaded"),
    26: ("a pickle in the place of a checkpoint", "refused; nothing in it runs"),
    27: ("a damaged, truncated or unreachable download", "the next mirror; DataError with both checksums"),
    28: ("a cache that cannot be written", "DataError that names DIFFHPO_CACHE"),
    29: (
        "kill -9 in a benchmark, a training run, `minimize`",
        "what was finished is kept; report, weights and history after resuming are the same",
    ),
    30: (
        "the disk is full or read-only, a path leads nowhere",
        "an error with the path and what to do; the file before stays, no other is left, a next try succeeds",
    ),
    31: (
        "two processes on one run directory or file",
        "the second is told who has it; a process that died has nothing",
    ),
    32: ("many workers on one storage", "no trial is lost, no configuration comes twice"),
    33: ("unknown ids, a second value for a trial", "InputError; an equal value again only warns"),
    34: ("fork, after threads were used", "the child's suggestions are the same; after CUDA, torch's error"),
    35: (
        "1, 2 and 16 threads; batches split in any way; what the caller set of torch and NumPy",
        "the same bits; settings and global generators stay as they were",
    ),
    36: (
        "Ctrl-C at any line of a study or of a run with workers; Ctrl-C, a handler that raises, or the "
        "interpreter's end in a native call or an ask",
        "KeyboardInterrupt, or what was raised; the state is what it was; no crash, nothing that hangs",
    ),
    37: (
        "the native module called with anything, or imported in a sub-interpreter",
        "an exception, never a crash",
    ),
    38: ("time", "the work of a suggestion is bounded by its settings, whatever it is told"),
    39: ("xgboost absent", "all but the calls that need it work; those name the command that brings it"),
    40: ("runs missing from a comparison", "listed, and refused unless they are allowed"),
}

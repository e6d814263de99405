# SPDX-License-Identifier: Apache-2.0
"""Files of named tensors and a little text: safetensors, written atomically, checked when read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from diffhpo import __version__
from diffhpo.arguments.file_path import file_path
from diffhpo.errors import CheckpointError
from diffhpo.files.atomic_write import reason_and_remedy, write_atomically
from diffhpo.files.file_schema import WRITER, check_schema
from diffhpo.files.json_text import parse_json
from diffhpo.files.regular_file import read_regular_file
from diffhpo.process.drawn_from import not_drawn

#: A file is read whole, and once: a mapped one would follow every later change, and its end ends the process.
MOST_BYTES = 4 << 30
#: Far above any model of this package, which have some hundred.
MOST_TENSORS = 4096
#: Parsed, a header takes up to twenty times its bytes; the largest one so far has some hundred kilobytes.
MOST_HEADER_BYTES = 32 << 20
#: Entry of the text with the checksum of all else; files of before it have none.
CHECKSUM = "sha256"
_DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
#: Sizes of a module that count its parts and not its numbers.
_COUNTS = ("blocks", "layers", "predictor_layers")

Module = TypeVar("Module", bound=nn.Module)


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: dict[str, str]
) -> None:
    """Write a file; a crash at any moment leaves either the old one or the new one.

    Raises:
        InputError: if `path` is no path.
        CheckpointError: if the file cannot be written, or could not be read again; the message names it.
    """
    target = file_path(path)
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    metadata = {**metadata, WRITER: __version__}
    data = save(kept, {**metadata, CHECKSUM: checksum(kept, metadata)})
    if len(kept) > MOST_TENSORS or int.from_bytes(data[:8], "little") > MOST_HEADER_BYTES:
        raise CheckpointError(
            f"{path} was not written: it would have {len(kept)} tensors (at most {MOST_TENSORS}) and "
            f"{int.from_bytes(data[:8], 'little')} bytes of text (at most {MOST_HEADER_BYTES})"
        )
    try:
        write_atomically(target, data)
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = reason_and_remedy(error) if isinstance(error, OSError) else str(error)
        raise CheckpointError(f"{path} could not be written and is as it was: {reason}") from error


def read_tensors(
    path: str | os.PathLike[str], *, kind: str, schema: int, described: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the text of a file; pickles are never read.

    Args:
        kind: what the file must call its "format".
        schema: the latest layout that can be read.
        described: what the file should be, in messages.

    Raises:
        InputError: if `path` is no path.
        CheckpointError: if the file is missing, truncated, corrupt, of another format or a later schema, or
            holds values that are not finite.
    """
    source = file_path(path)
    try:
        data = read_regular_file(source, MOST_BYTES)
        metadata = _header(data).get("__metadata__", {})
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is no object")
        # Before any tensor is read: a later schema may have types that are not known here.
        _check_kind(path, metadata, kind, schema, described)
        tensors = load(data)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (SafetensorError, OSError, ValueError, LookupError, RuntimeError, AssertionError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    for name, value in tensors.items():
        if value.dtype not in _DTYPES:
            raise CheckpointError(f"{path}: tensor {name} is of {value.dtype}, which is not read")
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: tensor {name} holds values that are not finite")
    stated = metadata.pop(CHECKSUM, None)
    if stated is not None and stated != (is_now := checksum(tensors, metadata)):
        raise CheckpointError(
            f"{path} is damaged: its sha256 was {stated} when it was written, and is {is_now}"
        )
    return tensors, metadata


def _header(data: bytes) -> dict[str, Any]:
    """The header, whose layout safetensors checks; it lets keys come twice.

    Raises:
        ValueError: if it is not one.
    """
    size = int.from_bytes(data[:8], "little")
    if not 0 < size <= min(len(data) - 8, MOST_HEADER_BYTES):
        raise ValueError(f"its header would have {size} bytes; the file has {len(data)}")
    header = parse_json(data[8 : 8 + size])
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    if len(header) > MOST_TENSORS:
        raise ValueError(f"it has {len(header)} tensors; at most {MOST_TENSORS} are read")
    return header


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of names, types, shapes and bytes of tensors and of a text, whatever their order.

    Example:
        >>> checksum({"a": torch.zeros(2)}, {"step": "1"})[:16]
        '8f19ef5bed43304a'
    """
    names = sorted(tensors)
    facts = [[name, str(tensors[name].dtype), list(tensors[name].shape)] for name in names]
    digest = hashlib.sha256(json.dumps([sorted(metadata.items()), facts]).encode())
    for name in names:
        if tensors[name].numel():
            digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_kind(path: object, metadata: Mapping[str, str], kind: str, schema: int, described: str) -> None:
    if metadata.get("format") != kind:
        raise CheckpointError(f"{path} is a safetensors file, but not {described}")
    check_schema(metadata.get("schema"), schema, path, writer=metadata.get(WRITER), error=CheckpointError)


def refuse_unknown(path: object, tensors: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> None:
    """Refuse tensors that no part of the file's schema is made of: to leave them out could change results.

    Raises:
        CheckpointError: naming the file and the first of them.
    """
    unknown = sorted(name for name in tensors if not name.startswith(prefixes))
    if unknown:
        raise CheckpointError(
            f"{path} is damaged: it has {len(unknown)} tensors that its schema does not know, "
            f"first {unknown[0]!r:.80}"
        )


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose name begins with a prefix, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def build(kind: type[Module], config: Any, state: Mapping[str, Tensor], path: object) -> Module:
    """A module of the sizes that a file states, with the state that it holds.

    Nothing is made before the sizes are found to be those of the tensors, so a small file cannot ask for a
    large module.

    Raises:
        CheckpointError: if sizes and state do not fit; the message names the file.
        TypeError, ValueError: if `config` is not what the module takes.
    """
    if not isinstance(config, dict) or not all(type(size) in (int, bool) for size in config.values()):
        raise ValueError(f"sizes are {str(config)[:200]}; an object of whole numbers is needed")
    largest = max((size for value in state.values() for size in value.shape), default=0)
    for name, size in config.items():
        most = len(state) if name in _COUNTS else largest
        if size > most:
            raise CheckpointError(
                f"{path} does not fit the shapes that it states: {name} is {size}, its tensors have {most}"
            )
    with torch.device("meta"), not_drawn():
        shapes = {name: value.shape for name, value in kind(**config).state_dict().items()}
    for name in sorted({*shapes, *state}):
        stated, found = (
            None if shape is None else tuple(shape)
            for shape in (shapes.get(name), state[name].shape if name in state else None)
        )
        if stated != found or not state[name].is_floating_point():
            raise CheckpointError(
                f"{path} does not fit the shapes that it states: {name} is {found} and "
                f"{state[name].dtype if found is not None else 'not there'}; floats of {stated} are needed"
            )
    with not_drawn():
        module = kind(**config)
    module.load_state_dict(state)
    return module

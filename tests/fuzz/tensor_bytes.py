# SPDX-License-Identifier: Apache-2.0
"""Files of tensors as a fuzzer changes them well: the header as text, its length computed.

A line of JSON and then the tensors' bytes; what does not begin with "{" is a whole file.
"""

from __future__ import annotations

import json
import struct

from diffhpo.model.tensor_file import CHECKSUM


def as_input(file: bytes) -> bytes:
    """A file's bytes as an input; without its checksum, which no change would pass."""
    size = struct.unpack("<Q", file[:8])[0]
    header = json.loads(file[8 : 8 + size])
    header["__metadata__"].pop(CHECKSUM, None)
    return json.dumps(header).encode() + b"\n" + file[8 + size :]


def as_file(data: bytes) -> bytes:
    """An input as a file's bytes."""
    if not data.startswith(b"{"):
        return data
    header, _, body = data.partition(b"\n")
    return struct.pack("<Q", len(header)) + header + body

# SPDX-License-Identifier: Apache-2.0
"""One reverse loop on a CUDA device: its memory, its launch and, apart from it, the wait for its status."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from diffhpo.errors import BackendError

_NOT_DIVERGED = torch.iinfo(torch.int64).max


class CudaLoop:
    """All that a loop reads and writes, allocated once.

    `launch` only queues work on the current stream: it neither allocates nor waits, so it can be captured in
    a `torch.cuda.CUDAGraph` and replayed, on a stream that waits for the one the loop was made on. Between
    replays the inputs may be overwritten in place, except `jobs`, which was copied to the device, and what
    did not start at a multiple of 16 bytes; the result is in `x` each time.
    """

    def __init__(
        self,
        native: ModuleType,
        x: Tensor,
        arguments: list[Tensor],
        jobs: list[Tensor],
        guidance: float,
        clip: bool,
        precision: str,
        coded: Tensor,
    ) -> None:
        """Take the tensors over; `ops.prepare_cuda` makes one.

        Args:
            native: the native module, with its CUDA kernels.
            x: (N, d) float32 on the device, the result.
            arguments: packed, step_conditioning, job_conditioning, coefficients and keys, on the device.
            jobs: counts, seeds and first_candidates, on the CPU.
            guidance, clip: as in `DenoiseProblem`.
            precision: "fp32" or "bf16".
            coded: `ops.encode`'s result at bf16; not read at fp32.
        """
        counts, seeds, first_candidates = jobs
        starts = torch.cumsum(counts, 0) - counts
        self.x = x
        # The bf16 kernel copies conditioning 16 bytes at a time, and a view may begin anywhere.
        self._arguments = [a if a.data_ptr() % 16 == 0 else a.clone() for a in arguments]
        self._jobs = jobs
        self._table = torch.stack([starts, seeds, first_candidates], dim=1).to(x.device)
        self._status = torch.empty(1, dtype=torch.int64, device=x.device)
        self._options = (guidance, clip, precision, coded)
        self._native = native

    def launch(self) -> None:
        """Queue the loop on the current stream of `x`'s device.

        Raises:
            BackendError: if the device or its driver refuses.
            TypeError, ValueError: if an argument does not fit.
        """
        stream = torch.cuda.current_stream(self.x.device).cuda_stream
        with torch.cuda.device(self.x.device):
            self._status.fill_(_NOT_DIVERGED)
        try:
            self._native.denoise_cuda(
                self.x, self._status, *self._arguments, *self._jobs, self._table, *self._options, stream
            )
        except RuntimeError as error:
            raise BackendError(f"the CUDA reverse loop failed: {error}; see `diffhpo doctor`") from error

    def diverged_step(self) -> int:
        """Wait for the loop; the first step at which a sample was not finite, or -1."""
        step = int(self._status)
        return -1 if step == _NOT_DIVERGED else step


def arrange(native: ModuleType, packed: Tensor, dim: int, width: int, blocks: int) -> Tensor:
    """`packed` as the bf16 kernels read it, made on its device; `ops.encode` has the contract."""
    size = native.fragment_bytes(dim, width, blocks)
    if size == 0:
        raise BackendError(
            f"the CUDA bf16 kernels do not cover width {width} with {dim} dimensions; they cover widths 32, "
            "64, 96 and 128 and up to 64 dimensions. Use precision='fp32'"
        )
    fragments = torch.empty(size, dtype=torch.uint8, device=packed.device)
    stream = torch.cuda.current_stream(packed.device)
    try:
        native.arrange_cuda(fragments, packed.contiguous(), dim, width, blocks, stream.cuda_stream)
    except RuntimeError as error:
        raise BackendError(f"the weights could not be arranged: {error}; see `diffhpo doctor`") from error
    stream.synchronize()  # callers keep them, and read them from whatever stream is current then
    return fragments

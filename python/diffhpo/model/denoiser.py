# SPDX-License-Identifier: Apache-2.0
"""The Denoiser: runs the reverse process for many candidates at once, on a chosen executor."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from diffhpo.arguments.finite_number import finite_number
from diffhpo.errors import InputError
from diffhpo.kernels import reference
from diffhpo.kernels.executors import PRECISIONS as PRECISIONS
from diffhpo.kernels.executors import choose_executor
from diffhpo.model.network import NO_FLAG, Network
from diffhpo.model.packed_network import PackedNetwork
from diffhpo.model.reverse_process import ReverseProcess
from diffhpo.model.run_context import Context, RunContext, embed_context
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.transformer import Transformer
from diffhpo.process.torch_defaults import torch_defaults

_KEPT_PROCESSES = 8


class Denoiser:
    """Draws configurations: algorithm 2 of Ho et al. (2020), arXiv 2006.11239, or DDIM (Song et al. 2021).

    Candidate i of a seed is the same whatever the batch it is drawn in: bit for bit on a native executor,
    up to the rounding of matrix products on the reference. All executors use the same noise, which
    `diffhpo.kernels.reference.noise` gives.

    Args:
        network: predicts the noise. It may be trained further between calls.
        schedule: the variance schedule; 1000 linear steps where it is left out.
        transformer: embeds contexts given as trials; without it a context is given embedded.

    Raises:
        InputError: if `transformer` and `network` do not fit together.

    Example:
        >>> from diffhpo.model.network import Network
        >>> denoiser = Denoiser(Network(dim=3), NoiseSchedule.linear(50))
        >>> denoiser.sample(None, 4, steps=50, executor="reference").shape
        torch.Size([4, 3])
    """

    def __init__(
        self, network: Network, schedule: NoiseSchedule | None = None, transformer: Transformer | None = None
    ) -> None:
        if transformer is not None and transformer.width != network.context_width:
            raise InputError(
                f"transformer embeds to width {transformer.width}, the network's context_width is "
                f"{network.context_width}; make them equal"
            )
        self.network = network
        self.schedule = NoiseSchedule.linear() if schedule is None else schedule
        self.transformer = transformer
        self._packed = PackedNetwork(network)
        self._processes: dict[tuple[object, ...], ReverseProcess] = {}

    def sample(
        self,
        context: Context,
        n: int,
        *,
        improve: bool | None = True,
        steps: int | Sequence[int] = 1000,
        seed: int = 0,
        executor: str = "auto",
        method: str = "ddpm",
        guidance: float = 0.0,
        clip: bool = True,
        threads: int | None = None,
        precision: str = "fp32",
        first_candidate: int = 0,
        stop_after: int | None = None,
    ) -> Tensor:
        """Draw `n` configurations for one context.

        Args:
            context: the evaluated trials as (x (M, d) in [0, 1], y (M,)) or a ContextBatch of one (both need
                a transformer); or already embedded, as a pooled (context_width,) vector, a ContextEmbedding
                of one or, for a network with cross-attention, (M, context_width) tokens (its pooled vector
                is zero then); or None: the empty context, the zero vector where there is no transformer.
            n: number of candidates, 0 or more.
            improve: the flag I; None withholds it.
            steps: how many timesteps to visit, or a strictly decreasing list of them; at most len(schedule).
            seed: in [0, 2^64).
            executor: "auto", "reference", "cpu", "cuda", or one build of the CPU kernel: "cpu-portable",
                "cpu-avx2", "cpu-avx512". "auto" is the native executor of the network's device.
            method: "ddpm" (ancestral) or "ddim" (deterministic given x_T).
            guidance: w of classifier-free guidance, eps = (1 + w) eps(flag) - w eps(flag withheld); Ho and
                Salimans (2022), arXiv 2207.12598, eq. 6. 0 is no guidance.
            clip: clip every estimate of x_0 to [-1, 1]. Without it the result may leave [0, 1].
            threads: threads of the CPU executor; torch.get_num_threads() where it is left out.
            precision: of the products in the residual blocks: "fp32"; or "bf16" or "int8", about two to
                three times as fast on processors that have the instructions (`diffhpo doctor` lists them). On
                CUDA "bf16" takes the tensor cores, for widths 32, 64, 96, 128 and up to 64 dimensions.
                docs/numerics.md says how far their samples are from those of fp32.
                A network with cross-attention runs at "fp32" only.
            first_candidate: number of the first candidate: rows k onwards of a larger draw are drawn alone
                with first_candidate=k.
            stop_after: leave the loop after so many steps, 0 (the initial noise) to all of them; a picture of
                the whole trajectory is made of such calls. Steps that are run have the bits of a full loop.

        Returns:
            (n, d) float32 on the network's device, in [0, 1] (where `clip` holds, and all steps were run).

        Raises:
            InputError: on a bad argument.
            BackendError: if the executor is not there, a parameter is not finite, or a sample diverges.
        """
        return self.sample_jobs(
            [context],
            [n],
            seeds=[seed],
            improve=improve,
            steps=steps,
            executor=executor,
            method=method,
            guidance=guidance,
            clip=clip,
            threads=threads,
            precision=precision,
            first_candidates=[first_candidate],
            stop_after=stop_after,
        )[0]

    @torch_defaults()
    @torch.no_grad()
    def sample_jobs(
        self,
        contexts: Sequence[Context],
        counts: Sequence[int],
        *,
        seeds: Sequence[int],
        improve: bool | Sequence[bool | None] | None = True,
        steps: int | Sequence[int] = 1000,
        executor: str = "auto",
        method: str = "ddpm",
        guidance: float = 0.0,
        clip: bool = True,
        threads: int | None = None,
        precision: str = "fp32",
        first_candidates: Sequence[int] | None = None,
        stop_after: int | None = None,
    ) -> list[Tensor]:
        """Draw configurations for several contexts in one call: `sample` of each, in any order.

        Args:
            contexts: J contexts, each as in `sample`.
            counts: J numbers of candidates.
            seeds: J seeds.
            improve: one flag for all, or J flags.
            first_candidates: J numbers; zeros where they are left out.
            steps, executor, method, guidance, clip, threads, precision, stop_after: as in `sample`.

        Returns:
            J tensors (counts[j], d), each as `sample` returns it.

        Raises:
            InputError: on a bad argument.
            BackendError: as `sample` does.
        """
        jobs = len(contexts)
        flags = list(improve) if isinstance(improve, Sequence) else [improve] * jobs
        firsts = [0] * jobs if first_candidates is None else list(first_candidates)
        lengths = {"counts": len(counts), "seeds": len(seeds), "improve": len(flags)}
        lengths["first_candidates"] = len(firsts)
        for name, length in lengths.items():
            if length != jobs:
                raise InputError(f"{name} has {length} entries for {jobs} contexts; give one for each")
        sizes = [_count("n", n) for n in counts]
        firsts = [_count("first_candidate", first) for first in firsts]
        if any(first + size >= 2**63 for first, size in zip(firsts, sizes, strict=True)):
            raise InputError("first_candidate + n must stay below 2^63")
        guidance = finite_number(guidance, "guidance")
        if threads is not None and _count("threads", threads) == 0:
            raise InputError("threads is 0; give at least 1, or None")
        flag_rows = [_flag(flag) for flag in flags]
        if guidance and NO_FLAG in flag_rows:
            raise InputError("guidance strengthens the flag, but improve is None; set it, or guidance=0")
        seed_bits = [reference.signed_seed(seed) for seed in seeds]
        process = self._process(steps, method)
        last = _last_step(stop_after, len(process.timesteps))
        embedded = [embed_context(context, self.network, self.transformer) for context in contexts]
        chosen = choose_executor(
            executor,
            device=self.network.input.weight.device,
            cross_attention=self.network.cross_attention,
            precision=precision,
        )
        self._packed.refresh()
        if chosen.name == "reference":
            runs = zip(embedded, flag_rows, sizes, seed_bits, firsts, strict=True)
            shortened = process.first_steps(last)
            return [self._sample_reference(*run, shortened, guidance, clip) for run in runs]
        problem = self._packed.problem(
            process,
            flag_rows,
            [context.pooled for context in embedded],
            sizes,
            seed_bits,
            firsts,
            guidance,
            bool(clip),
            [context.tokens for context in embedded],
        ).first_steps(last)
        threads = torch.get_num_threads() if threads is None else threads
        x = chosen.denoise(problem, self._packed.weights, threads, self._packed.coded(precision))
        return [_to_unit(part) for part in x.split(sizes)]

    def _process(self, steps: int | Sequence[int], method: str) -> ReverseProcess:
        """The process of these steps; kept, because deriving a thousand takes longer than one candidate."""
        chosen = steps if isinstance(steps, int) else self.schedule.timesteps(steps)
        key = (self.schedule, chosen if isinstance(chosen, int) else tuple(chosen), method)
        process = self._processes.get(key)
        if process is None:
            process = ReverseProcess.of(self.schedule, chosen, method)
            if len(self._processes) >= _KEPT_PROCESSES:
                self._processes.clear()
            self._processes[key] = process
        return process

    def _sample_reference(
        self,
        context: RunContext,
        flag: int,
        n: int,
        seed: int,
        first: int,
        process: ReverseProcess,
        guidance: float,
        clip: bool,
    ) -> Tensor:
        network, weight = self.network, self.network.input.weight
        device, dtype = weight.device, weight.dtype

        def rows(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device, dtype).expand(n, *value.shape)

        pooled, tokens = rows(context.pooled), rows(context.tokens)
        flags, withheld = torch.full((n,), flag, device=device), torch.full((n,), NO_FLAG, device=device)

        def predict(x: Tensor, step: int) -> Tensor:
            t = process.timesteps[step].to(device).expand(n)
            eps: Tensor = network(x, t, flags, pooled, tokens)
            if guidance:
                eps = eps * (1.0 + guidance) - network(x, t, withheld, pooled, tokens) * guidance
            return eps

        x = reference.reverse_loop(
            predict,
            process.coefficients.to(dtype),
            process.keys.to(device),
            torch.full((n,), seed, device=device),
            torch.arange(first, first + n, device=device),
            network.dim,
            clip=clip,
        )
        return _to_unit(x)


def _to_unit(x: Tensor) -> Tensor:
    return x.add(1.0).div_(2.0).float()


def _flag(improve: bool | None) -> int:
    if improve is None:
        return NO_FLAG
    if improve not in (0, 1):
        raise InputError(f"improve is {improve!r}; accepted: True, False, None")
    return int(improve)


def _last_step(stop_after: int | None, steps: int) -> int:
    if stop_after is None:
        return steps
    last = _count("stop_after", stop_after)
    if last > steps:
        raise InputError(f"stop_after is {last}; the loop has {steps} steps, so 0 to {steps} is accepted")
    return last


def _count(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}; an integer, 0 or more, is needed") from None
    if number < 0:
        raise InputError(f"{name} is {number}; an integer, 0 or more, is needed")
    return number

# SPDX-License-Identifier: Apache-2.0
"""The Scorer: trials and candidates in, predicted distributions out, on a chosen executor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffhpo.errors import BackendError, InputError
from diffhpo.kernels import attention
from diffhpo.kernels.executors import Executor, choose_executor
from diffhpo.model.bar_distribution import BarDistribution
from diffhpo.model.packed_attention import PackedPredictor, PackedTransformer
from diffhpo.model.predictor import Predictor
from diffhpo.model.run_context import Context, float64_tensor, single_context
from diffhpo.model.transformer import ContextBatch, ContextEmbedding, Transformer


class Scorer:
    """Predicts the values of candidates from trials: Transformer, then Predictor, on one executor.

    On a native executor the prediction for a candidate has the same bits whatever other candidates and
    contexts it is made with, in which order, and whatever the number of threads; on the reference it is the
    same up to the rounding of matrix products.

    Args:
        predictor: maps candidates and an embedded context to distributions.
        transformer: embeds the trials. Both may be trained further between calls.

    Raises:
        InputError: if the two do not fit together.

    Example:
        >>> from diffhpo.model import Predictor, Transformer
        >>> scorer = Scorer(Predictor(dim=2), Transformer(dim=2))
        >>> trials = torch.rand(7, 2), torch.rand(7)
        >>> scorer.predict(trials, torch.rand(5, 2), executor="reference").mean.shape
        torch.Size([5])
    """

    def __init__(self, predictor: Predictor, transformer: Transformer) -> None:
        if predictor.context_width != transformer.width or predictor.dim != transformer.dim:
            raise InputError(
                f"predictor has dim={predictor.dim}, context_width={predictor.context_width}; transformer "
                f"has dim={transformer.dim}, width={transformer.width}: make them equal"
            )
        self.predictor, self.transformer = predictor, transformer
        self._packed_predictor = PackedPredictor(predictor)
        self._packed_transformer = PackedTransformer(transformer)

    def predict(
        self, context: Context, x: Tensor, *, executor: str = "auto", threads: int | None = None
    ) -> BarDistribution:
        """The predicted distribution of every candidate's value.

        Args:
            context: the evaluated trials as (x (M, d) in [0, 1], y (M,)), larger y better, or a ContextBatch
                of one; None or M = 0 is the empty context; or a ContextEmbedding of one.
            x: (N, d) candidates in [0, 1], N may be 0.
            executor: "auto", "reference", "cpu", or one build of the CPU kernels: "cpu-portable", "cpu-avx2",
                "cpu-avx512". "auto" is "cpu" for a model on the CPU, and the reference on another device.
            threads: threads of the CPU executor; torch.get_num_threads() where it is left out.

        Returns:
            Batch shape (N,), of y standardised within the context; see `BarDistribution.affine`.

        Raises:
            InputError: on a bad argument.
            BackendError: if the executor is not there, or a parameter or prediction is not finite.
        """
        return self.predict_jobs([context], [x], executor=executor, threads=threads)[0]

    @torch.no_grad()
    def predict_jobs(
        self,
        contexts: Sequence[Context],
        candidates: Sequence[Tensor],
        *,
        executor: str = "auto",
        threads: int | None = None,
    ) -> list[BarDistribution]:
        """`predict` for J contexts of any sizes, each with candidates of its own, in one call.

        Args:
            contexts: J contexts, each as in `predict`.
            candidates: J tensors (N_j, d) in [0, 1].

        Returns:
            J distributions, each as `predict` returns it.

        Raises:
            InputError: on a bad argument.
            BackendError: as `predict` does.
        """
        if len(candidates) != len(contexts):
            raise InputError(f"candidates has {len(candidates)} entries for {len(contexts)} contexts")
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise InputError(f"threads is {threads!r}; an integer, 1 or more, is needed, or None")
        rows = [self._checked(x, index) for index, x in enumerate(candidates)]
        singles = [single_context(context, self.transformer) for context in contexts]
        device = self.predictor.input.weight.device
        if self.transformer.anchor.device != device:
            raise InputError(f"predictor is on {device}, transformer on {self.transformer.anchor.device}")
        chosen = choose_executor(executor, device=device, kernels=("cpu",))
        if chosen.name == "reference":
            logits = [self._reference(context, x) for context, x in zip(singles, rows, strict=True)]
        else:
            logits = self._native(
                singles, rows, chosen, torch.get_num_threads() if threads is None else threads
            )
        if not all(bool(torch.isfinite(part).all()) for part in logits):
            raise BackendError(
                "predicted logits are not finite: parameters of predictor or transformer, or the context, "
                "are nan, infinite or too large; restore a checkpoint from before the training diverged"
            )
        return [self.predictor.distribution(part) for part in logits]

    def _checked(self, x: Tensor, index: int) -> Tensor:
        try:
            x = x if isinstance(x, Tensor) else float64_tensor(x).float()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"candidates {index} are not numeric: {error}") from error
        if x.ndim != 2 or x.shape[1] != self.predictor.dim:
            raise InputError(
                f"candidates {index} have shape {tuple(x.shape)}; (N, {self.predictor.dim}) is needed"
            )
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise InputError(f"candidates {index} leave [0, 1] or are nan; scale them to the unit cube")
        weight = self.predictor.input.weight
        return x.to(weight.device, weight.dtype)

    def _reference(self, context: ContextBatch | ContextEmbedding, x: Tensor) -> Tensor:
        embedding = self.transformer(context) if isinstance(context, ContextBatch) else context
        logits: Tensor = self.predictor(x, embedding)
        return logits

    def _native(
        self,
        contexts: list[ContextBatch | ContextEmbedding],
        rows: list[Tensor],
        chosen: Executor,
        threads: int,
    ) -> list[Tensor]:
        if not contexts:
            return []
        trials = [context for context in contexts if isinstance(context, ContextBatch)]
        encoded = iter(self._encode(trials, chosen, threads))
        tokens = [
            next(encoded) if isinstance(context, ContextBatch) else _tokens(context) for context in contexts
        ]
        counts = [len(x) for x in rows]
        logits = attention.predict(
            torch.cat(rows).float(),
            counts,
            torch.cat(tokens).float(),
            [len(part) for part in tokens],
            self._packed_predictor.weights,
            self._packed_predictor.layout,
            isa=chosen.isa,
            threads=threads,
        )
        return list(logits.split(counts))

    def _encode(self, trials: list[ContextBatch], chosen: Executor, threads: int) -> list[Tensor]:
        """(1 + n, width) tokens of every context, the anchor first."""
        if not trials:
            return []
        features = [self.transformer.features(context)[0][context.mask[0]].float() for context in trials]
        counts = [len(part) for part in features]
        packed = self._packed_transformer
        tokens, _ = attention.encode(
            torch.cat(features), counts, packed.weights, packed.layout, isa=chosen.isa, threads=threads
        )
        return list(tokens.split([count + 1 for count in counts]))


def _tokens(embedding: ContextEmbedding) -> Tensor:
    if embedding.anchor is None:
        raise InputError("embedding has no anchor; give the one that Transformer returns")
    return torch.cat([embedding.anchor[:1], embedding.tokens[0][embedding.mask[0]]])

# SPDX-License-Identifier: Apache-2.0
"""What configurations promise while some of them are taken to be evaluated: the choice of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffhpo.kernels.gaussian_process import BeliefState, log_expected_improvement
from diffhpo.model.universal.gaussian_mixture import GaussianMixture
from diffhpo.model.universal.gaussian_processes import JointPosterior, NativePosterior


def belief_of(
    mixture: GaussianMixture, joint: JointPosterior | NativePosterior, best: Tensor, *, noisy: bool
) -> Belief | NativeBelief:
    """The belief that runs where its joint posterior does; arguments as `Belief`."""
    if isinstance(joint, NativePosterior):
        return NativeBelief(mixture, joint, best, noisy=noisy)
    return Belief(mixture, joint, best, noisy=noisy)


class Belief:
    """Expected improvements of N configurations, to be conditioned on some of them.

    A configuration is taken for evaluated at its predicted mean (kriging believer, Ginsbourger et al. 2010),
    which is the mean of all processes: each of them is conditioned on that value as on a trial's. Around it
    its mean moves there and its variance goes, and its weight follows how well it had predicted the value.
    To take away variances alone would leave each process its own hope around a chosen configuration, and a
    batch would crowd there.

    Args:
        mixture: (1, N) the predictions now, of K processes.
        joint: of the same configurations and processes.
        best: (1, 1) the best value so far.
        noisy: whether the deviations of the mixture hold the processes' noise.
    """

    def __init__(self, mixture: GaussianMixture, joint: JointPosterior, best: Tensor, *, noisy: bool) -> None:
        self._mixture, self._joint, self._best = mixture, joint, best
        self._added = joint.noise.unsqueeze(-1) if noisy else torch.zeros(())

    @torch.no_grad()
    def believe(self, index: int) -> None:
        """Take configuration `index` for evaluated at its predicted mean."""
        before = self._mixture
        value = before.mean[:, index]
        surprise = value.unsqueeze(-1) - before.means[:, index]
        variance = self._joint.variance + self._added
        gain = self._joint.add(index).mT.to(before.means)
        # What the attention made of a deviation is kept as a factor.
        left = ((self._joint.variance + self._added) / variance).mT.to(before.means)
        deviation = before.deviations[:, index]
        told = -0.5 * (surprise / deviation) ** 2 - deviation.log()
        self._mixture = GaussianMixture(
            (before.log_weights + told.unsqueeze(1)).log_softmax(-1),
            before.means + gain * surprise.unsqueeze(1),
            before.deviations * left.sqrt(),
        )
        self._best = torch.maximum(self._best, value.unsqueeze(-1))

    @torch.no_grad()
    def log_improvement(self) -> Tensor:
        """(N,) float64 log expected improvements now, in the units of the mixture."""
        return self._mixture.log_expected_improvement(self._best).squeeze(0).double()


class NativeBelief:
    """As `Belief`, by the native kernels; all in float64."""

    def __init__(
        self, mixture: GaussianMixture, joint: NativePosterior, best: Tensor, *, noisy: bool
    ) -> None:
        self._joint, self._noisy = joint, noisy
        self._mixture = [
            part[0].double().mT.contiguous()
            for part in (mixture.log_weights, mixture.means, mixture.deviations)
        ]
        self._best = float(best)
        #: Of the configurations since the first that was believed: most beliefs are asked once alone.
        self._state: BeliefState | None = None

    def believe(self, index: int) -> None:
        """See `Belief`."""
        if self._state is None:
            self._state = self._joint.state(*self._mixture, noisy=self._noisy)
        self._best = max(self._best, self._state.believe(index, isa=self._joint.isa))

    def log_improvement(self) -> Tensor:
        """See `Belief`."""
        state = self._state
        parts = self._mixture if state is None else [state.log_weights, state.means, state.deviations]
        return log_expected_improvement(parts[0], parts[1], parts[2], self._best, isa=self._joint.isa)

# SPDX-License-Identifier: Apache-2.0
"""How far two samples are from coming from one distribution."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """2 E|A - B| - E|A - A'| - E|B - B'| (Szekely and Rizzo 2013), unbiased in the last two."""
    within = [cdist(s, s).sum() / (len(s) * (len(s) - 1)) for s in (a, b)]
    return float(2 * cdist(a, b).mean() - sum(within))

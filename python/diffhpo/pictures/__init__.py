# SPDX-License-Identifier: Apache-2.0
"""Pictures of one run, drawn with matplotlib; every function returns the Axes that it drew on.

Figures of many runs, average rank and regret, are in `diffhpo.study.plots`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffhpo.process.lazy_import import lazy_exports

if TYPE_CHECKING:
    from diffhpo.pictures.calibration import plot_calibration
    from diffhpo.pictures.denoising_trajectory import plot_denoising_trajectory
    from diffhpo.pictures.optimization_history import plot_optimization_history
    from diffhpo.pictures.parallel_coordinates import plot_parallel_coordinates
    from diffhpo.pictures.pictured_run import PicturedRun
    from diffhpo.pictures.prediction import plot_prediction
    from diffhpo.pictures.slice import plot_slice

__all__ = [
    "PicturedRun",
    "plot_calibration",
    "plot_denoising_trajectory",
    "plot_optimization_history",
    "plot_parallel_coordinates",
    "plot_prediction",
    "plot_slice",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "PicturedRun": "pictured_run",
        "plot_calibration": "calibration",
        "plot_denoising_trajectory": "denoising_trajectory",
        "plot_optimization_history": "optimization_history",
        "plot_parallel_coordinates": "parallel_coordinates",
        "plot_prediction": "prediction",
        "plot_slice": "slice",
    },
)

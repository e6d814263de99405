# SPDX-License-Identifier: Apache-2.0
"""Pretraining of the universal model: episodes from synthetic and real tasks, a resumable run, presets."""

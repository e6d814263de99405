# SPDX-License-Identifier: Apache-2.0
"""Pretraining of the universal model: real tasks and which may be used, episodes, resumable runs, presets."""

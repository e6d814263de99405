# SPDX-License-Identifier: Apache-2.0
"""Tuning runs of several learners on small tables, computed for pretraining."""

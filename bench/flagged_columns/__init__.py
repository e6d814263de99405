# SPDX-License-Identifier: Apache-2.0
"""Tuning tasks with the columns of HPO-B's own files: choices as 0 and 1, and flags for what is absent."""

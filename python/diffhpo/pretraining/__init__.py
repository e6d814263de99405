# SPDX-License-Identifier: Apache-2.0
"""Real tasks for pretraining: which may be used, how they are read, and how they are drawn."""

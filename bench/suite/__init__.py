# SPDX-License-Identifier: Apache-2.0
"""Computes the embedded suite: real XGBoost evaluations in HPO-B's format (`python -m bench.suite.build`)."""

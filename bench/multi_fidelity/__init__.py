# SPDX-License-Identifier: Apache-2.0
"""Tuning with early stopping of trials: samplers x pruners of Optuna on real learning curves of XGBoost."""

# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments that many calls share."""

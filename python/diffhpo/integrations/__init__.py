# SPDX-License-Identifier: Apache-2.0
"""Bridges to other libraries, one module each; a module needs its library only when it is imported."""

# SPDX-License-Identifier: Apache-2.0
"""The reverse loop and the attention to contexts as native calls, and the former in plain torch."""

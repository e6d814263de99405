# SPDX-License-Identifier: Apache-2.0
"""The reverse loop as one native call, and the same in plain torch."""

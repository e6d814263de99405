# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, read only if they are what they should be, one writer at a time."""

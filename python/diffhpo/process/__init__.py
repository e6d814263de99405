# SPDX-License-Identifier: Apache-2.0
"""What the process is set to: imports, interpreter, threads, torch's defaults."""

# SPDX-License-Identifier: Apache-2.0
"""Mixed and conditional spaces of real learners on small tables, and a comparison of optimizers on them."""

# SPDX-License-Identifier: Apache-2.0
"""Search spaces: named parameters, when they are active, and their map to the unit cube and back."""

from __future__ import annotations

from diffhpo.space.categorical import Categorical
from diffhpo.space.condition import Condition
from diffhpo.space.constant import Constant
from diffhpo.space.integer import Int
from diffhpo.space.ordinal import Ordinal
from diffhpo.space.parameter import Parameter
from diffhpo.space.real import Float
from diffhpo.space.space import Space

__all__ = ["Categorical", "Condition", "Constant", "Float", "Int", "Ordinal", "Parameter", "Space"]

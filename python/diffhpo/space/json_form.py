# SPDX-License-Identifier: Apache-2.0
"""Search spaces as JSON: name -> {"type": "float", "low": 0.001, "high": 1, "log": true}.

"float" and "int" have `low`, `high` and, if wanted, `log` or `step`; "categorical" and "ordinal" have
`choices`, "constant" has `value`. A parameter that is not always active has `when`: parent -> the values with
which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from diffhpo import __version__
from diffhpo.errors import SpaceError
from diffhpo.space.categorical import Categorical
from diffhpo.space.choices import same
from diffhpo.space.condition import Condition
from diffhpo.space.constant import Constant
from diffhpo.space.integer import Int
from diffhpo.space.ordinal import Ordinal
from diffhpo.space.parameter import Parameter
from diffhpo.space.real import Float

if TYPE_CHECKING:
    from diffhpo.space.space import Space

_TYPES: Mapping[str, type[Parameter]] = {
    "float": Float,
    "int": Int,
    "categorical": Categorical,
    "ordinal": Ordinal,
    "constant": Constant,
}


def to_json(space: Space) -> dict[str, Any]:
    """The space as JSON values.

    Raises:
        SpaceError: if it has a choice that JSON lacks, or a `forbidden`, which is a function.
    """
    if space.forbidden is not None:
        raise SpaceError("the space has `forbidden`, a function, which JSON cannot hold")
    content: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        kind = next((key for key, value in _TYPES.items() if type(parameter) is value), None)
        if kind is None:
            raise SpaceError(
                f"parameter {name!r} is a {type(parameter).__name__}, which JSON cannot hold; accepted: "
                f"{', '.join(known.__name__ for known in _TYPES.values())}"
            )
        entry: dict[str, Any] = {"type": kind}
        for field in fields(parameter):  # type: ignore[arg-type] # every parameter is a dataclass
            value = getattr(parameter, field.name)
            if value is not field.default:
                values = isinstance(value, tuple) and field.name == "choices"
                entry[field.name] = [_plain(name, one) for one in value] if values else _plain(name, value)
        when: dict[str, list[Any]] = {}
        for condition in space.conditions.get(name, ()):
            both = when.get(condition.parent, list(condition.values))
            when[condition.parent] = [v for v in both if any(same(v, w) for w in condition.values)]
            if not when[condition.parent]:
                raise SpaceError(
                    f"parameter {name!r} needs values of {condition.parent!r} that exclude each other: it is "
                    "never active, which JSON cannot hold; leave it out"
                )
        if when:
            entry["when"] = {parent: [_plain(name, one) for one in both] for parent, both in when.items()}
        content[name] = entry
    return content


def _plain(name: str, value: Any) -> Any:
    if type(value) is list:  # a tuple would come back as a list, which is another choice
        return [_plain(name, part) for part in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise SpaceError(f"parameter {name!r} has {value!r}, a {type(value).__name__}, which JSON cannot hold")


def _short(error: Exception) -> str:
    """Its message, which may hold all that a file did."""
    text = str(error)
    return text if len(text) <= 500 else f"{text[:300]} ... {text[-150:]}"


def from_json(content: Any) -> Space:
    """The space of JSON values.

    Raises:
        SpaceError: if an entry is not well formed; the message names the parameter.
    """
    from diffhpo.space.space import Space

    if not isinstance(content, Mapping):
        raise SpaceError(f"an object of parameters is needed, not a {type(content).__name__}")
    parameters: dict[str, Parameter] = {}
    conditions: dict[str, list[Condition]] = {}
    for name, entry in content.items():
        try:
            kind = entry.get("type") if isinstance(entry, Mapping) else None
            if not isinstance(kind, str) or kind not in _TYPES:
                raise SpaceError(f"{entry!r:.200} has no type of {sorted(_TYPES)}")
            rest = {key: value for key, value in entry.items() if key not in ("type", "when")}
            known = {field.name: field.default for field in fields(_TYPES[kind])}  # type: ignore[arg-type] # as above
            if unknown := sorted(set(map(str, rest)) - set(known)):
                raise SpaceError(
                    f"{unknown[0]!r:.80} is no field of a {kind}; accepted: {', '.join(known)}, "
                    f"when. If a newer diffhpo than {__version__} knows it: pip install --upgrade diffhpo"
                )
            if missing := [key for key, default in known.items() if default is MISSING and key not in rest]:
                raise SpaceError(f"a {kind} needs {' and '.join(missing)}")
            if isinstance(choices := rest.get("choices"), str):
                raise SpaceError(f"choices is {choices!r:.80}; an array is needed")
            parameters[name] = _TYPES[kind](**rest)
            when = entry.get("when", {})
            if not isinstance(when, Mapping):
                raise SpaceError(f"when is {when!r}; an object parent -> values is needed")
            if when:
                conditions[name] = [Condition(parent, values) for parent, values in when.items()]
        except (SpaceError, TypeError, ValueError) as error:
            raise SpaceError(f"parameter {name[:80]!r}: {_short(error)}") from None
    return Space(parameters, conditions)

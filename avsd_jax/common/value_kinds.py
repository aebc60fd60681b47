"""Kinds of values that configurations and options may have, and the messages for invalid values."""

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from ml_collections import ConfigDict

from avsd_jax.errors import InputError

# Steps, sizes and counts eventually become 32-bit integers.
_MOST_WHOLE = 2**31 - 1
_MAX_SHOWN = 80

Bound = int | float


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        complaint: maps a value to the problem and the fix, as in "is too small: give 1 or more"; None if it is valid.
        form: the format of the whole sentence.
    """

    complaint: Callable[[Any], str | None]
    form: str = "{name}={value} {complaint}"

    def check(self, name: str, value: Any) -> None:
        """Raises InputError, with `name` and the value, unless the value is of this kind."""
        complaint = self.complaint(value)
        if complaint:
            shown = " ".join(repr(value).split())  # a section's takes several lines
            shown = shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "..."
            raise InputError(self.form.format(name=name, value=shown, complaint=complaint))


def whole(least: int | None = None, most: int = _MOST_WHOLE) -> Kind:
    """Builds the kind of whole numbers from `least` to `most`."""

    def complaint(value: Any) -> str | None:
        fix = "give a whole number" if least is None else f"give {least} or more"
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            return f"is no whole number: {fix}"
        if least is not None and value < least:
            return f"is too small: {fix}"
        return f"is too large: give {most} or less" if value > most else None

    return Kind(complaint)


def real(
    least: Bound | None = None,
    most: Bound | None = None,
    *,
    above: Bound | None = None,
    below: Bound | None = None,
    finite: bool = True,
) -> Kind:
    """Builds the kind of numbers within bounds, of which `above` and `below` are exclusive; NaN is never valid."""

    def complaint(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return "is no number: give one" + (f" from {least}" if least is not None else "")
        if least is not None and not value >= least:
            return f"is too small: give {least} or more"
        if above is not None and not value > above:
            return f"is too small: give more than {above}"
        if most is not None and not value <= most:
            return f"is too large: give a number from {least} to {most}"
        if below is not None and not value < below:
            return f"is too large: give less than {below}"
        if math.isnan(value) or (finite and math.isinf(value)):
            return "is not finite: give a number"
        return None

    return Kind(complaint)


FLAG = Kind(lambda value: None if isinstance(value, bool) else "is neither true nor false: give one of them")
TEXT = Kind(lambda value: None if isinstance(value, str) else "is no text: give one, which may be empty")
NAME = Kind(lambda value: None if isinstance(value, str) and value.strip() else "is no name: give one")
MAPPING = Kind(
    lambda value: (
        None
        if isinstance(value, Mapping | ConfigDict) and all(isinstance(key, str) for key in value)
        else "is no section of names and values: give one, which may be empty"
    )
)
ANYTHING = Kind(lambda value: None)
NOTHING = Kind(lambda value: None if value is None else "is not null: leave it out")


def choice(choices: Iterable[str], fix: str = "") -> Kind:
    """Builds the kind of some words; `fix` names them, by default as a list."""
    words = tuple(choices)
    fix = fix or f"choose one of {', '.join(words)}"
    return Kind(
        lambda value: None if isinstance(value, str) and value in words else fix,
        "unknown {name} {value}: {complaint}",
    )


def listed(item: Kind, what: str, length: int | None = None, least: int = 0) -> Kind:
    """Builds the kind of lists or tuples of entries of a kind; `what` describes the list, with an example."""

    def complaint(value: Any) -> str | None:
        if not isinstance(value, list | tuple) or len(value) < least or len(value) != (length or len(value)):
            return f"is no {what}"
        return f"is no {what}" if any(item.complaint(entry) for entry in value) else None

    return Kind(complaint)


def mapping_of(item: Kind, what: str) -> Kind:
    """Builds the kind of sections whose values are of a kind."""

    def complaint(value: Any) -> str | None:
        wrong = MAPPING.complaint(value)
        if wrong:
            return wrong
        bad = [key for key, entry in value.items() if item.complaint(entry)]
        return f"has a {bad[0]!r} that {item.complaint(value[bad[0]])} ({what})" if bad else None

    return Kind(complaint)


def either(*kinds: Kind) -> Kind:
    """Builds the union of some kinds; the message is that of the first."""

    def complaint(value: Any) -> str | None:
        complaints = [kind.complaint(value) for kind in kinds]
        return None if None in complaints else complaints[0]

    return Kind(complaint)


@functools.cache
def of_annotation(hint: Any) -> Kind:
    """Returns the kind that a type annotation describes; any value for annotations that cannot be checked."""
    simple = {int: whole(), float: real(finite=False), bool: FLAG, str: TEXT, types.NoneType: NOTHING}
    if hint in simple:
        return simple[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return choice(arguments)
    if origin in (typing.Union, types.UnionType):
        return either(*(of_annotation(argument) for argument in arguments))
    if origin is Sequence or origin in (list, tuple):
        item = of_annotation(arguments[0]) if arguments else ANYTHING
        return listed(item, "list of them: give one, as in (3, 4)" if arguments else "list: give one")
    if hint is ConfigDict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return MAPPING
    return ANYTHING

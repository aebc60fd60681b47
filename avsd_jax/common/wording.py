"""Lists and names in sentences."""

from collections.abc import Iterable


def some(items: Iterable[str], most: int, separator: str = "; ") -> str:
    """Joins items; of more than `most` the first, and how many more there are."""
    items = list(items)
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + rest


def printable(name: object) -> str:
    """Returns a name or path in one line of text: what cannot be printed, such as a line break, is escaped.

    So is what is no UTF-8, which Python keeps as surrogates.
    """
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))
    return "".join(escaped)

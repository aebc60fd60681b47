"""Lists in sentences."""

from collections.abc import Iterable


def some(items: Iterable[str], most: int, separator: str = "; ") -> str:
    """Joins items; of more than `most` the first, and how many more there are."""
    items = list(items)
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + rest

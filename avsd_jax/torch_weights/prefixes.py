"""Location of a network's weights in a checkpoint, independent of the wrappers of training scripts.

Scripts nest state dicts ("state_dict", "ema", ...) and add prefixes to keys ("module.", "model.", "net.", any
attribute of a Lightning module). There is no list of them: the nesting and prefix are those under which most keys of
the network's layout are found. Only the names that PyTorch's own wrappers insert, also within a key, are listed.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from avsd_jax.errors import InputError
from avsd_jax.torch_weights.layouts import NAMES, Layout, candidates, checkpoint_key

# DataParallel and EMA copies, torch.compile, FSDP, activation checkpointing, DeepSpeed.
_INSERTED = {
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
}

# Maximum depth of nested dictionaries; more indicates a loop.
_MAX_DEPTH = 8

# Below this fraction of a network's keys a prefix is coincidental: ResNets have a "conv1.weight" in every block.
_LIKELY, _POSSIBLE = 0.5, 0.2

# From this ratio of other arrays to its own, a network may be part of a larger one: a loss or a metric has fewer.
_SOME = 0.05


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array of a checkpoint.

    Attributes:
        home: path of the dictionary that holds it, "" for the outermost.
        key: its path in the file, dots between the parts.
        array: anything with a shape.
    """

    home: str
    key: str
    array: Any

    @functools.cached_property
    def bare(self) -> str:
        """Returns the key without the names that PyTorch's wrappers insert."""
        return ".".join(part for part in self.key.split(".") if part not in _INSERTED)


@dataclasses.dataclass(frozen=True)
class Part:
    """The arrays of one network.

    Attributes:
        arrays: {key in the network's layout: array}.
        prefix: their location in the file, for messages; "" for its outermost keys without a prefix.
        left_out: keys of the same dictionary that do not belong to it.
    """

    arrays: dict[str, Any]
    prefix: str
    left_out: tuple[str, ...]


def entries(content: Any, home: str = "", depth: int = 0) -> Iterator[Entry]:
    """Yields all arrays in nested dictionaries and sequences under string keys."""
    if isinstance(content, Mapping):
        items = [(key, value) for key, value in content.items() if isinstance(key, str)]
    elif isinstance(content, list | tuple):
        items = [(str(index), value) for index, value in enumerate(content) if not hasattr(value, "shape")]
    else:
        return
    for key, value in items:
        path = f"{home}.{key}" if home else key
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            yield Entry(home, path, value)
        elif depth < _MAX_DEPTH:
            yield from entries(value, path, depth + 1)


def find_part(name: str, found: Sequence[Entry], weights: str | None = None) -> Part:
    """Finds a network's arrays among those of a file.

    Args:
        name: one of `avsd_jax.torch_weights.layouts.NAMES`.
        found: the file's arrays.
        weights: which of several copies: its path in the file, "." for the outermost keys; None if there is one.

    Returns:
        The network's part, which may be incomplete.

    Raises:
        InputError: unknown name; several copies with different values; a key twice with different values; the
            file belongs to a larger network, of which this is a part.
    """
    chosen = found if weights is None else _chosen(found, weights)
    votes, wanted = _best_votes(name, chosen)
    share = {prefix: len(keys) / len(wanted) for prefix, keys in votes.items()}
    best = min(votes, key=lambda prefix: (-len(votes[prefix]), len(prefix)), default="")
    if share.get(best, 0) < _POSSIBLE:
        if weights is not None:
            raise InputError(f"--weights={weights}: the checkpoint holds no {name} there: give the path of its weights")
        return _unlikely(found)
    copies = [p for p in votes if share[p] >= _LIKELY and len(votes[p]) == len(votes[best])] or [best]
    labels = {prefix: _label(votes[prefix]) for prefix in sorted(copies, key=len)}
    best = next(iter(labels))
    if not (weights == "." and labels[best] == ".") and not _are_equal([votes[prefix] for prefix in labels]):
        raise InputError(
            f"the checkpoint holds {name} {len(labels)} times, with different weights, under "
            f"{', '.join(map(repr, labels.values()))}: choose with --weights=PATH"
        )
    inside, left_out = _divided(chosen, votes[best], best, labels)
    beside = tuple(entry.key for entry in left_out if np.shape(entry.array))
    if len(beside) > _SOME * len(votes[best]):
        _refuse_larger(name, chosen, len(votes[best]))
    return Part(_by_bare_key(inside, best), labels[best], beside)


def _chosen(found: Sequence[Entry], weights: str) -> list[Entry]:
    """Returns the arrays under a path of the file; "." for those outside of PyTorch's wrappers."""
    if weights == ".":
        return [entry for entry in found if entry.key.partition(".")[0] not in _INSERTED]
    return [entry for entry in found if entry.key.startswith(f"{weights.rstrip('.')}.")]


def _divided(
    found: Sequence[Entry], votes: Mapping[str, Entry], best: str, labels: Mapping[str, str]
) -> tuple[list[Entry], list[Entry]]:
    """Divides the arrays of the dictionaries that hold the network: those under its prefix, and those beside it.

    Other copies of the network are in neither.
    """
    homes = {entry.home for entry in votes.values()}
    copies = tuple(prefix for prefix in labels if prefix and prefix != best)
    path = "" if labels[best] == "." or len({_label({k: e}) for k, e in votes.items()}) > 1 else f"{labels[best]}."
    held = {entry.bare for entry in found if entry.home in homes and entry.key.startswith(path)}
    inside, beside = [], []
    for entry in found:
        if entry.home not in homes or entry.bare.startswith(copies):
            continue
        # A key without the wrapper that all others have is beside it, unless it also exists with the wrapper.
        is_inside = entry.bare.startswith(best) and (entry.bare in held or entry.key.startswith(path))
        (inside if is_inside else beside).append(entry)
    return inside, beside


def _best_votes(name: str, found: Sequence[Entry]) -> tuple[dict[str, dict[str, Entry]], frozenset[str]]:
    """Returns the prefixes under which keys of the network are found, {prefix: {key: entry}}, and its keys."""
    results = []
    for layout in candidates(name, [entry.bare for entry in found]):
        wanted, votes = _default_keys(layout), {}
        for entry in found:
            for cut in _cuts(entry.bare):
                if entry.bare[cut:] in wanted:
                    votes.setdefault(entry.bare[:cut], {}).setdefault(entry.bare[cut:], entry)
        results.append((max(map(len, votes.values()), default=0) / len(wanted), votes, wanted))
    _, votes, wanted = max(results, key=lambda result: result[0])
    return votes, wanted


def _cuts(key: str) -> Iterator[int]:
    """Yields the positions at which a key may be split into prefix and rest."""
    yield 0
    for index, character in enumerate(key):
        if character == ".":
            yield index + 1


@functools.cache
def _default_keys(layout: Layout) -> frozenset[str]:
    """Returns the keys of a network with default options; those of its variants differ little."""
    paths = traverse_util.flatten_dict(layout.variables(layout.options({}), {}))
    constants = {tuple(path.split("/")) for path, _ in layout.constants}
    return frozenset(checkpoint_key(path, layout) for path in paths if path not in constants)


def _unlikely(found: Sequence[Entry]) -> Part:
    """Returns the dictionary with most arrays if nothing fits; its reader reports the problem."""
    homes = [entry.home for entry in found]
    home = max(dict.fromkeys(homes), key=homes.count, default="")
    inside = [entry for entry in found if entry.home == home]
    prefix = ".".join(part for part in home.split(".") if part not in _INSERTED)
    return Part(_by_bare_key(inside, f"{prefix}." if prefix else ""), home, ())


def _label(votes: Mapping[str, Entry]) -> str:
    """Returns a prefix as in the file; "." for none."""
    key, entry = next(iter(votes.items()))
    parts, missing = entry.key.split("."), key.count(".") + 1
    while missing:
        missing -= parts.pop() not in _INSERTED
    return ".".join(parts) or "."


def _are_equal(copies: Sequence[Mapping[str, Entry]]) -> bool:
    first, *others = copies
    return all(
        other.keys() == first.keys() and all(_is_equal(entry, first[key]) for key, entry in other.items())
        for other in others
    )


def _is_equal(one: Entry, other: Entry) -> bool:
    if one.array is other.array:
        return True
    if np.shape(one.array) != np.shape(other.array):
        return False
    a, b = np.asarray(one.array), np.asarray(other.array)
    return a.dtype == b.dtype and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def _by_bare_key(inside: Sequence[Entry], prefix: str) -> dict[str, Any]:
    held: dict[str, Entry] = {}
    for entry in inside:
        key = entry.bare.removeprefix(prefix)
        if key in held and not _is_equal(entry, held[key]):
            raise InputError(
                f"the checkpoint has both {held[key].key!r} and {entry.key!r}, with different values: "
                "choose with --weights=PATH, the part of the path before the network's own keys"
            )
        held.setdefault(key, entry)
    return {key: entry.array for key, entry in held.items()}


def _refuse_larger(name: str, found: Sequence[Entry], matched: int) -> None:
    """Refuses a file with a complete network of which `name` is a part.

    Raises:
        InputError: it is.
    """
    larger = {}
    for other in set(NAMES) - {name}:
        votes, wanted = _best_votes(other, found)
        most = max(map(len, votes.values()), default=0)
        if most > matched and most >= 0.9 * len(wanted):
            larger[other] = most
    if larger:
        # Parts of the largest may also be larger than the requested part.
        whole = min(larger, key=lambda other: (-larger[other], other))
        raise InputError(f"the checkpoint is of {whole}, of which {name} is a part: give --model={whole}")

"""Exact counts of the marked values above each pixel of a map, by the method that suits their number.

Areas under ROC curves are sums of these. Sorting the map is slow in XLA on a CPU, and table look-ups are slower
than comparisons. So a few marked values are compared with every pixel; more are looked up in a table of equal
ranges of value, whose few ambiguous entries are then compared; if one range holds many marked values, or if there
are very many, a binary search is used. Levels of an image need no comparison: a table has them all.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, Shaped, UInt, UInt32

from avsd_jax.metrics.maps import chunk_sums, count

# Up to this bound every marked value is compared with every pixel; float64 is too slow for that.
COMPARED = 64
# Only pixels that share a range with a marked value are compared, if there are at most this many; the shorter list
# is faster.
LISTED = (1024, 8192)
# Ranges of value in the table, and the number of values in the fullest from which a binary search is faster.
RANGES = 16384
FULLEST = 6
# Values of a range that are compared in the same pass over the map as the lookup; more need a pass each.
AT_ONCE = 2
# Pixels per packed word when true pixels are listed.
WORD = 32
# Without a bound from the caller, up to this many values take the fast path.
QUICK = 1024

T = TypeVar("T")


def rank_statistic(
    x: Num[Array, "h w"],
    positive: Bool[Array, "h w"],
    negative: Bool[Array, "h w"],
    max_positives: int | None,
) -> Float[Array, ""]:
    """Computes P(positive > negative) + P(tie) / 2 over all pairs of pixels of one map.

    It is NaN without positives or negatives, with more positives than the bound (if any) and if the map is not
    finite.
    """
    n = count(positive)
    return rank_statistic_of(x, wins_over(x, positive, n, max_positives), n, negative, max_positives, score_dtype(x))


def rank_statistic_of(
    x: Num[Array, "h w"],
    wins: Int[Array, "h w"],
    n: Int[Array, ""],
    negative: Bool[Array, "h w"],
    max_positives: int | None,
    dtype: np.dtype,
) -> Float[Array, ""]:
    """Computes `rank_statistic` from the wins over each pixel and the number of positives."""
    m = count(negative)
    # Products instead of a selection: XLA would branch at every pixel. Sums of short runs are exact and
    # cannot overflow; the last sum may round.
    doubled = chunk_sums(wins * negative).astype(dtype).sum()
    value = doubled / 2 / n.astype(dtype) / m.astype(dtype)
    bounded = True if max_positives is None else n <= max_positives
    finite = True if is_levels(x) else jnp.isfinite(x.max() - x.min())
    return jnp.where((n > 0) & (m > 0) & bounded & finite, value, jnp.nan)


def is_levels(x: Num[Array, "..."]) -> bool:
    """Returns whether a map holds the levels of an image, of 8 or 16 bits."""
    return x.dtype in (jnp.uint8, jnp.uint16)


def score_dtype(x: Num[Array, "..."]) -> jnp.dtype:
    """Returns the type of a score: levels are ranked exactly, and scored in the best enabled precision."""
    return jnp.result_type(float) if is_levels(x) else x.dtype


def wins_over(
    x: Num[Array, "h w"], marked: Bool[Array, "h w"], n: Int[Array, ""], bound: int | None
) -> Int[Array, "h w"]:
    """Returns for each pixel twice the number of marked values above it, plus the number of those equal to it.

    Args:
        x: a finite map, or levels.
        marked: the pixels whose values count.
        n: the number of marked pixels.
        bound: at least `n` (otherwise the counts are meaningless); None: any number.
    """
    if is_levels(x):
        return _by_level(x, marked, n, bound)
    return by_count(n, bound, x.size, lambda few: _wins_of_few(x, marked, n, few), lambda: _wins_of_many(x, marked, n))


def pack_bits(mask: Bool[Array, "h w"]) -> UInt32[Array, " words"]:
    """Packs a map of flags into 32-bit words, for `positions`: bit i of word j of W words is pixel `i * W + j`.

    The bits of a word are far apart in the map, so that neighbours are packed side by side in one vectorised pass.
    """
    rows = jnp.pad(mask.ravel(), (0, -mask.size % WORD)).reshape(WORD, -1)
    words = jnp.zeros(rows.shape[1], jnp.uint32)
    for bit in range(WORD):
        words |= rows[bit].astype(jnp.uint32) << bit
    return words


def positions(words: UInt32[Array, " words"], bound: int) -> Int[Array, " bound"]:
    """Returns the flat indices of `bound` true pixels of a packed map, in no particular order.

    If there are fewer, the remaining indices are at least the size of the map.
    """
    per_word = jax.lax.population_count(words).astype(jnp.int32)
    ends = jnp.cumsum(per_word)
    k = jnp.arange(bound)
    # The k-th true pixel is after all the words that end with at most k of them.
    ending = jnp.zeros(bound, jnp.int32).at[ends].add(1, mode="drop")
    word = jnp.minimum(jnp.cumsum(ending), ends.size - 1)
    rank = k - take(ends, word) + take(per_word, word)
    at = _place_of_bit(take(words, word), rank) * words.size + word
    return jnp.where(k < ends[-1], at, WORD * words.size)


def _place_of_bit(words: UInt32[Array, " n"], rank: Int[Array, " n"]) -> Int[Array, " n"]:
    """Returns the position in each word of the bit preceded by `rank` set bits, by bisection on bit counts."""
    place = jnp.zeros(words.shape, jnp.int32)
    for half in (16, 8, 4, 2, 1):
        low = jax.lax.population_count(words & jnp.uint32((1 << half) - 1)).astype(jnp.int32)
        above = rank >= low
        rank = jnp.where(above, rank - low, rank)
        words = jnp.where(above, words >> half, words)
        place += jnp.where(above, half, 0)
    return place


def by_count(
    n: Int[Array, ""],
    bound: int | None,
    pixels: int,
    few: Callable[[int], T],
    many: Callable[[], T],
    quick: int = QUICK,
) -> T:
    """Returns `few(b)`, where a list of up to b true pixels of a map pays, or else `many()`.

    Args:
        n: the number of true pixels.
        bound: the caller's upper bound of n; None: any number.
        pixels: number of pixels of the map.
        few, many: compute the same from a list of at most b pixels and from the whole map.
        quick: the largest b if there is no bound.
    """
    worthwhile = pixels // 8
    if bound is not None and bound <= worthwhile:
        return few(max(bound, 1))
    if worthwhile <= COMPARED:
        return many()
    quick = min(quick, worthwhile)
    return jax.lax.cond(n <= quick, lambda: few(quick), many)


def _wins_of_few(
    x: Float[Array, "h w"], marked: Bool[Array, "h w"], n: Int[Array, ""], bound: int
) -> Int[Array, "h w"]:
    at = positions(pack_bits(marked), bound)
    known, at = at < x.size, jnp.minimum(at, x.size - 1)
    values = take(x.ravel(), at)
    if bound <= COMPARED and x.dtype != jnp.float64:
        return _by_comparing(x, jnp.where(known, values, -jnp.inf))
    low, high = x.min(), x.max()
    scale = jnp.where(high > low, RANGES / (high - low), 0)
    ranges = jnp.clip(((x - low) * scale).astype(jnp.int32), 0, RANGES - 1)
    # Read from the map of ranges, not recomputed: rounding cannot separate a value from its own pixel.
    own = jnp.where(known, take(ranges.ravel(), at), RANGES)
    ascending = jnp.sort(jnp.where(known, values, jnp.inf))
    held = jnp.zeros(RANGES, jnp.int32).at[own].add(1, mode="drop")

    def of_all() -> Int[Array, "h w"]:
        return jax.lax.cond(
            held.max() <= FULLEST,
            lambda: _by_table(x, ranges, ascending, held, n),
            lambda: _by_search(x, ascending, n),
        )

    shared = pack_bits(take(held > 0, ranges))
    listed = jax.lax.population_count(shared).astype(jnp.int32).sum()

    def of_some(most: int) -> Int[Array, "h w"]:
        return _by_list(x, ranges, shared, most, ascending, held, n)

    def of_more() -> Int[Array, "h w"]:
        return by_count(listed, None, x.size, of_some, of_all, LISTED[1])

    return by_count(listed, None, x.size, of_some, of_more, LISTED[0])


def _wins_of_many(x: Float[Array, "h w"], marked: Bool[Array, "h w"], n: Int[Array, ""]) -> Int[Array, "h w"]:
    return _by_search(x, jnp.sort(jnp.where(marked, x, jnp.inf), axis=None), n)


def _by_comparing(x: Float[Array, "h w"], values: Float[Array, " n"]) -> Int[Array, "h w"]:
    """Compares value by value, which XLA fuses to one pass without memory traffic."""
    wins = jnp.zeros(x.shape, jnp.int32)
    for value in values:
        wins += (value > x).astype(jnp.int32) + (value >= x).astype(jnp.int32)
    return wins


def _by_level(
    x: UInt[Array, "h w"], marked: Bool[Array, "h w"], n: Int[Array, ""], bound: int | None
) -> Int[Array, "h w"]:
    """Looks up each level in a table of all levels."""
    levels, size = x.astype(jnp.int32), jnp.iinfo(x.dtype).max + 1

    def count_by_level(own: Int[Array, " p"]) -> Int[Array, " levels"]:
        return jnp.zeros(size, jnp.int32).at[own].add(1, mode="drop")

    def of_few(most: int) -> Int[Array, "levels"]:
        at = positions(pack_bits(marked), most)
        return count_by_level(jnp.where(at < x.size, take(levels.ravel(), jnp.minimum(at, x.size - 1)), size))

    held = by_count(n, bound, x.size, of_few, lambda: count_by_level(jnp.where(marked, levels, size).ravel()))
    return take(2 * (n - jnp.cumsum(held)) + held, levels)


def _by_list(
    x: Float[Array, "h w"],
    ranges: Int[Array, "h w"],
    shared: UInt32[Array, " words"],
    most: int,
    ascending: Float[Array, " n"],
    held: Int[Array, " r"],
    n: Int[Array, ""],
) -> Int[Array, "h w"]:
    """Counts as `_by_table` does, with comparisons at the listed pixels only: at most `most`, flagged in `shared`."""
    ends = jnp.cumsum(held)
    at = positions(shared, most)
    known, inside = at < x.size, jnp.minimum(at, x.size - 1)
    values, own = take(x.ravel(), inside), take(ranges.ravel(), inside)
    first, number = take(ends - held, own), take(held, own)

    def compare(j: Int[Array, ""], wins: Int[Array, " l"]) -> Int[Array, " l"]:
        value = jnp.where(j < number, take(ascending, jnp.minimum(first + j, ascending.size - 1)), -jnp.inf)
        return wins + (value > values) + (value >= values)

    wins = jax.lax.fori_loop(0, held.max(), compare, jnp.zeros(most, jnp.int32))
    base = take(2 * (n - ends), ranges).ravel()
    return base.at[jnp.where(known, at, x.size)].add(wins, mode="drop").reshape(x.shape)


def _by_table(
    x: Float[Array, "h w"],
    ranges: Int[Array, "h w"],
    ascending: Float[Array, " n"],
    held: Int[Array, " r"],
    n: Int[Array, ""],
) -> Int[Array, "h w"]:
    """Counts the values in higher ranges, and compares those in the pixel's own range with it one by one."""
    ends = jnp.cumsum(held)

    def compare(j: int | Int[Array, ""]) -> Int[Array, "h w"]:
        own = jnp.where(j < held, take(ascending, jnp.minimum(ends - held + j, ascending.size - 1)), -jnp.inf)
        value = take(own, ranges)
        return (value > x).astype(jnp.int32) + (value >= x).astype(jnp.int32)

    wins = sum((compare(j) for j in range(AT_ONCE)), take(2 * (n - ends), ranges))
    return jax.lax.fori_loop(AT_ONCE, held.max(), lambda j, wins: wins + compare(j), wins)


def _by_search(x: Float[Array, "h w"], ascending: Float[Array, " n"], n: Int[Array, ""]) -> Int[Array, "h w"]:
    """Counts by binary search in the values, of which those after the n-th are infinite."""
    size = 1 << (ascending.size + 1).bit_length()
    table = jnp.pad(ascending, (1, size - 1 - ascending.size), constant_values=(-jnp.inf, jnp.inf))
    below = _entries_below(table, x, inclusive=False)
    # An equal entry, if any, is the next one: its multiplicity needs no second search over the pixels.
    equal = _entries_below(table, table, inclusive=True) - _entries_below(table, table, inclusive=False)
    ties = jnp.where(take(table, below) == x, take(equal, below), 0)
    return 2 * (n + 1 - below) - ties


def _entries_below(ascending: Float[Array, " n"], x: Float[Array, " *s"], inclusive: bool) -> Int[Array, " *s"]:
    """Returns how many entries of a table of 2^k, the first of which is below everything, are below x (or equal).

    The loop is not unrolled: XLA would fuse the steps, and each would repeat the reads of earlier ones.
    """
    steps = ascending.size.bit_length() - 1

    def halve(i: int | Int[Array, ""], index: Int[Array, "*s"]) -> Int[Array, "*s"]:
        middle = index + (ascending.size // 2 >> i)
        entry = take(ascending, middle)
        return jnp.where(entry <= x if inclusive else entry < x, middle, index)

    return jax.lax.fori_loop(0, steps, halve, jnp.zeros(x.shape, jnp.int32)) + 1


def take(table: Shaped[Array, " n"], index: Int[Array, " *s"]) -> Shaped[Array, " *s"]:
    """Returns `table[index]` without bounds checks, which cost more than the reads."""
    return table.at[index].get(mode="promise_in_bounds")

"""Exact sums over pairs of marked and other pixels of a map, by the method that suits their number.

Areas under ROC curves are such sums. Nothing sorts the pixels of a map, which is slow everywhere: the marked values
are sorted, and every pixel finds its place among them. On an accelerator it is compared with each of a few values, or
there is a binary search, all steps of which are one pass over the map. On a CPU each pixel looks up how many marked
values are above its range of values, in a table of equal ranges that stays in the cache, and the few pixels that share
a range with a marked value are listed and compared; if they are many, a binary search is used. Levels of an image need
no comparison: a table has them all. Only if very many pixels are marked are they sorted within the map.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, Shaped, UInt, UInt32

from avsd_jax.metrics.maps import chunk_sums, count, of_all_maps

# Up to this many marked values are a few; an accelerator compares them with every pixel.
COMPARED = 64
# Pixels that share a range with a marked value are listed if they are at most so many; a shorter list is faster.
LISTED = (1024, 8192, 32768)
# Ranges of value in the table, for a few values, for some, and for more or a large map: a smaller table is filled
# sooner, and more pixels share a range with a value.
RANGES = (16384, 24576, 65536)
SOME, LARGE = 512, 1 << 19
# With fewer values twice their number fits 16 bits.
SHORT = 1 << 14
# Where a run of 32 pixels counts those above a value in its upper bits, beside a sum over pairs in the lower ones.
COUNTED_AT = 25
# Pixels per packed word when true pixels are listed.
WORD = 32
# Without a bound from the caller, up to this many values take the fast path.
QUICK = 1024
# Where an eighth of a map is no more than this, its pixels are not listed.
FEWEST = 64

T = TypeVar("T")


class Pairs(NamedTuple):
    """Sums over all pairs of a marked and a counted pixel.

    Attributes:
        doubled: twice the number of pairs whose marked value is the greater one, plus the number of ties.
        above: number of counted pixels above the lowest marked value.
        level: number of counted pixels at it.
        at_lowest: how many marked pixels have it.
    """

    doubled: Float[Array, ""]
    above: Int[Array, ""]
    level: Int[Array, ""]
    at_lowest: Int[Array, ""]


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
    pairs = pairs_of(x, positive, n, negative, max_positives, score_dtype(x))
    return rank_statistic_of(x, pairs, n, count(negative), max_positives)


def rank_statistic_of(
    x: Num[Array, "h w"], pairs: Pairs, n: Int[Array, ""], m: Int[Array, ""], max_positives: int | None
) -> Float[Array, ""]:
    """Computes `rank_statistic` from the pairs of n positives and m negatives."""
    dtype = pairs.doubled.dtype
    value = pairs.doubled / 2 / n.astype(dtype) / m.astype(dtype)
    bounded = True if max_positives is None else n <= max_positives
    finite = True if is_levels(x) else jnp.isfinite(x.max() - x.min())
    return jnp.where((n > 0) & (m > 0) & bounded & finite, value, jnp.nan)


def is_levels(x: Num[Array, "..."]) -> bool:
    """Returns whether a map holds the levels of an image, of 8 or 16 bits."""
    return x.dtype in (jnp.uint8, jnp.uint16)


def score_dtype(x: Num[Array, "..."]) -> jnp.dtype:
    """Returns the type of a score: levels are ranked exactly, and scored in the best enabled precision."""
    return jnp.result_type(float) if is_levels(x) else x.dtype


def pairs_of(
    x: Num[Array, "h w"],
    marked: Bool[Array, "h w"],
    n: Int[Array, ""],
    counted: Bool[Array, "h w"],
    bound: int | None,
    dtype: Any,
) -> Pairs:
    """Sums over all pairs of a marked and a counted pixel, exactly but for the last sum.

    Args:
        x: a finite map, or levels.
        marked: the pixels whose values count.
        n: the number of marked pixels.
        counted: the pixels that they are compared with.
        bound: at least `n` (otherwise the sums are meaningless); None: any number.
        dtype: of the sum.
    """
    if is_levels(x):
        return _by_level(x, marked, n, counted, bound, dtype)
    return by_count(
        n,
        bound,
        x.size,
        lambda most: _of_few(x, marked, n, counted, most, dtype),
        lambda: _of_many(x, marked, n, counted, dtype),
    )


def pack_bits(mask: Bool[Array, "h w"]) -> UInt32[Array, " words"]:
    """Packs a map of flags into 32-bit words, for `positions`: bit i of word j of W words is pixel `i * W + j`.

    The bits of a word are far apart in the map, so that neighbours are packed side by side in one vectorised pass.
    """
    rows = jnp.pad(mask.ravel(), (0, -mask.size % WORD)).reshape(WORD, -1)
    words = jnp.zeros(rows.shape[1], jnp.uint32)
    for bit in range(WORD):
        words |= rows[bit].astype(jnp.uint32) << bit
    return words


def count_bits(words: UInt32[Array, " words"]) -> Int[Array, ""]:
    """Returns the number of true pixels of a packed map."""
    return jax.lax.population_count(words).astype(jnp.int32).sum(dtype=jnp.int32)


def positions(words: UInt32[Array, " words"], bound: int) -> Int[Array, " bound"]:
    """Returns the flat indices of `bound` true pixels of a packed map, in no particular order.

    If there are fewer, the remaining indices are at least the size of the map.
    """
    per_word = jax.lax.population_count(words).astype(jnp.int32)
    ends = _running_total(per_word)
    k = jnp.arange(bound, dtype=jnp.int32)
    # The k-th true pixel is after all the words that end with at most k of them.
    ending = jnp.zeros(bound, jnp.int32).at[ends].add(1, mode="drop")
    word = jnp.minimum(_running_total(ending), ends.size - 1)
    rank = k - take(ends, word) + take(per_word, word)
    at = _place_of_bit(take(words, word), rank) * words.size + word
    return jnp.where(k < ends[-1], at, WORD * words.size)


def values_at(x: Num[Array, "h w"], at: Int[Array, " n"], otherwise: Any) -> Num[Array, " n"]:
    """Returns the values at indices as `positions` gives them, and another value for those beyond the map."""
    return jnp.where(at < x.size, take(x.ravel(), jnp.minimum(at, x.size - 1)), otherwise)


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
    if worthwhile <= FEWEST:
        return many()
    quick = min(quick, worthwhile)
    return jax.lax.cond(of_all_maps(n) <= quick, lambda: few(quick), many)


def by_lengths(
    n: Int[Array, ""], pixels: int, few: Callable[[int], T], many: Callable[[], T], lengths: Sequence[int]
) -> T:
    """Returns `by_count` with the first of ascending lengths that suffices, of those that such a map has a use for."""
    first, *longer = lengths
    if longer and pixels // 8 > first:
        return by_count(n, None, pixels, few, lambda: by_lengths(n, pixels, few, many, longer), first)
    return by_count(n, None, pixels, few, many, first)


def _of_few(
    x: Float[Array, "h w"],
    marked: Bool[Array, "h w"],
    n: Int[Array, ""],
    counted: Bool[Array, "h w"],
    bound: int,
    dtype: Any,
) -> Pairs:
    values = values_at(x, positions(pack_bits(marked), bound), jnp.inf)
    ascending = jnp.sort(values)
    at_once = _by_comparing if bound <= COMPARED else functools.partial(_by_search, unrolled=True)
    sums = jax.lax.platform_dependent(
        x,
        ascending,
        n,
        counted,
        cpu=lambda *given: _by_ranges(*given, dtype),
        default=lambda *given: (at_once(*given, dtype), *_beside(x, ascending[0], counted)),
    )
    return Pairs(*sums, (values == ascending[0]).sum(dtype=jnp.int32))


def _of_many(
    x: Float[Array, "h w"],
    marked: Bool[Array, "h w"],
    n: Int[Array, ""],
    counted: Bool[Array, "h w"],
    dtype: Any,
) -> Pairs:
    ascending = jnp.sort(jnp.where(marked, x, jnp.inf), axis=None)
    at_lowest = count(marked & (x == ascending[0]))
    return Pairs(_by_search(x, ascending, n, counted, dtype), *_beside(x, ascending[0], counted), at_lowest)


def _beside(
    x: Num[Array, "h w"], lowest: Num[Array, ""], counted: Bool[Array, "h w"]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """Returns the numbers of counted pixels above a value and at it, in one pass: 32 pixels fit sixteen bits."""
    above, level = (kept.astype(jnp.int32) for kept in (counted & (x > lowest), counted & (x == lowest)))
    counts = chunk_sums(above + (level << 16))
    return (counts & 0xFFFF).sum(dtype=jnp.int32), (counts >> 16).sum(dtype=jnp.int32)


def _by_level(
    x: UInt[Array, "h w"],
    marked: Bool[Array, "h w"],
    n: Int[Array, ""],
    counted: Bool[Array, "h w"],
    bound: int | None,
    dtype: Any,
) -> Pairs:
    """Looks up each level in a table of all levels."""
    levels, size = x.astype(jnp.int32), jnp.iinfo(x.dtype).max + 1

    def count_by_level(own: Int[Array, " p"]) -> Int[Array, " levels"]:
        return jnp.zeros(size, jnp.int32).at[own].add(1, mode="drop")

    def of_few(most: int) -> Int[Array, "levels"]:
        return count_by_level(values_at(levels, positions(pack_bits(marked), most), size))

    held = by_count(n, bound, x.size, of_few, lambda: count_by_level(jnp.where(marked, levels, size).ravel()))
    table = 2 * (n - _running_total(held)) + held
    # Set once more, or XLA would compute the table anew for every pixel that reads it.
    wins = take(jnp.zeros(size, jnp.int32).at[jnp.arange(size)].set(table), levels)
    lowest = jnp.argmax(held > 0)
    beside = _beside(x, lowest.astype(x.dtype), counted)
    return Pairs(chunk_sums(wins * counted).astype(dtype).sum(), *beside, take(held, lowest))


def _by_ranges(
    x: Float[Array, "h w"],
    ascending: Float[Array, " n"],
    n: Int[Array, ""],
    counted: Bool[Array, "h w"],
    dtype: Any,
) -> tuple[Float[Array, ""], Int[Array, ""], Int[Array, ""]]:
    """Sums the number of values in higher ranges, and compares those in a pixel's own range with it one by one.

    Also returns the numbers of counted pixels above the first value and at it.
    """
    many = ascending.size > SOME or (ascending.size > COMPARED and x.size > LARGE)
    ranges = RANGES[2 if many else ascending.size > COMPARED]
    low, high = x.min(), x.max()
    scale = jnp.where(high > low, ranges / (high - low), 0)

    def range_of(values: Float[Array, " *v"]) -> Int[Array, " *v"]:
        # A difference and a product round alike wherever they are computed: equal values have one range.
        return jnp.clip(((values - low) * scale).astype(jnp.int32), 0, ranges - 1)

    own = jnp.where(jnp.arange(ascending.size) < n, range_of(ascending), ranges)
    held = jnp.zeros(ranges, jnp.int32).at[own].add(1, mode="drop")
    # The lowest bit tells whether the range holds a value. It is set last: what is scattered XLA does not compute anew
    # for every pixel that reads the table.
    table = 2 * (n - _running_total(held))
    table = table.at[own].set(take(table, jnp.minimum(own, ranges - 1)) + 1, mode="drop")
    if ascending.size < SHORT:
        table = table.astype(jnp.int16)
    entries = jnp.where(counted, take(table, range_of(x)), 0)
    # Ranges above the first value's have this entry or a smaller one, and its own the next greater one.
    past = (2 * (n - take(held, jnp.minimum(own[0], ranges - 1)))).astype(table.dtype)
    higher, beyond = (entries >> 1).astype(jnp.int32), (counted & (entries <= past)).astype(jnp.int32)
    if ascending.size < 1 << (COUNTED_AT - 5):
        sums = chunk_sums(higher + (beyond << COUNTED_AT))
        higher, beyond = sums & ((1 << COUNTED_AT) - 1), sums >> COUNTED_AT
    else:
        higher, beyond = chunk_sums(higher), chunk_sums(beyond)
    above, beyond = 2 * higher.astype(dtype).sum(), beyond.sum(dtype=jnp.int32)
    shared = pack_bits((entries & 1) > 0)
    listed = count_bits(shared)

    def of_listed(most: int) -> tuple[Float[Array, ""], Int[Array, ""], Int[Array, ""]]:
        at = positions(shared, most)
        known, at = at < x.size, jnp.minimum(at, x.size - 1)
        values, entry = take(x.ravel(), at), take(entries.ravel(), at)
        first, near = n - 1 - (entry.astype(jnp.int32) >> 1), known & (entry == past + 1)

        def compare(j: Int[Array, ""], wins: Int[Array, " l"]) -> Int[Array, " l"]:
            # A value of a lower range is below the pixel's, and adds nothing.
            value = jnp.where(first >= j, take(ascending, jnp.clip(first - j, 0, ascending.size - 1)), -jnp.inf)
            return wins + (value > values) + (value >= values)

        wins = jax.lax.fori_loop(0, held.max(), compare, jnp.zeros(most, jnp.int32))
        won = above + jnp.where(known, wins, 0).astype(dtype).sum()
        over, level = ((near & kept).sum(dtype=jnp.int32) for kept in (values > ascending[0], values == ascending[0]))
        return won, beyond + over, level

    search = lambda: (_by_search(x, ascending, n, counted, dtype), *_beside(x, ascending[0], counted))  # noqa: E731
    return by_lengths(listed, x.size, of_listed, search, LISTED)


def _by_comparing(
    x: Float[Array, "h w"],
    ascending: Float[Array, " n"],
    n: Int[Array, ""],
    counted: Bool[Array, "h w"],
    dtype: Any,
) -> Float[Array, ""]:
    """Sums by comparing every pixel with every value, of which those after the n-th are infinite, in one pass."""
    wins = jnp.zeros(x.shape, jnp.int32)
    for value in jnp.where(jnp.arange(ascending.size) < n, ascending, -jnp.inf):
        wins += (value > x).astype(jnp.int32) + (value >= x).astype(jnp.int32)
    return chunk_sums(wins * counted).astype(dtype).sum()


def _by_search(
    x: Float[Array, "h w"],
    ascending: Float[Array, " n"],
    n: Int[Array, ""],
    counted: Bool[Array, "h w"],
    dtype: Any,
    unrolled: bool = False,
) -> Float[Array, ""]:
    """Sums by binary search in the values, of which those after the n-th are infinite."""
    size = 1 << (ascending.size + 1).bit_length()
    table = jnp.pad(ascending, (1, size - 1 - ascending.size), constant_values=(-jnp.inf, jnp.inf))
    below = _entries_below(table, x, unrolled=unrolled)
    # An equal entry, if any, is the next one: its multiplicity needs no second search over the pixels.
    equal = _entries_below(table, table, True, unrolled) - _entries_below(table, table, False, unrolled)
    ties = jnp.where(take(table, below) == x, take(equal, below), 0)
    return chunk_sums((2 * (n + 1 - below) - ties) * counted).astype(dtype).sum()


def _entries_below(
    ascending: Float[Array, " n"], x: Float[Array, " *s"], inclusive: bool = False, unrolled: bool = False
) -> Int[Array, " *s"]:
    """Returns how many entries of a table of 2^k, the first of which is below everything, are below x (or equal).

    An accelerator computes unrolled steps in one pass over x. On a CPU each would repeat the reads of earlier ones.
    """
    steps = ascending.size.bit_length() - 1

    def halve(i: int | Int[Array, ""], index: Int[Array, "*s"]) -> Int[Array, "*s"]:
        middle = index + (ascending.size // 2 >> i)
        entry = take(ascending, middle)
        return jnp.where(entry <= x if inclusive else entry < x, middle, index)

    return jax.lax.fori_loop(0, steps, halve, jnp.zeros(x.shape, jnp.int32), unroll=steps if unrolled else 1) + 1


def _running_total(counts: Int[Array, " n"]) -> Int[Array, " n"]:
    """Returns the sums up to each element, in rows: `cumsum` of them all takes twice as long on a CPU."""
    rows = counts.reshape(-1, next(n for n in (128, 32, 1) if counts.size % n == 0))
    sums = rows.sum(axis=1, dtype=jnp.int32)
    before = jnp.cumsum(sums, dtype=jnp.int32) - sums
    return (jnp.cumsum(rows, axis=1, dtype=jnp.int32) + before[:, None]).ravel()


def take(table: Shaped[Array, " n"], index: Int[Array, " *s"]) -> Shaped[Array, " *s"]:
    """Returns `table[index]` without bounds checks, which cost more than the reads."""
    return table.at[index].get(mode="promise_in_bounds")

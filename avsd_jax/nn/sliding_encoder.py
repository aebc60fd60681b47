"""A video encoder on sliding windows: what neighbouring windows have in common is computed once.

An encoder is a chain of layers that work on each time slice by itself (`Layer.space`) and then over neighbouring slices
(`Layer.time`). Zeros pad each window in time, so at every level of the chain the first and the last slices of a window
depend on where it begins and ends; the slices between, its *interior*, do not, and two windows share those that lie at
the same frame. Interior slices are computed once, as frames come (`push`), and kept in rings; for each window only the
slices at its two ends are computed anew (`windows`), down to the level where nothing is shared any more.

Windows that begin an odd number of frames apart share nothing below a layer of stride 2, but both share with others. A
ring holds the slices of all such phases interleaved, one for every `gcd(advance, stride)` frames, so one program serves
every phase.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.nn.sliding import Axis, Join, Layer, Position, Ring, Rings, Slices, newest


@dataclasses.dataclass(frozen=True)
class _Level:
    """A layer with the axes of its input and of its output.

    Attributes:
        slices: the ring of its slices; None if its input is computed for each window.
        output: the ring of its output, if that is a tap with an interior.
        is_shared: whether interior slices of its output are computed once.
    """

    layer: Layer
    source: Axis
    target: Axis
    slices: Ring | None
    output: Ring | None
    is_shared: bool


@dataclasses.dataclass(frozen=True)
class _Part:
    """Some taps of a join, with the ring of their sums over interior slices of the tap, wherever the first one lies."""

    join: Join
    taps: slice
    ring: Ring

    @property
    def length(self) -> int:
        return self.taps.stop - self.taps.start

    @property
    def name(self) -> str:
        return f"{self.join.name}_{self.taps.start}"


class SlidingEncoder:
    """An encoder on `count` windows at once, each `advance` frames after the one before.

    Args:
        layers: the encoder.
        joins: the convolutions of its taps that are sums of what windows have in common.
        size: frames of a window.
        advance: frames between two windows.
        count: windows computed at once.
        spare: windows that may follow before `rewind` is called, at least `count`.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        joins: Sequence[Join],
        size: int,
        advance: int,
        count: int,
        spare: int,
    ):
        self.count, self.spare = count, spare
        self._levels: list[_Level] = []
        axis, shared = Axis(size), advance < size
        for layer in layers:
            target = axis.after(layer.kernel, layer.stride, layer.padding)
            slices = Ring(axis, advance, count, spare) if shared else None
            shared = shared and target.is_shared(advance)
            output = Ring(target, advance, count, spare) if shared and layer.is_tap else None
            self._levels.append(_Level(layer, axis, target, slices, output, shared))
            axis = target
        shared_taps = {level.layer.name: level.output for level in self._levels if level.output is not None}
        self._joins = {
            join.tap: join for join in joins if join.tap in shared_taps and join.groups(shared_taps[join.tap].axis.size)
        }
        self._parts = {tap: _parts(join, shared_taps[tap]) for tap, join in self._joins.items()}

    @property
    def is_shared(self) -> bool:
        """Returns whether windows have frames in common."""
        return self._levels[0].slices is not None

    def empty(self, weights: Any, frame: jax.ShapeDtypeStruct) -> Rings:
        """Returns rings of zeros for frames of this shape, [H, W, 3], and type."""
        rings = {}
        x = jax.ShapeDtypeStruct((1, 1, *frame.shape), frame.dtype)

        def zeros(ring: Ring, x: jax.ShapeDtypeStruct) -> jax.Array:
            return jnp.zeros((ring.capacity, *x.shape[2:]), x.dtype)

        for level in self._levels:
            if level.slices is None:
                break
            layer = level.layer
            slices = jax.eval_shape(layer.space, weights, x)
            rings[layer.name] = jax.tree.map(partial(zeros, level.slices), slices)
            seen = jax.tree.map(lambda x, k=layer.kernel: jax.ShapeDtypeStruct((1, k, *x.shape[2:]), x.dtype), slices)
            x = jax.eval_shape(partial(layer.time, stride=1), weights, seen)
            if level.output is not None:
                rings[_output(layer)] = zeros(level.output, x)
            for part in self._parts.get(layer.name, ()):
                seen = jax.ShapeDtypeStruct((1, part.length, *x.shape[2:]), x.dtype)
                sums = jax.eval_shape(partial(part.join.time, taps=part.taps, stride=1), weights, x=seen)
                rings[part.name] = zeros(part.ring, sums)
        return rings

    def push(self, weights: Any, rings: Rings, position: Position, frames: Float[Array, "n h w 3"]) -> Rings:
        """Returns rings with the slices that `count` windows add.

        Args:
            weights: of the layers.
            rings: before.
            position: number of windows since the rings were empty or rewound, with these.
            frames: the last count * advance ones of these windows.
        """
        rings, x = dict(rings), frames[None]
        for level in self._levels:
            if level.slices is None:
                break
            layer = level.layer
            name = layer.name
            rings[name] = level.slices.write(rings[name], layer.space(weights, x), position)
            if level.is_shared:
                x = newest(
                    *(level.slices, level.target, layer.kernel, layer.stride, layer.padding),
                    *(partial(layer.time, weights), rings[name], position),
                )
            if level.output is not None:
                name = _output(layer)
                rings[name] = level.output.write(rings[name], x, position)
            for part in self._parts.get(layer.name, ()):
                time = partial(part.join.time, weights, part.taps)
                new = newest(level.output, part.ring.axis, part.length, 1, 0, time, rings[name], position)
                rings[part.name] = part.ring.write(rings[part.name], new, position)
        return rings

    def windows(self, weights: Any, rings: Rings, position: Position) -> dict[str, Float[Array, "n _ _ _ _"]]:
        """Returns the taps of the last `count` windows that were pushed; arguments as there.

        Of a tap with a join these are the slices of mixed groups alone, and what the convolution gives for the other
        groups by the join's name.
        """
        taps: dict[str, jax.Array] = {}
        x: _Ends | jax.Array = _Ends(None, None)
        for level in self._levels:
            layer, ring = level.layer, level.slices
            if ring is not None:
                slices = x.map(partial(layer.space, weights))
                kept = rings[layer.name]
            if level.is_shared:
                x = self._ends(level, weights, slices, kept, position)
            else:
                whole = layer.space(weights, x) if ring is None else slices.joined(ring, kept, position)
                x = layer.time(weights, _padded(whole, layer.padding, layer.padding), layer.stride)
            if layer.name in self._joins:
                taps |= self._grouped(level, weights, x, rings, position)
            elif layer.is_tap:
                shared = level.output is not None
                taps[layer.name] = x.joined(level.output, rings[_output(layer)], position) if shared else x
        return taps

    def rewind(self, rings: Rings, position: Position) -> Rings:
        """Returns the rings as they are at position 0."""
        where = {level.layer.name: level.slices for level in self._levels}
        where |= {_output(level.layer): level.output for level in self._levels}
        where |= {part.name: part.ring for parts in self._parts.values() for part in parts}
        return {name: where[name].rewind(ring, position) for name, ring in rings.items()}

    def _ends(self, level: _Level, weights: Any, slices: "_Ends", kept: Slices, position: Position) -> "_Ends":
        """Returns a layer's output at the ends of each window."""
        layer, source, target, ring = level.layer, level.source, level.target, level.slices
        stride, padding, left, right = layer.stride, layer.padding, None, None
        if layer.cut is not None and source.interior == source.size:
            return self._cut_ends(level, weights, kept, position)
        if target.left:
            stop = stride * (target.left - 1) - padding + layer.kernel
            inner = ring.interior(kept, position, source.left, stop)
            left = layer.time(weights, _padded(_joined(slices.left, inner), padding, 0), stride)
        if target.right:
            first = stride * (target.size - target.right) - padding
            last = stride * (target.size - 1) - padding + layer.kernel - 1
            inner = ring.interior(kept, position, first, source.size - source.right)
            seen = _padded(_joined(inner, slices.right), 0, last + 1 - source.size)
            right = layer.time(weights, seen, stride)
        return _Ends(left, right)

    def _cut_ends(self, level: _Level, weights: Any, kept: Slices, position: Position) -> "_Ends":
        """Returns the same for the first layer, its kernel being cut where it reaches into the padding."""
        layer, size, ring = level.layer, level.source.size, level.slices

        def output(index: int) -> Float[Array, "n 1 h w c"]:
            """Returns an output slice of each window."""
            first = layer.stride * index - layer.padding
            taps = slice(max(0, -first), min(layer.kernel, size - first))
            ages = (ring.count - 1) * ring.per_window + size - 1 - first - taps.start, size - first - taps.stop
            seen = ring.read(kept, position, *ages)
            return jnp.swapaxes(layer.cut(weights, seen, ring.per_window, taps), 0, 1)

        ends = range(level.target.left), range(level.target.size - level.target.right, level.target.size)
        return _Ends(*(_joined(*map(output, end)) if end else None for end in ends))

    def _grouped(
        self, level: _Level, weights: Any, ends: "_Ends", rings: Rings, position: Position
    ) -> dict[str, Float[Array, "n _ _ _ _"]]:
        """Returns the slices of a tap that the join's mixed groups have, and the sums of its other groups."""
        tap, axis, join = level.layer.name, level.target, self._joins[level.layer.name]
        kept, parts, inner = rings[_output(level.layer)], self._parts[tap], range(axis.left, axis.size - axis.right)
        groups = join.groups(axis.size)

        def slices(first: int, stop: int) -> Float[Array, "n t h w c"]:
            """Returns slices of each window."""
            left = None if first >= axis.left else ends.left[:, first:stop]
            right = None if stop <= inner.stop else ends.right[:, max(0, first - inner.stop) : stop - inner.stop]
            inside = level.output.interior(kept, position, max(first, inner.start), min(stop, inner.stop))
            return _joined(left, inside, right)

        def outside(group: int, first: int, stop: int) -> list[jax.Array]:
            """Returns the sum over slices that are not interior, if there are any."""
            taps = slice(first - group, stop - group)
            return [join.time(weights, taps, slices(first, stop), 1)] if first < stop else []

        sums = []
        for group in groups:
            first, stop = (min(max(end, inner.start), inner.stop) for end in (group, group + join.kernel))
            terms = [
                *outside(group, group, min(first, group + join.kernel)),
                *outside(group, max(stop, group), group + join.kernel),
            ]
            for part in parts:
                begin, end = group + part.taps.start, group + part.taps.stop
                if first <= begin and end <= stop:
                    terms.append(part.ring.interior(rings[part.name], position, begin, begin + 1))
            sums.append(sum(terms[1:], terms[0]))
        return {tap: slices(0, groups.start), join.name: jnp.concatenate(sums, axis=1)}


class _Ends(NamedTuple):
    """The slices at the beginning and at the end of each window that depend on its padding; None: there are none."""

    left: Slices | None
    right: Slices | None

    def map(self, space: Callable[[jax.Array], Slices]) -> "_Ends":
        """Applies the spatial part of a layer to all slices at once."""
        parts = [x for x in self if x is not None]
        if not parts:
            return self
        slices = space(jnp.concatenate(parts, axis=1))
        middle = 0 if self.left is None else self.left.shape[1]
        return _Ends(
            None if self.left is None else jax.tree.map(lambda x: x[:, :middle], slices),
            None if self.right is None else jax.tree.map(lambda x: x[:, middle:], slices),
        )

    def joined(self, ring: Ring, kept: Slices, position: Position) -> Slices:
        """Returns all slices of each window."""
        axis = ring.axis
        return _joined(self.left, ring.interior(kept, position, axis.left, axis.size - axis.right), self.right)


def _parts(join: Join, output: Ring) -> list[_Part]:
    """Splits a join where the interior of a tap begins or ends in one of its groups."""
    axis = output.axis
    cuts = {0, join.kernel}
    for group in join.groups(axis.size):
        cuts |= {end - group for end in (axis.left, axis.size - axis.right) if 0 < end - group < join.kernel}
    parts = []
    for first, stop in itertools.pairwise(sorted(cuts)):
        ring = dataclasses.replace(output, axis=axis.after(stop - first, 1, 0))
        parts.append(_Part(join, slice(first, stop), ring))
    return parts


def _joined(*parts: Slices | None) -> Slices:
    parts = [part for part in parts if part is not None]
    return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)


def _padded(slices: Slices, before: int, after: int) -> Slices:
    """Pads in time with zeros; a negative number cuts."""
    config = [(0, 0, 0), (before, after, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]
    return jax.tree.map(lambda x: lax.pad(x, jnp.zeros((), x.dtype), config), slices)


def _output(layer: Layer) -> str:
    return f"{layer.name}_output"

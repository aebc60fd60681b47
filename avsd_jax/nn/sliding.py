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
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

Slices = Any
"""A tree of arrays [b, t, h, w, c]: the same time slices, several maps of each."""
Rings = dict[str, Any]
"""By name trees of arrays [capacity, h, w, c]; see `Ring`."""
Position = Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class Axis:
    """The time axis of a level, as a window sees it.

    Attributes:
        size: slices of a window.
        stride: frames between two of them.
        left, right: how many at its beginning and end depend on the padding.
    """

    size: int
    stride: int = 1
    left: int = 0
    right: int = 0

    @property
    def interior(self) -> int:
        """Returns how many slices do not depend on the padding; below 1 if none."""
        return self.size - self.left - self.right

    def after(self, kernel: int, stride: int, padding: int) -> "Axis":
        """Returns the axis of what a layer makes of this one; the arguments are the layer's in time."""
        size = (self.size + 2 * padding - kernel) // stride + 1
        last = (self.size - 1 - self.right - (kernel - 1 - padding)) // stride
        return Axis(size, self.stride * stride, -(-(self.left + padding) // stride), size - 1 - last)

    def step(self, advance: int) -> int:
        """Returns the frames between two slices of any of the windows."""
        return math.gcd(advance, self.stride)

    def is_shared(self, advance: int) -> bool:
        """Returns whether a window has an interior slice of an earlier window."""
        return math.lcm(advance, self.stride) // self.stride < self.interior


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of an encoder.

    Attributes:
        name: of its weights and rings.
        kernel, stride, padding: in time.
        space: (weights, [b, t, h, w, i]) -> slices, each computed from one.
        time: (weights, slices, stride) -> [b, t2, h, w, o], without padding: `kernel` slices become one.
        is_tap: whether its output is returned.
        cut: (weights, slices, stride, taps) -> what `time` gives with some taps of the kernel alone, where it is a sum
            over them. The first layer then computes the ends of all windows from the frames as they lie in memory.
    """

    name: str
    kernel: int
    stride: int
    padding: int
    space: Callable[[Any, jax.Array], Slices]
    time: Callable[[Any, Slices, int], jax.Array]
    is_tap: bool = False
    cut: Callable[[Any, Slices, int, slice], jax.Array] | None = None


@dataclasses.dataclass(frozen=True)
class Ring:
    """Where the slices of one level lie in its ring, [capacity, h, w, c], which fills up from its beginning.

    Attributes:
        axis: the level's.
        advance: frames between two windows.
        count: windows computed at once.
        spare: windows that may follow before the ring is rewound.
    """

    axis: Axis
    advance: int
    count: int
    spare: int

    @property
    def per_window(self) -> int:
        """Returns how many slices each window adds."""
        return self.advance // self.axis.step(self.advance)

    @property
    def apart(self) -> int:
        """Returns the distance of a window's neighbouring slices."""
        return self.axis.stride // self.axis.step(self.advance)

    @property
    def length(self) -> int:
        """Returns how many slices the windows computed at once span."""
        return (self.count - 1) * self.per_window + (self.axis.interior - 1) * self.apart + 1

    @property
    def capacity(self) -> int:
        """Returns the size of the ring."""
        return self.length + self.spare * self.per_window

    def extent(self, position: Position) -> Position:
        """Returns the number of slices in the ring at a position, the windows that were added since it was empty."""
        return self.length + position * self.per_window

    def write(self, ring: Slices, new: Slices, position: Position) -> Slices:
        """Appends the slices [1, count * per_window, ...] of the `count` windows before `position`."""
        start = self.extent(position) - self.count * self.per_window
        return jax.tree.map(lambda old, x: lax.dynamic_update_slice_in_dim(old, x[0], start, 0), ring, new)

    def read(self, ring: Slices, position: Position, first: int, stop: int, spacing: int = 1) -> Slices:
        """Returns slices [1, n, ...], `spacing` apart, counted back from the newest one: `first` > ... >= `stop`."""

        def part(old: jax.Array) -> jax.Array:
            length = first - stop + 1
            x = lax.dynamic_slice_in_dim(old, self.extent(position) - 1 - first, length, 0)
            return x[None, ::spacing]

        return jax.tree.map(part, ring)

    def interior(self, ring: Slices, position: Position, first: int, stop: int) -> Slices:
        """Returns interior slices `first` to `stop` of each window, [count, stop - first, ...]; None: none."""
        if stop <= first:
            return None
        last = self.axis.size - 1 - self.axis.right
        parts = []
        for window in reversed(range(self.count)):
            behind = window * self.per_window
            ages = behind + (last - first) * self.apart, behind + (last - stop + 1) * self.apart
            parts.append(self.read(ring, position, *ages, self.apart))
        return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)

    def rewind(self, ring: Slices, position: Position) -> Slices:
        """Moves the slices to the beginning, where they lie at position 0."""

        def moved(old: jax.Array) -> jax.Array:
            kept = lax.dynamic_slice_in_dim(old, position * self.per_window, self.length, 0)
            return lax.dynamic_update_slice_in_dim(old, kept, 0, 0)

        return jax.tree.map(moved, ring)


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


class SlidingEncoder:
    """An encoder on `count` windows at once, each `advance` frames after the one before.

    Args:
        layers: the encoder.
        size: frames of a window.
        advance: frames between two windows.
        count: windows computed at once.
        spare: windows that may follow before `rewind` is called, at least `count`.
        exact: whether each window begins with padding; otherwise it sees the frames before it instead, so that only the
            slices at its end are computed anew.
    """

    def __init__(self, layers: Sequence[Layer], size: int, advance: int, count: int, spare: int, *, exact: bool = True):
        self.count, self.spare, self.reach = count, spare, 0
        self._levels: list[_Level] = []
        axis, shared = Axis(size), advance < size
        for layer in layers:
            target = axis.after(layer.kernel, layer.stride, layer.padding)
            if shared and not exact:
                target = dataclasses.replace(target, left=0)
                self.reach += layer.padding * axis.stride
            slices = Ring(axis, advance, count, spare) if shared else None
            shared = shared and target.is_shared(advance)
            output = Ring(target, advance, count, spare) if shared and layer.is_tap else None
            self._levels.append(_Level(layer, axis, target, slices, output, shared))
            axis = target

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
            name = level.layer.name
            rings[name] = level.slices.write(rings[name], level.layer.space(weights, x), position)
            if level.is_shared:
                x = self._newest(level, weights, rings[name], position)
            if level.output is not None:
                name = _output(level.layer)
                rings[name] = level.output.write(rings[name], x, position)
        return rings

    def windows(self, weights: Any, rings: Rings, position: Position) -> dict[str, Float[Array, "n _ _ _ _"]]:
        """Returns the taps of the last `count` windows that were pushed; arguments as there."""
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
            if layer.is_tap:
                shared = level.output is not None
                taps[layer.name] = x.joined(level.output, rings[_output(layer)], position) if shared else x
        return taps

    def rewind(self, rings: Rings, position: Position) -> Rings:
        """Returns the rings as they are at position 0."""
        where = {level.layer.name: level.slices for level in self._levels}
        where |= {_output(level.layer): level.output for level in self._levels}
        return {name: where[name].rewind(ring, position) for name, ring in rings.items()}

    def _newest(self, level: _Level, weights: Any, kept: Slices, position: Position) -> Float[Array, "1 n h w c"]:
        """Returns a layer's interior output of the slices that were written last."""
        layer, source, ring = level.layer, level.source, level.slices
        target = Ring(level.target, ring.advance, ring.count, ring.spare)
        number = ring.count * target.per_window
        hop = level.target.step(ring.advance) // source.step(ring.advance)
        reads = layer.stride * (level.target.size - 1 - level.target.right) - layer.padding + layer.kernel - 1
        age = (source.size - 1 - source.right - reads) * ring.apart
        if ring.apart == 1:
            seen = ring.read(kept, position, age + (number - 1) * hop + layer.kernel - 1, age)
            return layer.time(weights, seen, hop)
        # The phases lie interleaved: each output gets its own few slices.
        ages = [age + (layer.kernel - 1 - k) * ring.apart for k in range(layer.kernel)]
        parts = [ring.read(kept, position, a + (number - 1) * hop, a, hop) for a in ages]
        seen = jax.tree.map(lambda *x: jnp.stack([part[0] for part in x], axis=1), *parts)
        return layer.time(weights, seen, 1)[None, :, 0]

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


def _joined(*parts: Slices | None) -> Slices:
    parts = [part for part in parts if part is not None]
    return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)


def _padded(slices: Slices, before: int, after: int) -> Slices:
    """Pads in time with zeros; a negative number cuts."""
    config = [(0, 0, 0), (before, after, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]
    return jax.tree.map(lambda x: lax.pad(x, jnp.zeros((), x.dtype), config), slices)


def _output(layer: Layer) -> str:
    return f"{layer.name}_output"

"""The time axes of windows that slide over a video, and the rings that keep what the windows share.

`avsd_jax.nn.sliding_encoder` uses them.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
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
class Join:
    """A convolution that reads a tap in groups: `kernel` slices at a time, behind slices that are not the encoder's.

    Its sums over a tap's interior slices are computed once, too, although two windows rarely have the same groups: the
    last slices of a window's group are `kernel` slices later those of the group before.

    Attributes:
        name: of its sums.
        tap: the layer whose output it reads.
        kernel: slices of a group.
        before: slices in front of the tap's.
        time: (weights, taps, [b, t, h, w, i], stride) -> [b, t2, h, w, o], the sum over some taps of the kernel alone.
    """

    name: str
    tap: str
    kernel: int
    before: int
    time: Callable[[Any, slice, jax.Array, int], jax.Array]

    @property
    def mixed(self) -> int:
        """Returns the number of groups with slices in front of the tap's."""
        return -(-self.before // self.kernel)

    def groups(self, size: int) -> range:
        """Returns the first slice of each group of the tap alone; the tap has `size` slices."""
        return range(self.mixed * self.kernel - self.before, size, self.kernel)


class Sliding(NamedTuple):
    """An encoder for `SlidingEncoder`: its layers, the convolutions of its taps, and `fold`.

    `fold` maps the variables of the model to the weights of both.
    """

    layers: Sequence[Layer]
    joins: Sequence[Join]
    fold: Callable[[Mapping[str, Any]], Any]

    def within(self, part: str) -> "Sliding":
        """Returns the encoder of a model that has this one's model as a submodule."""
        return self._replace(fold=lambda variables: self.fold({name: tree[part] for name, tree in variables.items()}))


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
        """Returns how many slices the windows computed at once span, with those that the first of them adds."""
        return self.count * self.per_window + (self.axis.interior - 1) * self.apart

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


def newest(
    ring: Ring,
    target: Axis,
    kernel: int,
    stride: int,
    padding: int,
    time: Callable[[Slices, int], jax.Array],
    kept: Slices,
    position: Position,
) -> Float[Array, "1 n h w c"]:
    """Returns a layer's interior output of the slices that were written last.

    Args:
        ring: of the slices.
        target: the axis of the output.
        kernel, stride, padding: the layer's in time.
        time: (slices, stride) -> [b, t2, h, w, c].
        kept: the ring's contents.
        position: of the ring.
    """
    source, last = ring.axis, target.size - 1 - target.right
    number = ring.count * Ring(target, ring.advance, ring.count, ring.spare).per_window
    hop = target.step(ring.advance) // source.step(ring.advance)
    age = (source.size - source.right - (stride * last - padding + kernel)) * ring.apart
    if ring.apart == 1:
        return time(ring.read(kept, position, age + (number - 1) * hop + kernel - 1, age), hop)
    # The phases lie interleaved: each output gets its own few slices.
    ages = [age + (kernel - 1 - k) * ring.apart for k in range(kernel)]
    parts = [ring.read(kept, position, a + (number - 1) * hop, a, hop) for a in ages]
    seen = jax.tree.map(lambda *x: jnp.stack([part[0] for part in x], axis=1), *parts)
    return time(seen, 1)[None, :, 0]

"""Lowerings of the convolutions.

Each distinct convolution of ViNet and STAViS (their published size, one clip on a CPU, eight on a GPU) that has a share
of the network's multiplications, by every `lowering` of `avsd_jax.nn.conv3d.conv3d`, with ReLU; and ViNet as a whole.
"folded" never takes Winograd's algorithm, "winograd" and "winograd2d" wherever they can, "auto" where it was measured
to be faster, and is the default. The grouped convolutions of STANet's ResNeXt-101, whose groups are merged into dense
ones of so many channels, or left to XLA. The error is the largest difference from the direct convolution in float32, of
its largest output. On a GPU float32 rows are in TF32; "highest" rows are not.
"""

import collections
import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from avsd_jax import models
from avsd_jax.nn.conv2d import conv2d
from avsd_jax.nn.conv3d import Conv3D, conv3d
from benchmarks import networks
from benchmarks.cases import forward
from benchmarks.measure import Row, Run, Setting, compare, compiled

QUICK = False
FOLDED = ("folded", "winograd", "winograd2d")
NETWORKS = {
    "ViNet": ("vinet", {"video": (32, 224, 384, 3)}),
    "STAViS": ("stavis_visual", {"video": (16, 112, 112, 3)}),
}
GROUPS = 32
SHARE = 0.02  # of the multiplications of a network, below which a layer is left out


class Layer(NamedTuple):
    """A convolution of a network: shape of its input, and what it does to it."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]

    @property
    def gflop(self) -> float:
        """Returns two for each multiplication, without those by padding."""
        places = np.prod(self.x[:-1]) / np.prod(self.strides)
        return 2e-9 * float(places * np.prod(self.kernel))

    def __str__(self) -> str:
        sizes = ("x".join(map(str, part)) for part in (self.x[1:-1], self.kernel[:3], self.strides))
        places, kernel, strides = sizes
        return f"{places}, {self.kernel[3]} to {self.kernel[4]} channels, {kernel} by {strides}"


def layers_of(model: str, shapes: Mapping[str, tuple[int, ...]], clips: int) -> list[Layer]:
    """Returns the distinct 3-D convolutions of a network that have a share in it, the largest ones first."""
    found: collections.Counter[Layer] = collections.Counter()

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        if isinstance(layer, Conv3D) and context.method_name == "__call__":
            x = args[0].shape
            kernel = (*layer.kernel_size, x[-1], layer.features)
            found[Layer(x, kernel, layer.strides, layer.padding)] += 1
        return call(*args, **kwargs)

    network = models.create(model)
    batch = {name: jax.ShapeDtypeStruct((clips, *shape), jnp.float32) for name, shape in shapes.items()}
    with nn.intercept_methods(note):
        jax.eval_shape(network.init, jax.random.key(0), batch)
    total = sum(layer.gflop * times for layer, times in found.items())
    return [layer for layer, times in found.most_common() if layer.gflop * times >= SHARE * total]


def rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of each layer, and of the whole network."""
    clips = 8 if setting.device == "gpu" else 1
    for title, (model, shapes) in NETWORKS.items():
        layers = sorted(layers_of(model, shapes, clips), key=lambda layer: -layer.gflop)
        for layer in layers[: setting.pick(len(layers), 2)]:
            yield from _layer_rows(setting, title, layer)
    if not setting.quick:
        yield from _group_rows(setting)
    yield from _network_rows(setting, clips)


def _layer_rows(setting: Setting, title: str, layer: Layer) -> Iterator[Row]:
    rng = np.random.default_rng(setting.seed)
    x = jnp.asarray(np.maximum(rng.standard_normal(layer.x), 0), jnp.float32)
    kernel = rng.standard_normal(layer.kernel) * np.sqrt(2 / np.prod(layer.kernel[:-1]))
    kernel = jnp.asarray(kernel, jnp.float32)
    names = ["direct", "folded"]
    if layer.kernel[1:3] == (3, 3) and layer.strides[1:] == (1, 1):
        names += FOLDED[1:]
    kinds = {"": (jnp.float32, None)}
    if setting.device == "gpu":
        kinds |= {", highest": (jnp.float32, "highest"), ", bfloat16": (jnp.bfloat16, None)}
    functions = {
        name + kind: functools.partial(_apply, layer, name, dtype, precision)
        for kind, (dtype, precision) in kinds.items()
        for name in names
        if not (dtype == jnp.bfloat16 and name in FOLDED[1:])  # those are for float32
    }
    exact = np.asarray(jax.jit(functools.partial(_apply, layer, "direct", jnp.float32, "highest"))(x, kernel))
    runs = {}
    for name, function in functions.items():
        program = compiled(function, x, kernel)
        error = np.abs(np.asarray(program.call(x, kernel), np.float32) - exact).max() / exact.max()
        values = {"error": float(error), "GFLOP": layer.gflop}
        runs[name] = Run(functools.partial(program.call, x, kernel), values=values)
    yield from compare(setting, f"{title}: {layer}", runs, unit="layer", against="direct")


def _apply(layer: Layer, lowering: Any, dtype: Any, precision: str | None, x: jax.Array, kernel: jax.Array) -> Any:
    with jax.default_matmul_precision(precision):
        return nn.relu(conv3d(x.astype(dtype), kernel.astype(dtype), layer.strides, layer.padding, lowering))


def _group_rows(setting: Setting) -> Iterator[Row]:
    """Yields the rows of ResNeXt's grouped convolutions, by stage."""
    rng = np.random.default_rng(setting.seed)
    for side, channels in ((89, 256), (45, 512), (23, 1024), (12, 2048)):
        x = jnp.asarray(rng.standard_normal((3, side, side, channels)), jnp.float32)
        kernel = jnp.asarray(rng.standard_normal((3, 3, channels // GROUPS, channels)) / 100, jnp.float32)
        runs = {}
        for joined in (0, 32, 64, 128):
            if 0 < joined < channels // GROUPS:
                continue
            function = functools.partial(conv2d, groups=GROUPS, joined=joined)
            program = compiled(function, x, kernel)
            name = f"merged to {joined} channels" if joined else "as groups"
            runs[name] = Run(functools.partial(program.call, x, kernel), values={"compile s": program.seconds})
        title = f"ResNeXt-101: {side}x{side}, {channels} channels in {GROUPS} groups"
        yield from compare(setting, title, runs, unit="layer", against="as groups")


def _network_rows(setting: Setting, clips: int) -> Iterator[Row]:
    (vinet,) = (network for network in networks.NETWORKS if network.name == "vinet")
    batch = vinet.batch(clips, setting.seed)
    names = setting.pick(("auto", "direct", *FOLDED), ("auto", "folded"))
    runs = {name: forward.our_run(vinet, batch, against="folded", lowering=name) for name in names}
    if setting.device == "gpu":
        for name in ("auto", "direct"):
            runs[f"{name}, bfloat16"] = forward.our_run(vinet, batch, "", "folded", jnp.bfloat16, lowering=name)
    yield from compare(setting, vinet.title, runs, unit="clip")

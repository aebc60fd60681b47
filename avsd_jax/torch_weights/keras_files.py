"""Reader of the weights that Keras saves as HDF5 (.h5): layers in their order, each with its arrays.

Keras numbers layers that have no name, and `TimeDistributed` hides the name of the layer within. So a layer is found by
a known name anywhere in the path of its arrays, and otherwise by their shapes; layers of equal shapes are taken in the
file's order, which is that of the network, if there are as many as are missing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from avsd_jax.errors import InputError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Layers:
    """The layers of a file, [(path, {"kernel": array, ...})], in its order."""

    def __init__(self, path: Path, layers: list[tuple[str, dict[str, np.ndarray]]]):
        self._path, self._layers = path, layers

    def named(self, wanted: Mapping[str, Mapping[str, tuple[int, ...]]]) -> dict[str, np.ndarray]:
        """Returns the arrays under the names of a network's layers.

        Args:
            wanted: layer -> array -> shape, in the order of the network.

        Returns:
            {"layer.array": array}; layers that do not belong to the network under their own paths.

        Raises:
            InputError: a layer is missing, or layers cannot be told apart.
        """
        found: dict[str, dict[str, np.ndarray]] = {}
        rest = []
        for path, arrays in self._layers:
            parts = path.split("/")
            name = next((name for name in wanted if name in parts and name not in found), None)
            if name is None:
                rest.append((path, arrays))
            else:
                found[name] = arrays
        groups: dict[tuple, list[str]] = {}
        for name, shapes in wanted.items():
            if name not in found:
                groups.setdefault(tuple(sorted(shapes.items())), []).append(name)
        for shapes, names in groups.items():
            alike = [entry for entry in rest if tuple(sorted((k, v.shape) for k, v in entry[1].items())) == shapes]
            if len(alike) != len(names):
                shown = ", ".join(f"{key} {list(shape)}" for key, shape in shapes)
                raise InputError(
                    f"{self._path} has {len(alike)} unnamed layers with {shown}, and {len(names)} are needed "
                    f"({', '.join(names)}): give the weights of the whole network"
                )
            rest = [entry for entry in rest if not any(entry is other for other in alike)]
            found |= {name: arrays for name, (_, arrays) in zip(names, alike, strict=True)}
        named = {f"{name}.{key}": array for name, arrays in found.items() for key, array in arrays.items()}
        return named | {f"{path.replace('/', '.')}.{key}": array for path, a in rest for key, array in a.items()}


def is_hdf5(path: Path) -> bool:
    """Returns whether a file begins like HDF5."""
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def read(path: Path) -> Layers | None:
    """Reads the layers of a file of Keras's `save_weights` or `save`; None if it is another kind of HDF5.

    Raises:
        InputError: h5py is not installed, or the file is damaged.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError('reading a Keras file needs h5py: pip install "avsd-jax[convert]"') from error
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" not in root.attrs:
                return None
            layers: dict[str, dict[str, np.ndarray]] = {}
            for layer in root.attrs["layer_names"]:
                group = root[_text(layer)]
                for weight in group.attrs["weight_names"]:
                    # Such as "time_distributed_3/kernel:0", in the group of the layer or of a network of layers.
                    place, _, name = _text(weight).rpartition("/")
                    own = place if _text(layer) in place.split("/") else f"{_text(layer)}/{place}".rstrip("/")
                    layers.setdefault(own, {})[name.partition(":")[0]] = group[_text(weight)][()]
            return Layers(path, list(layers.items()))
    except OSError:
        return None
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:  # whatever h5py makes of damage
        raise InputError(f"{path} is a damaged Keras file: download it again") from error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

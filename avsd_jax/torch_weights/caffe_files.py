"""Reading of Caffe's models (.caffemodel): the weights of their layers under PyTorch's names.

The file is a protocol buffer, `NetParameter` of caffe.proto. Only the fields that hold names and weights are described
here, for protobuf's own parser; it skips the others.

Keys of the result, by the name of a layer: `<layer>.weight` and `<layer>.bias` of a convolution, a transposed
convolution, a dense layer and a Scale layer, which have PyTorch's order of axes; `<layer>.running_mean` and
`<layer>.running_var` of a BatchNorm layer, which stores sums and the number to divide them by. Nothing else is changed:
a network that was trained on BGR images reads BGR images.
"""

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from avsd_jax.common import file_kinds
from avsd_jax.errors import InputError

_BATCH_NORM = "BatchNorm"

# Message -> {field: (number, type, label)}; a type is a scalar of protobuf or another message.
_MESSAGES: dict[str, dict[str, tuple[int, str, str]]] = {
    "BlobShape": {"dim": (1, "int64", "packed")},
    "BlobProto": {
        "num": (1, "int32", "optional"),
        "channels": (2, "int32", "optional"),
        "height": (3, "int32", "optional"),
        "width": (4, "int32", "optional"),
        "data": (5, "float", "packed"),
        "shape": (7, "BlobShape", "optional"),
        "double_data": (8, "double", "packed"),
    },
    "LayerParameter": {
        "name": (1, "string", "optional"),
        "type": (2, "string", "optional"),
        "blobs": (7, "BlobProto", "repeated"),
    },
    # Layers as files before 2014-10 have them; their types are numbers.
    "V1LayerParameter": {
        "name": (4, "string", "optional"),
        "type": (5, "int32", "optional"),
        "blobs": (6, "BlobProto", "repeated"),
    },
    "NetParameter": {
        "name": (1, "string", "optional"),
        "layers": (2, "V1LayerParameter", "repeated"),
        "layer": (100, "LayerParameter", "repeated"),
    },
}


def is_caffemodel(path: Path) -> bool:
    """Returns whether a file's name is that of a Caffe model."""
    return path.suffix.lower() == ".caffemodel"


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the weights of all layers, see the module.

    Raises:
        InputError: the file is something else or damaged, has no weights, or a layer is of no known kind.
    """
    from google.protobuf.message import DecodeError

    foreign = file_kinds.foreign(path)
    net = message_class("NetParameter")()
    try:
        net.ParseFromString(path.read_bytes())
    except DecodeError as error:
        known = foreign if foreign and "as no checkpoint does" not in foreign else None
        raise InputError(f"{path} {known or 'is no Caffe model, or is incomplete: download it again'}") from error
    arrays: dict[str, np.ndarray] = {}
    for name, is_norm, blobs in _layers(net):
        for key, array in _entries(name, is_norm, blobs):
            if key in arrays:
                raise InputError(f"{path} has two layers {name!r}: give the model as it was trained")
            arrays[key] = array
    if not arrays:
        raise InputError(f"{path} has no layer with weights: give a .caffemodel file, not the text of a network")
    return arrays


@functools.cache
def message_class(name: str) -> Any:
    """Returns protobuf's class of one of the messages."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="avsd_caffe.proto", package="avsd_caffe", syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for title, (number, kind, label) in fields.items():
            many = label in ("repeated", "packed")
            entry = described.field.add(
                name=title, number=number, label=field.LABEL_REPEATED if many else field.LABEL_OPTIONAL
            )
            if kind in _MESSAGES:
                entry.type, entry.type_name = field.TYPE_MESSAGE, f".avsd_caffe.{kind}"
            else:
                entry.type = getattr(field, f"TYPE_{kind.upper()}")
            entry.options.packed = label == "packed"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"avsd_caffe.{name}"))


def _layers(net: Any) -> Iterator[tuple[str, bool, list[np.ndarray]]]:
    """Yields name, whether it is a BatchNorm layer, and arrays of each layer with any."""
    for layer in (*net.layers, *net.layer):
        if layer.blobs:
            blobs = [_array(layer.name, blob) for blob in layer.blobs]
            yield layer.name, layer.type == _BATCH_NORM, blobs


def _array(name: str, blob: Any) -> np.ndarray:
    """Returns a blob; in old files, whose arrays all have four axes, without leading axes of 1."""
    numbers, dtype = (blob.data, np.float32) if len(blob.data) else (blob.double_data, np.float64)
    values = np.fromiter(numbers, dtype, count=len(numbers))
    shape = tuple(blob.shape.dim)
    if not blob.HasField("shape"):
        shape = (blob.num, blob.channels, blob.height, blob.width)
        if shape[:2] == (1, 1):  # a dense layer's kernel, or a bias
            shape = shape[2:] if shape[2] > 1 else shape[3:]
    if values.size != np.prod(shape, dtype=np.int64):
        raise InputError(
            f"layer {name!r} has {values.size} numbers where its shape {shape} needs others: the file is damaged; "
            "download it again"
        )
    return values.reshape(shape)


def _entries(name: str, is_norm: bool, blobs: list[np.ndarray]) -> Iterable[tuple[str, np.ndarray]]:
    """Returns the keys and arrays of a layer."""
    if is_norm:
        return zip((f"{name}.running_mean", f"{name}.running_var"), _statistics(name, blobs), strict=True)
    if len(blobs) > 2:
        raise InputError(f"layer {name!r} has {len(blobs)} arrays instead of a kernel and a bias: give another file")
    return zip((f"{name}.weight", f"{name}.bias"), blobs, strict=False)


def _statistics(name: str, blobs: list[np.ndarray]) -> tuple[Float32[np.ndarray, " c"], Float32[np.ndarray, " c"]]:
    """Returns mean and variance of a BatchNorm layer, which stores them times a factor; 0 stands for no step."""
    if len(blobs) != 3 or blobs[2].size != 1:
        raise InputError(f"layer {name!r} is a BatchNorm without mean, variance and factor: give another file")
    factor = float(blobs[2].reshape(()))
    scale = 1 / factor if factor else 0.0
    return np.float32(blobs[0] * scale).reshape(-1), np.float32(blobs[1] * scale).reshape(-1)

"""Files of weights, written without PyTorch."""

import json
import struct

import ml_dtypes

_NAMES = {"f4": "F32", "f2": "F16", "f8": "F64", "i8": "I64", "b1": "BOOL", "c8": "C64"}


def safetensors(arrays, **changes):
    """A safetensors file's bytes; `changes` replace fields of the first array."""
    header, content = {"__metadata__": {"format": "pt"}}, b""
    for key, array in arrays.items():
        name = "BF16" if array.dtype == ml_dtypes.bfloat16 else _NAMES[array.dtype.str[1:]]
        end = len(content) + array.nbytes
        header[key] = {"dtype": name, "shape": list(array.shape), "data_offsets": [len(content), end]}
        content += array.tobytes()
    header[next(iter(arrays), "x")] |= changes
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content

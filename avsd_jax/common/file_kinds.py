"""Identification of files that were given as a checkpoint but are something else."""

import contextlib
import re
import tarfile
import zipfile
from collections.abc import Collection
from pathlib import Path

# First bytes, the kind of file, and the fix.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip (or `tar xzf`) and give what is in it"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2 and give what is in it"),
    (b"\xfd7zXZ\x00", "compressed with xz", "unpack it with unxz and give what is in it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd and give what is in it"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "unpack it with unlz4 and give what is in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and give what is in it"),
    (b"Rar!", "a RAR archive", "unpack it and give what is in it"),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, as Keras and MATLAB write",
        "give the PyTorch checkpoint, or a whole file of Keras",
    ),
    (b"MATLAB 5.0", "a MATLAB file", "give the PyTorch checkpoint"),
    (b"\x93NUMPY", "a NumPy array", "give the PyTorch checkpoint"),
    (b"GGUF", "a GGUF file", "give the PyTorch checkpoint"),
    (b"%PDF", "a PDF document", "give the PyTorch checkpoint"),
    (b"\x89PNG", "a PNG image", "give the PyTorch checkpoint"),
    (b"\xff\xd8\xff", "a JPEG image", "give the PyTorch checkpoint"),
)
_PYTORCH = "give the PyTorch checkpoint that it was made from"
_AGAIN = "download it again"
_ARCHIVED = re.compile(r"\.(pt|pth|pkl|bin|ckpt|tar|safetensors|h5|onnx|npz)$", re.IGNORECASE)

# The number at the start of files of PyTorch before 1.6, and the beginning of such a file.
_TORCH_PICKLE = b"l\xfc\x9cF\xf9 j\xa8P\x19"
_TORCH_START = b"\x80\x02\x8a\n" + _TORCH_PICKLE

# Number of bytes that are read, and the position of a tar's signature.
_HEAD, _TAR = 4096, 257


def foreign(path: Path) -> str | None:
    """Identifies a file that is known not to be a readable checkpoint.

    Returns:
        "is WHAT: FIX", or None if it may be a checkpoint.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(max(0, path.stat().st_size - 8))
        tail = file.read()
    for magic, what, fix in _MAGIC:
        if head.startswith(magic):
            return f"is {what}: {fix}"
    if head.startswith(b"PK"):
        return _zip(path)
    if head[_TAR : _TAR + 5] == b"ustar" or _is_old_tar(path, head):
        return _tar(path)
    if not head or _TORCH_PICKLE in head[:32] or _TORCH_START.startswith(head):
        return None
    return _binary(path, head, tail) or _text(head) or f"begins with {head[:8]!r}, as no checkpoint does: {_AGAIN}"


def _binary(path: Path, head: bytes, tail: bytes) -> str | None:
    """Identifies files whose signature is not at their start, and pickles."""
    if tail == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb" or ".ckpt.data-" in path.name:
        return f"is a TensorFlow checkpoint: {_PYTORCH}"
    if head[4:8] == b"TFL3":
        return f"is a TensorFlow Lite model: {_PYTORCH}"
    if path.suffix == ".onnx" or re.match(rb"\x08[\x01-\x20](\x12.|\x3a|\x1a)", head[:4], re.DOTALL):
        return f"is an ONNX model: {_PYTORCH}"
    if head[:1] in (b"\x04", b"\x03") and b"V 1" in head[:24]:
        return "is a file of Torch 7 (Lua): give a checkpoint of PyTorch"
    if re.match(rb"\x80[\x02-\x05]", head):
        return (
            "is a Python pickle that torch.save did not write, and opening it could run code: load it where it is "
            "trusted and save the weights with torch.save"
        )
    return None if any(head) else f"holds zeros where it should begin: {_AGAIN}"


def _text(head: bytes) -> str | None:
    """Identifies pages, messages and scripts that were saved under the name of a checkpoint."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = head.decode(encoding, errors="strict" if len(head) < _HEAD else "ignore").strip()
    except UnicodeDecodeError:
        return None
    if not text or sum(not c.isprintable() and not c.isspace() for c in text) > 0:
        return None
    start = " ".join(text[:60].split())
    if re.match(r"(<!--.*?-->\s*)*<(!doctype html|html|head|body|meta|script|title)", text, re.IGNORECASE | re.DOTALL):
        return f"is an HTML page, not a checkpoint: open the address in a browser and {_AGAIN}"
    if text.startswith("<"):
        return f"is an XML or HTML text ({start!r}), not a checkpoint: {_AGAIN}"
    if text.startswith(("{", "[")):
        return f"is JSON text ({start!r}), not a checkpoint: {_AGAIN}"
    return f"is text ({start!r}), not a checkpoint: {_AGAIN}"


def _zip(path: Path) -> str | None:
    """Identifies a zip archive; None for an intact one of PyTorch."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"is a damaged or incomplete zip archive, as PyTorch writes: {_AGAIN}"
    tops = {name.partition("/")[2] for name in names}
    if {"constants.pkl", "model.json"} & tops or any(name.startswith("code/") for name in tops):
        return (
            "is a TorchScript archive, which is a program: save its weights with "
            "torch.save(torch.jit.load(PATH).state_dict(), NEW)"
        )
    if "data.pkl" in tops or any(name.endswith("/data.pkl") for name in names):
        return None
    if "archive_format" in tops or any("serialized_exported_program" in name for name in names):
        return "is an exported program (torch.export): save the model's state_dict() instead"
    if names and all(name.endswith(".npy") for name in names):
        return f"is a NumPy archive (.npz): {_PYTORCH}"
    if "model.weights.h5" in names:
        return f"is a Keras model: {_PYTORCH}"
    return f"is a zip archive with {_inside(names)}: {_unpack(names)}"


def _tar(path: Path) -> str:
    names: list[str] = []
    with contextlib.suppress(tarfile.TarError, OSError, EOFError), tarfile.open(path) as archive:
        for member in archive:
            names.append(member.name)
    if {"storages", "tensors", "pickle"} <= set(names):
        return "is a file of PyTorch before 0.1.10: load it with an old PyTorch and save its state_dict() anew"
    return f"is a tar archive with {_inside(names)}: {_unpack(names)}"


def _is_old_tar(path: Path, head: bytes) -> bool:
    """Returns whether a file is a tar from before the format had a signature: names are text, then zeros."""
    return len(head) >= 512 and head[:1].isalnum() and head[99:100] == b"\0" and tarfile.is_tarfile(path)


def _inside(names: Collection[str]) -> str:
    files = [name for name in names if not name.endswith("/")]
    shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    return shown or "nothing in it"


def _unpack(names: Collection[str]) -> str:
    if any(_ARCHIVED.search(name) for name in names):
        return "unpack it and give the checkpoint that is in it"
    return "give the PyTorch checkpoint"


def folder(path: Path) -> str:
    """Identifies a folder given as a checkpoint, and says what to give instead."""
    names = {member.name for member in path.iterdir()}
    if "config.json" in names and "checkpoints" in names:
        return "is a model folder already: give it to --checkpoint of predict, or to --config.init"
    if {"data.pkl", "data"} <= names:
        return "is an unpacked PyTorch file: pack it again (`zip -0 -r NEW.pt FOLDER`) and give that"
    if "saved_model.pb" in names:
        return f"is a TensorFlow model: {_PYTORCH}"
    files = sorted(name for name in names if _ARCHIVED.search(name))
    return "is a folder: give " + (f"the file in it, {' or '.join(files[:3])}" if files else "the path of a .pt file")

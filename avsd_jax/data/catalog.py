"""The catalogue of datasets, and opening of built ones by name."""

import importlib
import json
import pkgutil
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epath
from google.protobuf.json_format import ParseError

from avsd_jax.common import extras
from avsd_jax.data import dataset_names, schema
from avsd_jax.data.store import CACHE_BYTES, VideoStore
from avsd_jax.errors import InputError

if TYPE_CHECKING:
    import tensorflow_datasets

DEFAULT_DATA_DIR = "data"
# A builder is a plug-in, looked up by its name: the rooms below the builders open what these have built.
_PACKAGE = "datasets_tfds"


def names() -> list[str]:
    """Returns the names of the datasets that can be built."""
    return sorted(
        module.name for module in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__) if module.ispkg
    )


def load_builder(name: str, data_dir: str | Path) -> "tensorflow_datasets.core.DatasetBuilder":
    """Loads the builder of a dataset, built or not.

    Args:
        name: `name` or `name/config`; without a config, the builder's first one.
        data_dir: folder of built datasets.

    Raises:
        InputError: no such dataset or config, the message lists the existing ones; or a damaged description of it in
            `data_dir`.
    """
    dataset, _, config = name.partition("/")
    cls = _builder_class(dataset)
    if config and cls.get_builder_config(config) is None:
        configs = ", ".join(c.name for c in cls.BUILDER_CONFIGS)
        raise InputError(f"dataset {dataset!r} has no config {config!r}: choose one of {configs or 'none'}")
    try:
        return cls(data_dir=epath.Path(data_dir).expanduser(), config=config or None)
    except (json.JSONDecodeError, ParseError) as error:
        folder = Path(data_dir) / dataset
        raise InputError(f"a description in {folder} is damaged ({error}): remove it and build again") from error


def _builder_class(dataset: str) -> type["tensorflow_datasets.core.DatasetBuilder"]:
    if dataset not in names():
        raise InputError(f"unknown dataset {dataset!r}: choose one of {', '.join(names())}")
    extras.check("train")
    return importlib.import_module(f"{_PACKAGE}.{dataset}.{dataset}_dataset_builder").Builder


def is_of_files(dataset: str) -> bool:
    """Returns whether a dataset is built from the user's files."""
    return bool(_builder_class(dataset).MANUAL_DOWNLOAD_INSTRUCTIONS)


def open_builder(name: str, data_dir: str | Path) -> "tensorflow_datasets.core.DatasetBuilder":
    """Loads the builder of a dataset that is built in `data_dir`.

    Raises:
        InputError: no such dataset or config; or it is not built there, is damaged, or was built with
            other settings. The message gives the command that fixes it.
    """
    builder = load_builder(name, data_dir)
    if not is_prepared(builder):
        raise not_built([name], data_dir)
    problem = problem_of(builder)
    if problem:
        command = _build_command(name, data_dir)
        raise InputError(f"dataset {name!r} in {str(data_dir)!r} {problem}: run `{command} --overwrite`")
    return builder


def open_builders(wanted: Sequence[str], data_dir: str | Path) -> dict[str, "tensorflow_datasets.core.DatasetBuilder"]:
    """Loads the builders of datasets that are built in `data_dir`, by name.

    Raises:
        InputError: as for `open_builder`; one message names all that are not built.
    """
    absent = lacking(wanted, data_dir)
    if len(absent) > 1:
        raise not_built(absent, data_dir)
    return {name: open_builder(name, data_dir) for name in wanted}


def lacking(wanted: Sequence[str], data_dir: str | Path) -> list[str]:
    """Returns the datasets that are not built in `data_dir`.

    Raises:
        InputError: as for `load_builder`.
    """
    return [name for name in wanted if not is_prepared(load_builder(name, data_dir))]


def not_built(names: Sequence[str], data_dir: str | Path) -> InputError:
    """Returns the error that datasets are not built; the message gives the command that builds them."""
    subject = f"dataset {names[0]!r} is" if len(names) == 1 else f"datasets {', '.join(names)} are"
    return InputError(f"{subject} not built in {str(data_dir)!r}: {_how_to_build(','.join(names), data_dir)}")


def is_prepared(builder: "tensorflow_datasets.core.DatasetBuilder") -> bool:
    """Returns whether a dataset exists, intact or damaged."""
    return (builder.data_path / "dataset_info.json").exists()


def problem_of(builder: "tensorflow_datasets.core.DatasetBuilder") -> str | None:
    """Returns the problem of a built dataset, as the end of a sentence; None if there is none."""
    info = builder.info
    missing = [path for split in info.splits.values() for path in split.filepaths if not epath.Path(path).exists()]
    if missing:
        return f"lacks the file {missing[0]}"
    try:
        metadata = info.metadata
    except json.JSONDecodeError as error:
        return f"has a damaged metadata.json ({error})"
    if "splits" not in metadata:
        return "lacks the file metadata.json"
    settings = json.loads(json.dumps(builder.settings))
    built = metadata["settings"]
    for key in sorted(settings.keys() | built.keys()):
        if settings.get(key) != built.get(key):
            return f"was built with {key}={built.get(key)}, which is now {settings.get(key)}"
    return None


def _needs_files(dataset: str) -> bool:
    """Returns whether any of the datasets is built from the user's files."""
    return any(is_of_files(name.partition("/")[0]) for name in dataset_names.members(dataset))


def _build_command(dataset: str, data_dir: str | Path) -> str:
    options = [f"--dataset={dataset}", f"--data_dir={data_dir}"]
    if _needs_files(dataset):
        options.append("--manual_dir=DIR")  # the folder of the user's files is unknown
    return shlex.join(["python", "-m", "avsd_jax.datasets", "build", *options])


def _how_to_build(dataset: str, data_dir: str | Path) -> str:
    run = f"run `{_build_command(dataset, data_dir)}`"
    if _needs_files(dataset):
        return f"{run}, with DIR your copy of the files; without them, start with --config=configs/avinet.py:demo"
    return f"{run}, or train with --config.build_data=True"


def open_store(
    dataset: str | Sequence[str], split: str, data_dir: str | Path, cache_bytes: int = CACHE_BYTES
) -> VideoStore:
    """Opens a split of a built dataset, or of several as one; reads the index, and no record.

    Args:
        dataset: `name` or `name/config` of a folder of `datasets_tfds`; several, as a sequence or joined by commas;
            or "six", the six eye-tracking datasets.
        split: name of a split, which all datasets must have.
        data_dir: folder in which the datasets were built.
        cache_bytes: memory for parsed chunks, and the same again for data derived from them.

    Raises:
        InputError: there is no such dataset or split, or it is not built in `data_dir`; the message lists all that
            are not.
    """
    names = dataset_names.members(dataset)
    stores = []
    for name, builder in open_builders(names, data_dir).items():
        splits = builder.info.metadata["splits"]
        if split not in splits:
            raise InputError(f"dataset {name!r} has no split {split!r}: choose one of {', '.join(sorted(splits))}")
        videos = [schema.VideoIndex.from_json(entry) for entry in splits[split]]
        # As an instruction, because TFDS interprets the string "all" as the sum of all splits.
        source = builder.as_data_source(split=extras.need("tensorflow_datasets", "train").core.ReadInstruction(split))
        chunk_frames = builder.info.metadata["chunk_frames"]
        stores.append(VideoStore(f"{name} {split}", source, videos, chunk_frames, cache_bytes))
    if len(stores) == 1:
        return stores[0]
    title = dataset if isinstance(dataset, str) else ",".join(names)
    return VideoStore.join(f"{title} {split}", dict(zip(titles(names), stores, strict=True)), cache_bytes)


def titles(names: Sequence[str]) -> list[str]:
    """Returns the prefixes of video ids of several datasets: names without configs if these are different."""
    short = [name.partition("/")[0] for name in names]
    return short if len(set(short)) == len(names) else list(names)

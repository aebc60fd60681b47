"""Builds and finds datasets: `python -m avsd_jax.datasets build --dataset=NAME[/CONFIG]`, and `... list`.

A dataset is a folder `datasets_tfds/<name>/` with a TFDS builder in `<name>_dataset_builder.py`; its name
chooses it. TFDS's own command `tfds build` builds the same files but needs TensorFlow and Beam; this one
needs neither.
"""

import argparse
import contextlib
import fcntl
import importlib
import io
import json
import os
import pkgutil
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow_datasets as tfds
from etils import epath

import datasets_tfds
from avsd_jax.errors import InputError

DEFAULT_DATA_DIR = "data"
_DEMO = "--config=configs/avinet.py:demo"
_INCOMPLETE = "incomplete."  # how TFDS names the folder of a build in progress


def names() -> list[str]:
    """Names of the datasets that can be built."""
    return sorted(module.name for module in pkgutil.iter_modules(datasets_tfds.__path__) if module.ispkg)


def load_builder(name: str, data_dir: str | Path) -> tfds.core.GeneratorBasedBuilder:
    """The builder of a dataset, prepared or not.

    Args:
        name: `name` or `name/config`; without a config, the builder's first one.
        data_dir: folder that holds, or will hold, prepared datasets.

    Raises:
        InputError: no such dataset or config; the message lists those there are.
    """
    dataset, _, config = name.partition("/")
    if dataset not in names():
        raise InputError(f"unknown dataset {dataset!r}: choose one of {', '.join(names())}")
    cls = importlib.import_module(f"datasets_tfds.{dataset}.{dataset}_dataset_builder").Builder
    configs = [c.name for c in cls.BUILDER_CONFIGS]
    if config and config not in configs:
        raise InputError(f"dataset {dataset!r} has no config {config!r}: choose one of {', '.join(configs) or 'none'}")
    return cls(data_dir=epath.Path(data_dir).expanduser(), config=config or None)


def open_builder(name: str, data_dir: str | Path) -> tfds.core.GeneratorBasedBuilder:
    """The builder of a dataset that is prepared in `data_dir`.

    Raises:
        InputError: no such dataset or config; or it is not prepared there, is damaged, or was built with
            other settings. The message gives the command that mends it.
    """
    builder = _known_builder(name, data_dir)
    command = _build_command(name, data_dir)
    if not _is_prepared(builder):
        raise InputError(f"dataset {name!r} is not prepared in {str(data_dir)!r}: run `{command}`, or use {_DEMO}")
    problem = _problem(builder)
    if problem:
        raise InputError(f"dataset {name!r} in {str(data_dir)!r} {problem}: run `{command} --overwrite`")
    return builder


def open_builders(wanted: Sequence[str], data_dir: str | Path) -> dict[str, tfds.core.GeneratorBasedBuilder]:
    """The builders of datasets that are prepared in `data_dir`, by name.

    Raises:
        InputError: as for `open_builder`; of several that are not prepared, one message names them all.
    """
    lacking = [name for name in wanted if not _is_prepared(_known_builder(name, data_dir))]
    if len(lacking) > 1:
        raise InputError(
            f"datasets {', '.join(lacking)} are not prepared in {str(data_dir)!r}: run "
            f"`{_build_command('NAME', data_dir)}` for each, or use {_DEMO}"
        )
    return {name: open_builder(name, data_dir) for name in wanted}


def build(name: str, data_dir: str | Path, *, overwrite: bool = False, num_workers: int = 1) -> bool:
    """Builds a dataset, unless it is there already.

    The files grow in a folder beside the final one, which is renamed at the end: a build that is killed
    leaves nothing that looks complete, and the next one clears it away. One process builds at a time; others
    wait for it. While it runs, the progress over videos is shown in place of TFDS's own bars.

    Args:
        name: `name` or `name/config`.
        data_dir: folder for prepared datasets, on this machine's file system.
        overwrite: build again what is there; the old files stay until the new ones are complete.
        num_workers: processes that make videos.

    Returns:
        False if the dataset was there already.

    Raises:
        InputError: no such dataset or config; the source files are wrong; or what is there is damaged or was
            built with other settings (`overwrite` mends it).
    """
    builder = load_builder(name, data_dir)
    builder.num_workers = num_workers
    folder = Path(builder.data_path).parent
    with _lock(folder):
        if _is_prepared(builder) and not overwrite:
            open_builder(name, data_dir)  # another process may have built it while this one waited
            return False
        for stale in folder.glob(f"{_INCOMPLETE}*"):
            shutil.rmtree(stale)
        tfds.disable_progress_bar()
        # Replaces what is there: the old build, or the rest of one whose removal was interrupted.
        mode = tfds.download.DownloadConfig(download_mode=tfds.GenerateMode.REUSE_CACHE_IF_EXISTS)
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces downloads, of which there are none
            builder.download_and_prepare(download_config=mode)
    return True


def _known_builder(name: str, data_dir: str | Path) -> tfds.core.GeneratorBasedBuilder:
    try:
        return load_builder(name, data_dir)
    except InputError as error:
        raise InputError(f"{error}, or use {_DEMO}") from error


def _is_prepared(builder: tfds.core.GeneratorBasedBuilder) -> bool:
    return (builder.data_path / "dataset_info.json").exists()


def _problem(builder: tfds.core.GeneratorBasedBuilder) -> str | None:
    """What is wrong with a prepared dataset, as the end of a sentence; None if nothing is seen."""
    info = builder.info
    missing = [path for split in info.splits.values() for path in split.filepaths if not epath.Path(path).exists()]
    if missing or "splits" not in info.metadata:
        return f"lacks the file {missing[0] if missing else 'metadata.json'}"
    settings = json.loads(json.dumps(builder.settings))
    built = info.metadata["settings"]
    for key in sorted(settings.keys() | built.keys()):
        if settings.get(key) != built.get(key):
            return f"was built with {key}={built.get(key)}, which is now {settings.get(key)}"
    return None


def _build_command(name: str, data_dir: str | Path) -> str:
    return shlex.join(["python", "-m", "avsd_jax.datasets", "build", f"--dataset={name}", f"--data_dir={data_dir}"])


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds the folder's build lock, which the system lets go when its process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".build_lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that builds in {folder}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _summary(builder: tfds.core.GeneratorBasedBuilder) -> str:
    parts = []
    for split, videos in builder.info.metadata["splits"].items():
        parts.append(f"{split} {len(videos)} videos, {sum(v['num_frames'] for v in videos)} frames")
    return f"{'; '.join(parts)}; {builder.info.dataset_size / 1e6:.1f} MB in {builder.data_path}"


def _build_command_line(args: argparse.Namespace) -> None:
    start = time.monotonic()
    built = build(args.dataset, args.data_dir, overwrite=args.overwrite, num_workers=args.workers)
    summary = _summary(load_builder(args.dataset, args.data_dir))
    if built:
        print(f"built {args.dataset} in {time.monotonic() - start:.0f} s: {summary}")
    else:
        print(f"{args.dataset} is already built (--overwrite builds it again): {summary}")


def _list_command_line(args: argparse.Namespace) -> None:
    for name in names():
        for config in load_builder(name, args.data_dir).BUILDER_CONFIGS:
            builder = load_builder(f"{name}/{config.name}", args.data_dir)
            state = _summary(builder) if _is_prepared(builder) else f"not prepared in {args.data_dir}"
            print(f"{name}/{config.name}: {config.description} [{state}]")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m avsd_jax.datasets", description="Builds and lists datasets.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    building = commands.add_parser("build", help="prepare a dataset")
    building.add_argument("--dataset", required=True, help="NAME or NAME/CONFIG, as `list` shows them")
    building.add_argument("--overwrite", action="store_true", help="build again what is already there")
    building.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    building.set_defaults(run=_build_command_line)
    listing = commands.add_parser("list", help="show what can be built and what is there")
    listing.set_defaults(run=_list_command_line)
    for command in (building, listing):
        command.add_argument(
            "--data_dir",
            default=DEFAULT_DATA_DIR,
            help=f"folder of prepared datasets (default: {DEFAULT_DATA_DIR})",
        )
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

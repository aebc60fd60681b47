"""Builds and finds datasets: `python -m avsd_jax.datasets build --dataset=NAME[/CONFIG]`, `... check`, `... list`.

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
from typing import Any

import tensorflow_datasets as tfds
from etils import epath
from google.protobuf.json_format import ParseError

import datasets_tfds
from avsd_jax.common import atomic_files, atomic_folders, safe_paths
from avsd_jax.common.cli import BAD_INPUT
from avsd_jax.common.cli import run as run_command
from avsd_jax.common.worker_processes import one_thread_each
from avsd_jax.data import dataset_names
from avsd_jax.data.dataset_digest import abbreviated, dataset_digest
from avsd_jax.errors import InputError, storage_error
from avsd_jax.sources.check import Report, refuse
from datasets_tfds.base import VideoDatasetBuilder

DEFAULT_DATA_DIR = "data"
_INCOMPLETE = "incomplete."  # how TFDS names the folder of a build in progress
_ASIDE = "replaced"  # where a build is for a moment that another one replaces


def names() -> list[str]:
    """Names of the datasets that can be built."""
    return sorted(module.name for module in pkgutil.iter_modules(datasets_tfds.__path__) if module.ispkg)


def load_builder(name: str, data_dir: str | Path) -> VideoDatasetBuilder:
    """The builder of a dataset, prepared or not.

    Args:
        name: `name` or `name/config`; without a config, the builder's first one.
        data_dir: folder that holds, or will hold, prepared datasets.

    Raises:
        InputError: no such dataset or config, the message lists those there are; or a damaged description of it in
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


def _builder_class(dataset: str) -> type[VideoDatasetBuilder]:
    if dataset not in names():
        raise InputError(f"unknown dataset {dataset!r}: choose one of {', '.join(names())}")
    return importlib.import_module(f"datasets_tfds.{dataset}.{dataset}_dataset_builder").Builder


def _is_of_files(dataset: str) -> bool:
    """Whether a dataset is made of the user's files."""
    return bool(_builder_class(dataset).MANUAL_DOWNLOAD_INSTRUCTIONS)


def open_builder(name: str, data_dir: str | Path) -> VideoDatasetBuilder:
    """The builder of a dataset that is prepared in `data_dir`.

    Raises:
        InputError: no such dataset or config; or it is not prepared there, is damaged, or was built with
            other settings. The message gives the command that mends it.
    """
    builder = load_builder(name, data_dir)
    if not _is_prepared(builder):
        raise InputError(f"dataset {name!r} is not prepared in {str(data_dir)!r}: {_how_to_build(name, data_dir)}")
    problem = _problem(builder)
    if problem:
        command = _build_command(name, data_dir)
        raise InputError(f"dataset {name!r} in {str(data_dir)!r} {problem}: run `{command} --overwrite`")
    return builder


def open_builders(wanted: Sequence[str], data_dir: str | Path) -> dict[str, VideoDatasetBuilder]:
    """The builders of datasets that are prepared in `data_dir`, by name.

    Raises:
        InputError: as for `open_builder`; of several that are not prepared, one message names them all.
    """
    lacking = [name for name in wanted if not _is_prepared(load_builder(name, data_dir))]
    if len(lacking) > 1:
        mend = _how_to_build(",".join(lacking), data_dir)
        raise InputError(f"datasets {', '.join(lacking)} are not prepared in {str(data_dir)!r}: {mend}")
    return {name: open_builder(name, data_dir) for name in wanted}


def build(
    name: str,
    data_dir: str | Path,
    *,
    manual_dir: str | Path | None = None,
    skip_missing: bool = False,
    overwrite: bool = False,
    num_workers: int = 1,
    beam_options: Sequence[str] | None = None,
    report: Report | None = None,
) -> bool:
    """Builds a dataset, unless it is there already.

    The files grow in a folder beside the final one, which is renamed at the end: a build that fails or is killed
    leaves nothing that looks complete, and what was there before as it was; the next one clears the rest away. One
    process builds at a time; others wait for it. While it runs, the progress over videos is shown in place of TFDS's
    own bars.

    Args:
        name: `name` or `name/config`.
        data_dir: folder for prepared datasets, on this machine's file system.
        manual_dir: root of the user's source files, for the datasets that are made of such.
        skip_missing: leave out a video that lacks a file, instead of stopping; it is listed in the metadata.
        overwrite: build again what is there; the old files stay until the new ones are complete.
        num_workers: processes that make videos.
        beam_options: flags for Apache Beam, which makes the videos then, such as ["--runner=FlinkRunner"].
        report: what a check of `manual_dir` has just found; None to look now.

    Returns:
        False if the dataset was there already.

    Raises:
        InputError: no such dataset or config; the source files are wrong, and the message says all that was found;
            or what is there is damaged or was built with other settings (`overwrite` mends it).
        StorageError: the disk is full or read-only.
    """
    _check_names(data_dir, manual_dir)
    builder = load_builder(name, data_dir)
    target = Path(builder.data_path)
    folder = target.parent
    with _lock(folder):
        atomic_folders.restore(target, folder / _ASIDE)
        if _is_prepared(builder) and not overwrite:
            open_builder(name, data_dir)  # another process may have built it while this one waited
            return False
        for stale in folder.glob(f"{_INCOMPLETE}*"):
            shutil.rmtree(stale)
        tfds.disable_progress_bar()
        config = tfds.download.DownloadConfig()
        config.manual_dir = manual_dir and epath.Path(manual_dir).expanduser()
        config.beam_options = _pipeline_options(beam_options)
        with _place(name, data_dir, target) as place:
            fresh = load_builder(name, place)
            fresh.num_workers, fresh.skip_missing, fresh.report = num_workers, skip_missing, report
            # TFDS announces downloads, of which there are none.
            with contextlib.redirect_stdout(io.StringIO()), one_thread_each():
                fresh.download_and_prepare(download_config=config)
    return True


@contextlib.contextmanager
def _place(name: str, data_dir: str | Path, target: Path) -> Iterator[str | Path]:
    """The data folder to build in: where something is already, another one, from which the new build takes its place.

    TFDS removes what is there before it reads anything.
    """
    if not target.exists():
        yield data_dir
        return
    place = target.parent / f"{_INCOMPLETE}new"
    try:
        yield place
        atomic_folders.exchange(Path(load_builder(name, place).data_path), target, target.parent / _ASIDE)
    except OSError as error:
        full = storage_error(error, target.parent)
        if full is None:
            raise
        raise full from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _check_names(*folders: str | Path | None) -> None:
    """Refuses folders whose names cannot be printed, nor read by FFmpeg."""
    for folder in folders:
        if folder is not None and not safe_paths.is_text(str(folder)):
            raise InputError(f"the folder {str(folder)!r} has a name that is not UTF-8: rename it")


def _pipeline_options(flags: Sequence[str] | None) -> Any:
    """What TFDS hands to Beam; None where it is not asked for."""
    if flags is None:
        return None
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError('Beam is not installed: run `pip install "avsd-jax[beam]"`') from error
    return PipelineOptions(list(flags))


def _is_prepared(builder: VideoDatasetBuilder) -> bool:
    return (builder.data_path / "dataset_info.json").exists()


def _problem(builder: VideoDatasetBuilder) -> str | None:
    """What is wrong with a prepared dataset, as the end of a sentence; None if nothing is seen."""
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
    """Whether any of the datasets is made of the user's files."""
    return any(_is_of_files(name.partition("/")[0]) for name in dataset_names.members(dataset))


def _build_command(dataset: str, data_dir: str | Path) -> str:
    options = [f"--dataset={dataset}", f"--data_dir={data_dir}"]
    if _needs_files(dataset):
        options.append("--manual_dir=DIR")  # where the user's files are, which only the user knows
    return shlex.join(["python", "-m", "avsd_jax.datasets", "build", *options])


def _how_to_build(dataset: str, data_dir: str | Path) -> str:
    run = f"run `{_build_command(dataset, data_dir)}`"
    if _needs_files(dataset):
        return f"{run}, with DIR your copy of the files; without them, start with --config=configs/avinet.py:demo"
    return f"{run}, or train with --config.build_data=True"


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds the folder's build lock, which the system lets go when its process dies."""
    atomic_files.make_folder(folder)
    lock = folder / ".build_lock"
    try:
        lock.touch()
    except OSError as error:
        raise storage_error(error, folder) or InputError(
            f"{folder} cannot be written to ({error.strerror}): give another folder"
        ) from error
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that builds in {folder}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _summary(builder: VideoDatasetBuilder) -> str:
    parts = []
    for split, videos in builder.info.metadata["splits"].items():
        parts.append(f"{split} {len(videos)} videos, {sum(v['num_frames'] for v in videos)} frames")
    left_out = f"; {len(_left_out(builder))} videos left out" if _left_out(builder) else ""
    notes = builder.info.metadata.get("notes", {})  # earlier builders wrote none
    layout = f"; layout {notes['layout']}" if "layout" in notes else ""
    # Splits share files.
    files = {(s := path.stat()).st_ino: s.st_size for path in Path(builder.data_path).iterdir()}
    return f"{'; '.join(parts)}{left_out}{layout}; {sum(files.values()) / 1e6:.1f} MB in {builder.data_path}"


def _digest(builder: VideoDatasetBuilder) -> str:
    """The beginning of the digest, by which two people see that they have the same."""
    try:
        return abbreviated(dataset_digest(Path(builder.data_path)))
    except InputError as error:
        return f"unknown ({error})"


def _left_out(builder: VideoDatasetBuilder) -> dict[str, str]:
    """Why videos were left out, by video."""
    return builder.info.metadata.get("left_out", {})


def _build_command_line(args: argparse.Namespace) -> int:
    options = {name: getattr(args, name) for name in ("manual_dir", "skip_missing", "overwrite")}
    beam_options = args.beam_pipeline_options
    if beam_options is not None:
        options["beam_options"] = [f"--{option}" for option in beam_options.split(",") if option]
    wanted = dataset_names.members(args.dataset)
    reports = _checked_before(wanted, args)
    for name in wanted:
        start = time.monotonic()
        built = build(name, args.data_dir, num_workers=args.workers, report=reports.get(name), **options)
        builder = load_builder(name, args.data_dir)
        if built:
            print(f"built {name} in {time.monotonic() - start:.0f} s: {_summary(builder)}")
            for video, why in _left_out(builder).items():
                print(f"left out {video}: {why}")
        else:
            print(f"{name} is already built (--overwrite builds it again): {_summary(builder)}")
    return 0


def _checked_before(wanted: Sequence[str], args: argparse.Namespace) -> dict[str, Report]:
    """What a check finds of each of several datasets that are going to be built, so that none is built in vain.

    Raises:
        InputError: something is wrong with one of them; the message gives all that was found.
    """
    if len(wanted) == 1 or args.manual_dir is None:
        return {}
    _check_names(args.manual_dir, args.data_dir)
    reports, problems = {}, []
    for name in wanted:
        builder = load_builder(name, args.data_dir)
        if _is_of_files(name.partition("/")[0]) and (args.overwrite or not _is_prepared(builder)):
            try:
                reports[name] = builder.check(args.manual_dir, args.workers)
                problems += reports[name].stops(args.skip_missing)
            except InputError as error:
                problems.append(str(error))
    refuse(", ".join(wanted), problems)
    return reports


def _check_command_line(args: argparse.Namespace) -> int:
    wanted = dataset_names.members(args.dataset) if args.dataset else filter(_is_of_files, names())
    _check_names(args.manual_dir, args.data_dir)
    wrong, reports = False, 0
    for name in wanted:
        builder = load_builder(name, args.data_dir)
        try:
            report = builder.check(args.manual_dir, args.workers, args.thorough)
        except InputError as error:
            if args.dataset:
                raise
            print(f"{name}: {error}")
            continue
        print("\n".join(report.lines(args.skip_missing)))
        reports += 1
        wrong = wrong or bool(report.stops(args.skip_missing))
    # As a build would end.
    return BAD_INPUT if wrong or not reports else 0


def _list_command_line(args: argparse.Namespace) -> int:
    for name in names():
        named = [config.name for config in load_builder(name, args.data_dir).BUILDER_CONFIGS]
        # Options are names of their own, known by what was built with them.
        built = Path(args.data_dir, name).glob("*/*/dataset_info.json")
        folders = sorted(path.parent.parent for path in built if path.parent.name != _ASIDE)
        for config in dict.fromkeys([*named, *(folder.name for folder in folders)]):
            builder = load_builder(f"{name}/{config}", args.data_dir)
            if not _is_prepared(builder):
                state = f"not prepared in {args.data_dir}"
            elif problem := _problem(builder):
                state = f"{problem}: build it again with --overwrite"
            else:
                state = f"{_summary(builder)}; digest {_digest(builder)}"
            print(f"{name}/{config}: {builder.builder_config.description} [{state}]")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 0, 1 where the disk is full, 2 on bad input.

    A check ends as a build of the same files would.
    """
    parser = argparse.ArgumentParser(prog="python -m avsd_jax.datasets", description="Builds and lists datasets.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    building = commands.add_parser("build", help="prepare a dataset")
    building.add_argument("--dataset", required=True, help="NAME or NAME/OPTIONS; several joined by commas; six")
    building.add_argument("--overwrite", action="store_true", help="build again what is already there")
    building.add_argument("--manual_dir", help="root of the tree of your source files")
    building.add_argument("--beam_pipeline_options", help="flags for Apache Beam, as for `tfds build`: runner=...,...")
    building.set_defaults(run=_build_command_line)
    checking = commands.add_parser("check", help="report on source files before a build; changes nothing")
    checking.add_argument("--dataset", help="as for build (default: all that are there)")
    checking.add_argument("--manual_dir", required=True, help="root of the tree of your source files")
    checking.add_argument("--thorough", action="store_true", help="decode everything, as a build does; takes as long")
    checking.set_defaults(run=_check_command_line)
    listing = commands.add_parser("list", help="show what can be built and what is there")
    listing.set_defaults(run=_list_command_line)
    for command in (building, checking):
        command.add_argument(
            "--skip_missing", action="store_true", help="leave out videos that lack a file, and list them"
        )
        command.add_argument(
            "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)"
        )
    for command in (building, checking, listing):
        command.add_argument(
            "--data_dir",
            default=DEFAULT_DATA_DIR,
            help=f"folder of prepared datasets (default: {DEFAULT_DATA_DIR})",
        )
    args = parser.parse_args(argv)
    return run_command(lambda: _checked(args).run(args))


def _checked(args: argparse.Namespace) -> argparse.Namespace:
    if getattr(args, "workers", 1) < 1:
        raise InputError(f"workers={args.workers}: give 1 or more")
    return args


if __name__ == "__main__":
    sys.exit(main())

"""Builds, checks and lists datasets: `python -m avsd_jax.datasets build --dataset=NAME[/CONFIG]`, `... check`, `...
list`.

A dataset is a folder `datasets_tfds/<name>/` with a TFDS builder in `<name>_dataset_builder.py`; its name
selects it. TFDS's own command `tfds build` builds the same files but needs TensorFlow and Beam; this one
needs neither.
"""

import avsd_jax.common.needs_train  # noqa: F401  # isort: skip

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from avsd_jax.common import beam, cli, logs
from avsd_jax.common.cli import BAD_INPUT
from avsd_jax.data import dataset_names
from avsd_jax.data.catalog import (
    DEFAULT_DATA_DIR,
    is_of_files,
    is_prepared,
    load_builder,
    names,
    problem_of,
)
from avsd_jax.data.dataset_digest import abbreviated, dataset_digest
from avsd_jax.errors import InputError
from avsd_jax.sources.build import ASIDE, build, check_folder_names
from avsd_jax.sources.check import Report, refuse
from datasets_tfds.base import VideoDatasetBuilder


def _summary(builder: VideoDatasetBuilder) -> str:
    parts = []
    for split, videos in builder.info.metadata["splits"].items():
        parts.append(f"{split} {len(videos)} videos, {sum(v['num_frames'] for v in videos)} frames")
    left_out = f"; {len(_left_out(builder))} videos skipped" if _left_out(builder) else ""
    notes = builder.info.metadata.get("notes", {})  # earlier builders wrote none
    layout = f"; layout {notes['layout']}" if "layout" in notes else ""
    # Splits share files.
    files = {(s := path.stat()).st_ino: s.st_size for path in Path(builder.data_path).iterdir()}
    return f"{'; '.join(parts)}{left_out}{layout}; {sum(files.values()) / 1e6:.1f} MB in {builder.data_path}"


def _digest(builder: VideoDatasetBuilder) -> str:
    """Returns the beginning of the digest, to compare datasets of different people."""
    try:
        return abbreviated(dataset_digest(Path(builder.data_path)))
    except InputError as error:
        return f"unknown ({error})"


def _left_out(builder: VideoDatasetBuilder) -> dict[str, str]:
    """Returns why videos were skipped, by video."""
    return builder.info.metadata.get("left_out", {})


def _build_command_line(args: argparse.Namespace) -> int:
    options = {name: getattr(args, name) for name in ("manual_dir", "skip_missing", "overwrite")}
    options["beam_options"] = beam.flags(args.beam_pipeline_options)
    wanted = dataset_names.members(args.dataset)
    reports = _checked_before(wanted, args)
    for name in wanted:
        start = time.monotonic()
        built = build(name, args.data_dir, num_workers=args.workers, report=reports.get(name), **options)
        builder = load_builder(name, args.data_dir)
        if built:
            print(f"built {name} in {time.monotonic() - start:.0f} s: {_summary(builder)}")
            for video, why in _left_out(builder).items():
                print(f"skipped {video}: {why}")
        else:
            print(f"{name} is already built (--overwrite builds it again): {_summary(builder)}")
    return 0


def _checked_before(wanted: Sequence[str], args: argparse.Namespace) -> dict[str, Report]:
    """Checks all of several datasets before any is built.

    Raises:
        InputError: there are problems with one of them; the message lists all.
    """
    if len(wanted) == 1 or args.manual_dir is None:
        return {}
    check_folder_names(args.manual_dir, args.data_dir)
    reports, problems = {}, []
    for name in wanted:
        builder = load_builder(name, args.data_dir)
        if is_of_files(name.partition("/")[0]) and (args.overwrite or not is_prepared(builder)):
            try:
                reports[name] = builder.check(args.manual_dir, args.workers)
                problems += reports[name].stops(args.skip_missing)
            except InputError as error:
                problems.append(str(error))
    refuse(", ".join(wanted), problems)
    return reports


def _check_command_line(args: argparse.Namespace) -> int:
    wanted = dataset_names.members(args.dataset) if args.dataset else filter(is_of_files, names())
    check_folder_names(args.manual_dir, args.data_dir)
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
    # The exit status of a build.
    return BAD_INPUT if wrong or not reports else 0


def _list_command_line(args: argparse.Namespace) -> int:
    for name in names():
        named = [config.name for config in load_builder(name, args.data_dir).BUILDER_CONFIGS]
        # Datasets with options have their own names, found among the built ones.
        built = Path(args.data_dir, name).glob("*/*/dataset_info.json")
        folders = sorted(path.parent.parent for path in built if path.parent.name != ASIDE)
        for config in dict.fromkeys([*named, *(folder.name for folder in folders)]):
            builder = load_builder(f"{name}/{config}", args.data_dir)
            if not is_prepared(builder):
                state = f"not built in {args.data_dir}"
            elif problem := problem_of(builder):
                state = f"{problem}: build it again with --overwrite"
            else:
                state = f"{_summary(builder)}; digest {_digest(builder)}"
            print(f"{name}/{config}: {builder.builder_config.description} [{state}]")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status: 0, 1 if the disk is full, 2 on bad input.

    A check has the exit status of a build of the same files.
    """
    parser = cli.Parser("python -m avsd_jax.datasets", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    building = commands.add_parser("build", help="build a dataset")
    building.add_argument("--dataset", required=True, help="NAME or NAME/OPTIONS; several separated by commas; six")
    building.add_argument("--overwrite", action="store_true", help="build an existing dataset again")
    building.add_argument("--manual_dir", help="root of the tree of your source files")
    building.add_argument("--beam_pipeline_options", help="flags for Apache Beam, as for `tfds build`: runner=...,...")
    building.set_defaults(run=_build_command_line)
    checking = commands.add_parser("check", help="report on source files before a build; changes nothing")
    checking.add_argument("--dataset", help="as for build (default: all existing ones)")
    checking.add_argument("--manual_dir", required=True, help="root of the tree of your source files")
    checking.add_argument("--thorough", action="store_true", help="decode everything, as a build does; takes as long")
    checking.set_defaults(run=_check_command_line)
    listing = commands.add_parser("list", help="list available and built datasets")
    listing.set_defaults(run=_list_command_line)
    for command in (building, checking):
        command.add_argument("--skip_missing", action="store_true", help="skip videos that lack a file, and list them")
        command.add_argument(
            "--workers", type=cli.positive, default=os.cpu_count() or 1, help="processes (default: one per core)"
        )
    for command in (building, checking, listing):
        command.add_argument(
            "--data_dir",
            default=DEFAULT_DATA_DIR,
            help=f"folder of built datasets (default: {DEFAULT_DATA_DIR})",
        )
        command.add_argument("--verbose", action="store_true", help="also print the logs of libraries")
    return cli.run(lambda: _run_command_line(parser.parse_args(argv)))


def _run_command_line(args: argparse.Namespace) -> int:
    with logs.shown(args.verbose):
        return args.run(args)


if __name__ == "__main__":
    sys.exit(main())

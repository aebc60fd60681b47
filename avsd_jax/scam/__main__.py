"""Computes target maps for training from the tags of videos alone (weak supervision).

python -m avsd_jax.scam --config=configs/scam.py[:variant] --workdir=DIR [--config.FIELD=VALUE ...]
"""

import avsd_jax.common.huge_pages  # noqa: F401  # isort: skip
import avsd_jax.common.needs_train  # noqa: F401  # isort: skip

import argparse
import sys
from collections.abc import Sequence

from avsd_jax.common import logs
from avsd_jax.common.programs import keep_programs
from avsd_jax.errors import InputError
from avsd_jax.experiment import command_line
from avsd_jax.runs.run_folder import locked
from avsd_jax.scam import stages


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit status."""
    parser = command_line.parser("python -m avsd_jax.scam", __doc__)
    return command_line.run(lambda: _run_command_line(command_line.parse(parser, argv)))


def _run_command_line(args: argparse.Namespace) -> None:
    if "scam" not in args.config:
        raise InputError("the configuration has no section scam: give --config=configs/scam.py")
    with logs.shown(args.verbose), locked(args.workdir), logs.kept_in(args.workdir):
        keep_programs(args.config.compilation_cache)
        record = stages.run(args.config, args.workdir)
    print("classifier   best tag is one of the video's   confidence")
    for name, values in record["classifiers"].items():
        print(f"{name:<12} {values['agrees']:30.1%}   {values['confidence']:10.2f}")
    print(f"{record['boxes']} boxes, {record['maps']} maps in {args.workdir / 'maps'}")


if __name__ == "__main__":
    sys.exit(main())

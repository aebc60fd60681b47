"""Command line of the weakly supervised stage.

python -m avsd_jax.scam --config=configs/scam.py[:variant] --workdir=DIR [--config.FIELD=VALUE ...]
"""

from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags, logging

from avsd_jax import main
from avsd_jax.errors import InputError
from avsd_jax.runs.run_folder import locked
from avsd_jax.scam import stages


def run(argv: Sequence[str]) -> None:
    """Runs what the parsed flags say."""
    del argv
    for name in ("mode", "distributed"):
        if flags.FLAGS[name].present:
            raise InputError(f"--{name} is an option of avsd_jax.main, not of avsd_jax.scam: leave it out")
    config, workdir = flags.FLAGS.config, Path(flags.FLAGS.workdir)
    if "scam" not in config:
        raise InputError("the configuration has no section scam: give --config=configs/scam.py")
    jax.config.update("jax_compilation_cache_dir", str(workdir.absolute() / "compiled"))
    logging.set_verbosity(logging.INFO)
    with locked(workdir):
        record = stages.run(config, workdir)
    print("classifier   best tag is one of the video's   confidence")
    for name, values in record["classifiers"].items():
        print(f"{name:<12} {values['agrees']:30.1%}   {values['confidence']:10.2f}")
    print(f"{record['boxes']} boxes, {record['maps']} maps in {workdir / 'maps'}")


if __name__ == "__main__":
    main.cli(run)

"""A training run of seconds, in this process or killed as a script: tiny_run.py WORKDIR DATA_DIR [KEY=VALUE ...]."""

import ast
import os
import pathlib
import sys

from absl import flags
from ml_collections import ConfigDict

HELPERS = pathlib.Path(__file__).parent
ROOT = HELPERS.parents[1]


def add_extra_models() -> None:
    """Lets configurations name the models in tests/helpers/extra_models: a model is a file in the package's path."""
    import avsd_jax.models

    folder = str(HELPERS / "extra_models")
    if folder not in avsd_jax.models.__path__:
        avsd_jax.models.__path__.append(folder)


def tiny_config(data_dir: str | os.PathLike, /, **changes: object) -> ConfigDict:
    """The demo's configuration with a model that compiles in seconds, on the tiny dataset."""
    sys.path.insert(0, str(ROOT))
    from configs.avinet import get_config

    config = get_config("demo").unlock()
    config.run_name = "tiny"
    config.model_name = "tiny"
    config.model = ConfigDict({"clip_size": 8, "gate": "always"})
    config.dataset = "sounding_shapes/tiny"
    config.data_dir = str(data_dir)
    config.build_data = False
    config.frame_size = (32, 32)
    config.batch_size = 8
    config.total_steps = 12
    config.checkpoint_every = 3
    config.log_every = 3
    config.tensorboard = False
    config.rows = ()
    with config.ignore_type():
        for key, value in changes.items():
            config[key] = value
    return config.lock()


def train_avinet(
    dataset: str, data_dir: str | os.PathLike, workdir: str | os.PathLike, compiled: str | os.PathLike
) -> list[dict[str, float]]:
    """Two steps of a narrow AViNet with a classifier on `train_1`, on one device; what was logged of each.

    Compiled once for all the tests that give the same folder `compiled`: it takes a minute.
    """
    sys.path.insert(0, str(ROOT))
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    from avsd_jax.common.parallel import make_mesh
    from avsd_jax.training import loop
    from avsd_jax.training.metric_writer import read_scalars
    from configs.avinet import get_config

    config = get_config("demo").unlock()
    config.update(dataset=dataset, data_dir=str(data_dir), build_data=False, rows=(), tags=(), samples_per_video=1)
    config.update(train_split="train_1", test_split="test_1", frame_size=(32, 64), batch_size=2, total_steps=2)
    config.update(log_every=1, tensorboard=False)
    config.model.update(num_tags=0, width=0.125)
    config.model.classifier_options.width = 0.125
    before = jax.config.jax_compilation_cache_dir
    try:
        compilation_cache.reset_cache()
        jax.config.update("jax_compilation_cache_dir", str(compiled))
        loop.train(config.lock(), workdir, mesh=make_mesh(jax.devices()[:1]))
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()
    return read_scalars(pathlib.Path(workdir) / "metrics.jsonl")


def main(workdir: str, data_dir: str, *changes: str) -> int:
    """Trains as the arguments say; the status is the command's."""
    add_extra_models()
    from avsd_jax.experiment import command_line
    from avsd_jax.training import loop

    def command() -> None:
        if "JAX_NUM_PROCESSES" in os.environ:
            command_line.join_processes()
        given = dict(argument.split("=", 1) for argument in changes)
        loop.train(tiny_config(data_dir, **{k: ast.literal_eval(v) for k, v in given.items()}), workdir)

    status = command_line.run(command)
    assert "tensorflow" not in sys.modules, "training imported TensorFlow"
    return status


if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()
    sys.exit(main(*sys.argv[1:]))

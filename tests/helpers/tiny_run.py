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

    config = get_config("comparison").unlock()
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


def train_on_fold(dataset: str, data_dir: str | os.PathLike, workdir: str | os.PathLike) -> list[dict[str, float]]:
    """Two steps on `train_1` of a small model that reads all that AViNet with a classifier reads; what was logged."""
    add_extra_models()
    import jax

    from avsd_jax.common.parallel import make_mesh
    from avsd_jax.training import loop
    from avsd_jax.training.metric_writer import read_scalars

    model = ConfigDict({"clip_size": 8, "gate": "classifier"})
    config = tiny_config(data_dir, dataset=dataset, model_name="tiny_gated", model=model).unlock()
    config.update(train_split="train_1", test_split="test_1", batch_size=2, samples_per_video=1)
    config.update(total_steps=2, log_every=1, tags=())
    loop.train(config.lock(), workdir, mesh=make_mesh(jax.devices()[:1]))
    return read_scalars(pathlib.Path(workdir) / "metrics.jsonl")


def main(workdir: str, data_dir: str, *changes: str) -> int:
    """Trains as the arguments say; the status is the command's."""
    add_extra_models()
    from avsd_jax.common import cluster
    from avsd_jax.experiment import command_line
    from avsd_jax.training import loop

    def command() -> None:
        cluster.join()
        given = dict(argument.split("=", 1) for argument in changes)
        loop.train(tiny_config(data_dir, **{k: ast.literal_eval(v) for k, v in given.items()}), workdir)

    status = command_line.run(command)
    assert "tensorflow" not in sys.modules, "training imported TensorFlow"
    return status


if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()
    sys.exit(main(*sys.argv[1:]))

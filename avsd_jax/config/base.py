"""The base of every configuration: each field once, with its default. A configuration states what differs from it.

`avsd_jax.config.fields` defines the valid values; `docs/configurations.md` documents both for users.
"""

import dataclasses
from collections.abc import Mapping

from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.common.by_name import load_module
from avsd_jax.common.programs import AUTO
from avsd_jax.config import earlier
from avsd_jax.config.fields import REQUIRED
from avsd_jax.data.consistency_grid import EVERY

# Options of a model that the run sets, not the configuration.
_NOT_CONFIGURED = {"parent", "name", "axis_name", "precision"}


def base(model_name: str) -> ConfigDict:
    """Returns a configuration of a model with the default of every field, unlocked.

    Args:
        model_name: module of `avsd_jax/models`, which also names the run; `config.model` has all of its options, and
            the model may set other defaults (`Network.defaults`).

    Raises:
        InputError: unknown model.
    """
    config = defaults()
    config.run_name = config.model_name = model_name
    config.model = model_options(model_name)
    config.update(load_module("avsd_jax.models", model_name, "model").Model.defaults)
    return config


def model_options(model_name: str) -> ConfigDict:
    """Returns the options of a model with their defaults.

    Raises:
        InputError: unknown model.
    """
    fields = dataclasses.fields(load_module("avsd_jax.models", model_name, "model").Model)
    given = {field.name: field.default for field in fields if field.name not in _NOT_CONFIGURED}
    return ConfigDict({name: dict(x) if isinstance(x, Mapping) else x for name, x in given.items()})


def defaults() -> ConfigDict:
    """Returns the default of every field; `run_name`, `model_name` and `model` are still empty."""
    config = ConfigDict()
    config.run_name = ""  # in logs and tables
    config.seed = 0  # seed of all random draws

    # Model section.
    config.model_name = ""  # module of avsd_jax/models
    config.model = ConfigDict()  # its options
    config.init = ""  # folder or hf:// address of a run to start from; a visual-only one initialises the visual stream
    config.init_parts = ConfigDict()  # folders of runs that start single submodules, {"audionet": FOLDER}; "" for none
    config.revisions = ()  # (address, commit) of each hf:// address in init and init_parts; the run sets it

    # Data section. "six" stands for the eye-tracking datasets, trained on together and scored one by one.
    config.dataset = "six"  # modules of datasets_tfds, joined by commas
    config.data_dir = "data"  # where `python -m avsd_jax.datasets build` writes them
    config.build_data = False  # whether a missing dataset is built
    config.split = 1  # fold; delete the field where the names of the splits do not depend on one
    config.train_split = "train_" + config.get_ref("split").to_str()
    config.test_split = "test_" + config.get_ref("split").to_str()
    config.calibration_share = 0.0  # share of the training videos held out for `python -m avsd_jax.calibrate`
    config.target_maps = ""  # folder of maps to train on instead of the density maps; "" trains on the density maps
    config.frame_size = (224, 384)  # height and width, pixels
    config.frame_step = 1  # distance between the frames of a clip
    config.sampler = "vinet"  # module of avsd_jax/data/samplers
    config.sampler_options = ConfigDict()
    config.preprocessing = "vinet"  # module of avsd_jax/data/preprocessing
    config.preprocessing_options = ConfigDict()
    config.flip = False  # whether half of the training clips are mirrored
    config.samples_per_video = 1  # clips of each video in an epoch
    config.avc_supervision = "labels"  # of the classifier: labels of frames, or weak: which audio it gets
    config.data_threads = 4  # threads that prepare clips

    # Loss section: eq. 3.
    config.losses = ConfigDict(losses.default_weights())  # weights of the modules of avsd_jax/losses/terms
    config.rho = 0.5  # share of the saliency part (map and tags) in the loss; 1 - rho is the classifier's
    config.side_epochs = 0  # epochs over which the side maps of STAViS's losses lose their weight; 0: not trained
    config.tags = ()  # words about videos that a model with `num_tags` learns to classify

    # Optimiser section.
    config.total_steps = 1000
    config.batch_size = 8  # clips of a step, over all devices
    config.optimizer = "adam"  # adam, adamw, sgd or dampened_sgd
    config.optimizer_options = ConfigDict()
    config.learning_rate = 1e-4  # after the warm-up
    config.rates = ()  # (regular expression, factor): factors on the learning rate by parameter
    config.schedule = "constant"  # constant, cosine or steps
    config.rate_drops = (1 / 3, 2 / 3)  # shares of all steps where schedule="steps" lowers the rate
    config.rate_factor = 0.1  # factor on the rate at each of them
    config.warmup_steps = 0
    config.clip_norm = 0.0  # largest norm of the gradient; 0 for no limit
    config.ema_decay = 0.0  # of the average of the parameters; 0 for no average
    config.compute_dtype = "float32"
    config.remat = False  # whether the backward pass computes blocks again, which needs less memory
    config.precision = "default"  # default, high or highest: of float32 products, in training, scoring and prediction
    config.compilation_cache = AUTO  # folder of compiled programs; auto: the user's; "" for none
    config.executor = "jit"  # jit or pmap: how a step is spread over devices

    # Log and checkpoint section.
    config.log_every = 10  # steps
    config.checkpoint_every = 100  # steps
    config.keep_checkpoints = 3
    config.tensorboard = True

    config.profile_steps = ()  # first and last step of a trace by jax.profiler, in WORKDIR/profile; () for none

    # Evaluation section. During training, a part of the test split can be scored and the best step kept in best/.
    config.evaluate_every = 0  # steps; 0 for never
    config.evaluate_videos = 4  # videos of that part, spread over the split
    config.evaluate_stride = 16  # distance between its scored frames
    config.best_metric = "CC"  # of avsd_jax.metrics.METRICS: decides which step is the best
    config.eval_stride = 1  # distance between scored frames
    config.eval_batch_size = 8
    config.avc_every = EVERY  # seconds between two scores of a gate's classifier, also in prediction; 0: every frame
    config.smooth_sigma = 0.0  # blur of the scored maps, pixels; 0 for none
    config.audit = True  # whether models are also scored on silent, shuffled and noise audio

    # Rows of a comparison in order, and what each changes (avsd_jax/experiment/comparison.py). () for one run.
    config.rows = ()
    config.row_changes = ConfigDict()
    return config


def completed(config: ConfigDict) -> ConfigDict:
    """Returns a copy with the defaults of the fields that an earlier record lacks, except for required ones.

    `split` is not added: a configuration without it names its splits. A loss that a record does not mention has no
    weight.

    Raises:
        InputError: the record has invalid fields of an earlier version; see `avsd_jax.config.earlier`.
    """
    result = config.copy_and_resolve_references()
    with result.unlocked():
        earlier.translate(result)
        if "losses" in result and isinstance(result.losses, ConfigDict):
            result.losses = ConfigDict(dict.fromkeys(losses.available(), 0.0) | dict(result.losses.items()))
        for name, value in defaults().items():
            if name not in result and name not in REQUIRED and name != "split":
                result[name] = value
    return result


def completed_row(changes: ConfigDict) -> ConfigDict:
    """Returns the changes of a row of a comparison, with the defaults of its own fields except the label."""
    return ConfigDict(
        {"init": "", "init_parts": {}, "weights": "", "effort": 1, "model": {}}
        | {name: changes[name] for name in changes}
    )

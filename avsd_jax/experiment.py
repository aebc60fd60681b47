"""From a configuration to the objects it names: model, clip specification, initial variables.

Training, evaluation and prediction share these, so that a trained folder's `config.json` is all they need.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from flax import linen as nn
from flax import traverse_util
from flax.errors import FlaxError
from ml_collections import ConfigDict

from avsd_jax import models
from avsd_jax.by_name import load_module
from avsd_jax.checkpoint import load_for_inference
from avsd_jax.data import maps
from avsd_jax.data.pipeline import ClipSpec
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers

_CLIP_FIELDS = ("model_name", "model", "frame_size", "frame_step", "sampler", "preprocessing", "samples_per_video")

PREDICTION_KEYS = ("saliency", "gate", "avc_logits")

# The program that draws hundreds of parameters runs once: optimising it takes a hundred times longer than running it.
_FAST_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def _plain(options: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """Config sections as plain dictionaries, lists as tuples: what a linen module can hold and hash."""
    plain = options.to_dict() if isinstance(options, ConfigDict) else dict(options)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}


def model_from_config(config: ConfigDict, axis_name: str | None = None) -> nn.Module:
    """Builds `avsd_jax.models.<config.model_name>.Model(**config.model)`.

    Raises:
        InputError: unknown model, or an option that the model does not have.
    """
    return models.create(config.model_name, **_plain(config.model), axis_name=axis_name)


def classifier_inputs(config: ConfigDict) -> Any | None:
    """What the gate's classifier wants to see and hear; None where the model runs no classifier."""
    if "classifier" not in config.model or config.model.get("gate", "classifier") != "classifier":
        return None
    return classifiers.create(config.model.classifier, **_plain(config.model.classifier_options)).inputs


def hears(config: ConfigDict) -> bool:
    """Whether the configured model listens: it has an audio-visual flow, or says `hears = True` in its class."""
    module = load_module("avsd_jax.models", config.model_name, "model")
    return "gate" in config.model or getattr(module.Model, "hears", False)


def _tags(config: ConfigDict) -> tuple[str, ...]:
    """The tags that the configured model learns to tell; none where it has no head for them."""
    num_tags = config.model.get("num_tags", 0)
    if num_tags and num_tags != len(config.tags):
        raise InputError(f"model.num_tags={num_tags} and config.tags has {len(config.tags)} words: make them agree")
    return tuple(config.tags) if num_tags else ()


def clip_spec(config: ConfigDict) -> ClipSpec:
    """The clips that the configured model reads.

    Raises:
        InputError: a field is missing, or a name is unknown.
    """
    lacking = [name for name in _CLIP_FIELDS if name not in config]
    if lacking:
        raise InputError(f"the configuration has no {', '.join(lacking)}: restore the run's config.json")
    return ClipSpec(
        clip_size=config.model.get("clip_size", 1),  # a classifier alone has a clock of its own
        frame_size=tuple(config.frame_size),
        frame_step=config.frame_step,
        sampler=config.sampler,
        preprocessing=config.preprocessing,
        # Converted models, and runs before there were these fields, do without them.
        sampler_options=_plain(config.get("sampler_options", {})),
        preprocessing_options=_plain(config.get("preprocessing_options", {})),
        flip=config.get("flip", False),
        samples_per_video=config.samples_per_video,
        avc=classifier_inputs(config),
        audio=hears(config),
        tags=_tags(config),
    )


def training_store(config: ConfigDict) -> VideoStore:
    """The videos to train on.

    `config.target_maps` names a folder of maps (see `avsd_jax.data.maps`) that stand for the viewers' density; then
    nothing that viewers did is read.

    Raises:
        InputError: the data is not prepared, the maps are not of this split, or there is neither a folder of maps nor
            anybody who watched.
    """
    store = VideoStore.open(config.dataset, config.train_split, config.data_dir)
    folder = config.get("target_maps", "")
    if folder:
        return maps.replace_density(store, folder)
    store.check_watched("set target_maps to a folder of maps that `python -m avsd_jax.scam` made")
    return store


def scoring_store(config: ConfigDict) -> VideoStore:
    """The videos to score on.

    Raises:
        InputError: the data is not prepared, or nobody watched it.
    """
    store = VideoStore.open(config.dataset, config.test_split, config.data_dir)
    store.check_watched("train with --mode=train, and score on a set that has them (--mode=eval --config.dataset=...)")
    return store


def example_batch(config: ConfigDict, batch_size: int = 1) -> dict[str, np.ndarray]:
    """A batch of zeros in the shapes that the configured model takes."""
    spec = clip_spec(config)
    height, width = spec.frame_size
    batch = {
        "video": np.zeros((batch_size, spec.clip_size, height, width, 3), np.float32),
        "density": np.zeros((batch_size, height, width), np.float32),
        "fixations": np.zeros((batch_size, height, width), np.float32),
        "avc_label": np.zeros((batch_size,), np.int32),
    }
    if spec.tags:
        batch["tags"] = np.zeros((batch_size, len(spec.tags)), np.float32)
    if spec.audio:
        batch["audio"] = np.zeros((batch_size, spec.audio_samples), np.float32)
    if spec.avc is not None:
        size, avc = spec.avc.frame_size, spec.avc
        batch["avc_frames"] = np.zeros((batch_size, avc.num_frames, size, size, 3), np.float32)
        batch["avc_audio"] = np.zeros((batch_size, round(avc.audio_seconds * avc.sample_rate)), np.float32)
    return batch


def make_forward(model: nn.Module) -> Callable[..., dict[str, jax.Array]]:
    """The compiled `forward(variables, batch)` at inference: `PREDICTION_KEYS`, as far as the model has them.

    Raises:
        InputError: when it is called: the model predicts no map, or the variables are those of another one.
    """

    @jax.jit
    def forward(variables: Any, batch: Any) -> dict[str, jax.Array]:
        name = type(model).__module__.rpartition(".")[2]
        try:
            output = model.apply(variables, batch, train=False)
        except (FlaxError, KeyError) as error:  # KeyError: a whole collection is missing
            why = str(error).partition(" (https")[0]
            raise InputError(
                f"the weights are not those of {name} as it is configured ({why}): give them the configuration with "
                "which they were trained"
            ) from error
        if "saliency" not in output:
            raise InputError(f"{name} predicts no map: choose another model, or give its row of a comparison no label")
        return {k: output[k] for k in PREDICTION_KEYS if k in output}

    return forward


def initial_variables(config: ConfigDict, model: nn.Module) -> dict[str, Any]:
    """Variables before the first step: drawn from `config.seed`, then overlaid with what earlier runs learned.

    `config.init` is a run of the same model, or of a visual-only one that starts the visual flow, as the published
    recipes do. `config.init_parts` starts single submodules, `{"audionet": FOLDER}`, each from a run of its own or of a
    model that has a submodule of this name. What a run does not hold keeps its draw.

    Raises:
        InputError: a given run is not there, has an entry of another shape, or shares nothing with the model.
    """
    folders = {part: folder for part, folder in {"": config.init, **config.init_parts}.items() if folder}
    # Read first: a run that is not there is named before anything is compiled.
    sources = {part: load_for_inference(folder)[1] for part, folder in folders.items()}
    batch = example_batch(config)
    rngs = {"params": jax.random.key(config.seed), "dropout": jax.random.key(config.seed)}
    init = jax.jit(lambda rngs, batch: model.init(rngs, batch, train=False), compiler_options=_FAST_COMPILE)
    variables = jax.tree.map(np.asarray, dict(init(rngs, batch)))
    for part, source in sources.items():
        place = part
        if part and part in source["params"]:  # a run of a model that has this part too, and others
            source = {collection: tree.get(part, {}) for collection, tree in source.items()}
        elif not part and "visual_model" in variables["params"] and "visual_model" not in source["params"]:
            place = "visual_model"  # a visual-only run
        variables = overlay_variables(variables, source, place, folders[part])
    return variables


def overlay_variables(
    variables: Mapping[str, Any], source: Mapping[str, Any], part: str, origin: str
) -> dict[str, Any]:
    """Replaces entries of `variables` by those of `source`, which is the submodule `part` ("a/b") of it.

    Raises:
        InputError: an entry has another shape, or no parameter is shared; the message names `origin`.
    """
    prefix = tuple(part.split("/")) if part else ()
    result = {}
    for collection, tree in variables.items():
        drawn = traverse_util.flatten_dict(tree)
        given = traverse_util.flatten_dict(source.get(collection, {}))
        given = {(*prefix, *path): leaf for path, leaf in given.items() if (*prefix, *path) in drawn}
        for path, leaf in given.items():
            if drawn[path].shape != leaf.shape:
                raise InputError(
                    f"{origin}: {'/'.join(path)} is {leaf.shape} there and {drawn[path].shape} in this model; give "
                    "both the same width, clip size and frame size"
                )
        if collection == "params" and not given:
            raise InputError(f"{origin} shares no parameter with {part or 'the model'}: give a run that does")
        logging.info("%s: %d of %d %s", origin, len(given), len(drawn), collection)
        result[collection] = traverse_util.unflatten_dict(drawn | given)
    return result

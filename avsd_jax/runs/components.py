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
from avsd_jax.common.by_name import load_module
from avsd_jax.config.fields import check_fields
from avsd_jax.data import target_maps
from avsd_jax.data.pipeline import ClipSpec
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError
from avsd_jax.models import classifiers
from avsd_jax.runs.checkpoint import load_for_inference

_CLIP_FIELDS = ("model_name", "model", "frame_size", "frame_step", "sampler", "preprocessing", "samples_per_video")
# Converted models, and runs before there were these fields, do without them.
_MORE_CLIP_FIELDS = ("sampler_options", "preprocessing_options", "flip", "tags")
_LOSS_FIELDS = ("loss", "rho", "bce_weight", "cc_weight", "sim_weight", "nss_weight", "tag_weight", "side_tag_weight")

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
        InputError: unknown model, an option that the model does not have, or a value of another type or range.
    """
    check_fields(config, ("model_name", "model"))
    return models.create(config.model_name, **_plain(config.model), axis_name=axis_name)


def classifier_inputs(config: ConfigDict) -> Any | None:
    """What the gate's classifier wants to see and hear; None where the model runs no classifier."""
    if _option(config, "classifier", None) is None or _option(config, "gate", "classifier") != "classifier":
        return None
    options = _plain(_option(config, "classifier_options", {}))
    return classifiers.create(_option(config, "classifier", None), **options).inputs


def hears(config: ConfigDict) -> bool:
    """Whether the configured model listens: it has an audio-visual flow, or says `hears = True` in its class."""
    model = load_module("avsd_jax.models", config.model_name, "model").Model
    return "gate" in model.__dataclass_fields__ or getattr(model, "hears", False)


def _option(config: ConfigDict, name: str, otherwise: Any) -> Any:
    """An option of the configured model, its default where the configuration does not give it."""
    model = load_module("avsd_jax.models", config.model_name, "model").Model
    return config.model.get(name, getattr(model, name, otherwise))


def loss_options(config: ConfigDict) -> dict[str, Any]:
    """The loss and the weights of its terms; what a configuration does not mention stays at its default."""
    return {name: config[name] for name in _LOSS_FIELDS if name in config}


def _tags(config: ConfigDict) -> tuple[str, ...]:
    """The tags that the configured model learns to tell; none where it has no head for them."""
    num_tags, tags = _option(config, "num_tags", 0), tuple(config.get("tags", ()))
    if num_tags and num_tags != len(tags):
        raise InputError(f"model.num_tags={num_tags} and config.tags has {len(tags)} words: make them agree")
    return tags if num_tags else ()


def clip_spec(config: ConfigDict) -> ClipSpec:
    """The clips that the configured model reads.

    Raises:
        InputError: a field is missing or has a value of another type or range, or a name is unknown.
    """
    lacking = [name for name in _CLIP_FIELDS if name not in config]
    if lacking:
        raise InputError(f"the configuration has no {', '.join(lacking)}: restore the run's config.json")
    check_fields(config, (*_CLIP_FIELDS, *(name for name in _MORE_CLIP_FIELDS if name in config)))
    model_from_config(config)  # its options are of the right types
    return ClipSpec(
        clip_size=_option(config, "clip_size", 1),  # a classifier alone has a clock of its own
        frame_size=tuple(config.frame_size),
        frame_step=config.frame_step,
        sampler=config.sampler,
        preprocessing=config.preprocessing,
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

    `config.target_maps` names a folder of maps (see `avsd_jax.data.target_maps`) that stand for the viewers' density;
    then nothing that viewers did is read.

    Raises:
        InputError: the data is not prepared, the maps are not of this split, or there is neither a folder of maps nor
            anybody who watched.
    """
    store = VideoStore.open(config.dataset, config.train_split, config.data_dir)
    folder = config.get("target_maps", "")
    if folder:
        return target_maps.replace_density(store, folder)
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


def batch_shapes(config: ConfigDict, batch_size: int = 1) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of a batch that the configured model takes."""
    spec = clip_spec(config)
    (height, width), b = spec.frame_size, batch_size
    shapes: dict[str, tuple[int, ...]] = {
        "video": (b, spec.clip_size, height, width, 3),
        "density": (b, height, width),
        "fixations": (b, height, width),
        "avc_label": (b,),
    }
    if spec.tags:
        shapes["tags"] = (b, len(spec.tags))
    if spec.audio:
        shapes["audio"] = (b, spec.audio_samples)
    if spec.avc is not None:
        size, avc = spec.avc.frame_size, spec.avc
        shapes["avc_frames"] = (b, avc.num_frames, size, size, 3)
        shapes["avc_audio"] = (b, round(avc.audio_seconds * avc.sample_rate))
    types = {"avc_label": np.int32}
    return {key: jax.ShapeDtypeStruct(shape, types.get(key, np.float32)) for key, shape in shapes.items()}


def example_batch(config: ConfigDict, batch_size: int = 1) -> dict[str, np.ndarray]:
    """A batch of zeros in the shapes that the configured model takes."""
    return {key: np.zeros(x.shape, x.dtype) for key, x in batch_shapes(config, batch_size).items()}


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
    folders = starting_folders(config)
    # Read first: a run that is not there is named before anything is compiled.
    sources = {part: load_for_inference(folder)[1] for part, folder in folders.items()}
    batch = example_batch(config)
    rngs = {"params": jax.random.key(config.seed), "dropout": jax.random.key(config.seed)}
    init = jax.jit(lambda rngs, batch: model.init(rngs, batch, train=False), compiler_options=_FAST_COMPILE)
    variables = jax.tree.map(np.asarray, dict(init(rngs, batch)))
    return started_from(variables, sources, folders)


def starting_folders(config: ConfigDict) -> dict[str, str]:
    """The runs that the configured one starts from, by submodule; "" is the whole model."""
    return {part: folder for part, folder in {"": config.init, **config.init_parts}.items() if folder}


def started_from(
    variables: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]], folders: Mapping[str, str]
) -> dict[str, Any]:
    """Variables overlaid with those of earlier runs; works on shapes as on arrays.

    Args:
        variables: before the first step.
        sources: what runs learned, by the submodule that they start.
        folders: of these runs, for messages.

    Raises:
        InputError: a run has an entry of another shape, or shares nothing with the model.
    """
    for part, source in sources.items():
        place = part
        if part and part in source["params"]:  # a run of a model that has this part too, and others
            source = {collection: tree.get(part, {}) for collection, tree in source.items()}
        elif not part and "visual_model" in variables["params"] and "visual_model" not in source["params"]:
            place = "visual_model"  # a visual-only run
        variables = overlay_variables(variables, source, place, folders[part])
    return dict(variables)


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

"""Variables before the first step: a draw, overlaid with what earlier runs learned."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from flax import linen as nn
from flax import traverse_util
from ml_collections import ConfigDict

from avsd_jax.batch import zeros
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.runs.components import Inference

# The program that draws hundreds of parameters runs once: optimising it takes a hundred times longer than running it.
_FAST_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def initial_variables(config: ConfigDict, parts: Inference) -> dict[str, Any]:
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
    batch = zeros(parts.spec)
    rngs = {"params": jax.random.key(config.seed), "dropout": jax.random.key(config.seed)}
    variables = jax.tree.map(np.asarray, dict(_draw(parts.model)(rngs, batch)))
    return started_from(variables, sources, folders)


@functools.lru_cache(maxsize=8)
def _draw(model: nn.Module) -> Callable[[Mapping[str, jax.Array], Mapping[str, Any]], Mapping[str, Any]]:
    """The compiled program that draws a model's variables; one for all seeds."""

    def draw(rngs: Mapping[str, jax.Array], batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return model.init(rngs, batch, train=False)

    return jax.jit(draw, compiler_options=_FAST_COMPILE)


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

"""Initial variables: random values, overlaid with those of earlier runs."""

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
from avsd_jax.common.compiler import are_known
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import load_for_inference
from avsd_jax.runs.components import Inference
from avsd_jax.runs.revisions import at_recorded, given_folders

# The program that initialises hundreds of parameters runs once: optimising it takes a hundred times its runtime.
_FAST_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# The same bits in three quarters of the time, on a CPU.
_FASTER_COMPILE = _FAST_COMPILE | {"xla_cpu_use_fusion_emitters": False}


def initial_variables(config: ConfigDict, parts: Inference) -> dict[str, Any]:
    """Builds the initial variables: drawn from `config.seed`, then overlaid with those of earlier runs.

    `config.init` is a run of the same model, or of a visual-only one for the visual stream, as in the published
    recipes. `config.init_parts` initialises single submodules, `{"audionet": FOLDER}`, each from its own run or from a
    run of a model with a submodule of this name. Variables that no run holds keep their random values.

    Raises:
        InputError: a given run is missing, has an entry of another shape, shares nothing with the model, or lacks what
            the model needs of one.
    """
    folders = starting_folders(config)
    # Read first: a missing run is reported before anything is compiled.
    sources = {part: load_for_inference(folder)[1] for part, folder in folders.items()}
    batch = zeros(parts.spec)
    rngs = {"params": jax.random.key(config.seed), "dropout": jax.random.key(config.seed)}
    variables = jax.tree.map(np.asarray, dict(_draw(parts.model.trained_as)(rngs, batch)))
    return parts.model.start(started_from(variables, sources, folders))


@functools.lru_cache(maxsize=8)
def _draw(model: nn.Module) -> Callable[[Mapping[str, jax.Array], Mapping[str, Any]], Mapping[str, Any]]:
    """Builds the compiled program that initialises a model's variables; the same for all seeds."""

    def draw(rngs: Mapping[str, jax.Array], batch: Mapping[str, Any]) -> Mapping[str, Any]:
        return model.init(rngs, batch, train=False)

    return jax.jit(draw, compiler_options=_compiler_options())


@functools.cache
def _compiler_options() -> dict[str, Any]:
    """Returns `_FASTER_COMPILE`, or `_FAST_COMPILE` where XLA has not all of its options."""
    on_cpu = jax.default_backend() == "cpu"
    return _FASTER_COMPILE if on_cpu and are_known(_FASTER_COMPILE) else _FAST_COMPILE


def starting_folders(config: ConfigDict) -> dict[str, str]:
    """Returns the runs that the configured one starts from, by submodule; "" is the whole model.

    An address on a hub has the commit that is recorded in `config.revisions`.
    """
    return {part: at_recorded(folder, config) for part, folder in given_folders(config).items()}


def started_from(
    variables: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]], folders: Mapping[str, str]
) -> dict[str, Any]:
    """Overlays variables with those of earlier runs; works on shapes and arrays.

    Args:
        variables: the initial ones.
        sources: variables of runs, by the submodule that they initialise.
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


def assembled_from(
    shapes: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]], folders: Mapping[str, str]
) -> dict[str, Any]:
    """Puts the variables of a model together from those of runs, as `started_from`; nothing is drawn.

    Args:
        shapes: of the model's variables.
        sources, folders: as for `started_from`; shapes or arrays.

    Raises:
        InputError: as `started_from`; or no run has an entry.
    """
    missing = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(shapes))
    result = started_from(missing, sources, folders)
    known = {id(x) for x in jax.tree.leaves(missing)}
    for path, leaf in jax.tree.leaves_with_path(result):
        if id(leaf) in known:
            entry = jax.tree_util.keystr(path[1:], simple=True, separator="/")
            raise InputError(
                f"none of {', '.join(folders.values())} has {entry}: name a run in init_parts that has it, or train "
                "the model"
            )
    return result


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

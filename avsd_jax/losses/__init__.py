"""Training losses: terms by name, and their sum as in the survey's eq. 3.

A term is a module of `avsd_jax/losses/terms`; `config.losses` holds the weights. The terms are chosen before a step is
compiled (`present`); their weights may be arguments of the compiled step (`total`).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from avsd_jax.common import by_name
from avsd_jax.errors import InputError
from avsd_jax.losses.base import Given, Term, Values
from avsd_jax.losses.map_losses import bce, bce_mean, cc, cross_entropy, kl, log_kl, nss, sim, tag_entropy

__all__ = ["bce", "bce_mean", "cc", "cross_entropy", "kl", "log_kl", "nss", "sim", "tag_entropy"]
__all__ += ["available", "compute", "create", "default_weights", "present", "side_schedule", "total"]

_PACKAGE = "avsd_jax.losses.terms"

Scalar = int | float | np.floating | Float[Array, ""]


def available() -> list[str]:
    """Returns the names of all terms."""
    return by_name.available(_PACKAGE)


@functools.cache
def create(name: str) -> Term:
    """Builds `avsd_jax.losses.terms.<name>.Term()`.

    Raises:
        InputError: there is no such term; the message lists the existing ones.
    """
    return by_name.build(_PACKAGE, name, "loss", "Term", {})


def default_weights() -> dict[str, float]:
    """Returns the default weight of every term: those of ViNet's loss and eq. 3."""
    return {name: create(name).weight for name in available()}


def present(weights: Mapping[str, float], rho: float) -> tuple[str, ...]:
    """Returns the names of the terms with a weight; those of the classifier only if rho leaves it a share.

    Args:
        weights: of the terms, by name.
        rho: share of the saliency part in eq. 3.
    """
    return tuple(n for n, weight in weights.items() if weight and (rho < 1 or create(n).part == "saliency"))


def compute(
    output: Mapping[str, Any],
    batch: Mapping[str, Any],
    names: Sequence[str],
    side_weight: Scalar | None = None,
) -> dict[str, Values]:
    """Computes the terms of a batch: name -> values and weights of its examples, both [b].

    Args:
        output: what the model returns; terms that train an entry which it lacks are left out.
        batch: see `avsd_jax.batch.ENTRIES`; a `mask` is optional.
        names: of the terms, see `present`.
        side_weight: weight of the maps of STAViS's levels in each of its terms; None if they are not trained.

    The terms of maps are averaged over the frames of a clip where a model maps every frame.

    Raises:
        InputError: unknown name; the batch or the model lacks what a term needs; or no term trains the model, or the
            map that it predicts.
    """
    size = len(next(iter(output.values())))
    mask = jnp.asarray(batch["mask"], jnp.float32) if "mask" in batch else jnp.ones(size)
    given = Given(output, batch, mask, side_weight)
    terms = {name: term for name in names if (term := create(name)).trains in output}
    if "saliency" in output:
        of_map = [term for term in terms.values() if term.trains == "saliency"]
        if not of_map:
            raise InputError("losses has no weight for the map that the model predicts: give it one, as losses.kl=1")
        if side_weight is not None and not any(term.side_maps for term in of_map):
            raise InputError("side_epochs trains side maps, which no loss with a weight reads: set side_epochs=0")
    if not terms:
        raise InputError(_nothing_to_train(output))
    if "saliency" in output and jnp.ndim(output["saliency"]) == 4:
        return {name: term(given) if term.of_frames else _of_frames(term, given) for name, term in terms.items()}
    return {name: term(given) for name, term in terms.items()}


# What a term of maps reads, which models of sequences have for each frame: [b t h w].
_MAPS = ("saliency", "logits", "log_density", "density", "fixations")


def _of_frames(term: Term, given: Given) -> Values:
    """Returns the means of a term over the frames of each clip, those counting that it weighs."""
    if term.trains != "saliency":
        return term(given)
    clips, frames = given.output["saliency"].shape[:2]

    def each(entries: Mapping[str, Any]) -> dict[str, Any]:
        flat = {name: entries[name] for name in _MAPS if name in entries}
        return {**entries, **{name: x.reshape(clips * frames, *x.shape[2:]) for name, x in flat.items()}}

    mask = jnp.repeat(given.mask, frames)
    values, weights = term(Given(each(given.output), each(given.batch), mask, given.side_weight))
    values, weights = values.reshape(clips, frames), weights.reshape(clips, frames)
    number = weights.sum(axis=1)
    return (values * weights).sum(axis=1) / jnp.where(number > 0, number, 1), (number > 0).astype(weights.dtype)


def _nothing_to_train(output: Mapping[str, Any]) -> str:
    """Returns what to do about a model that no term trains."""
    known = [name for name in available() if create(name).trains in output]
    if known:
        return (
            f"losses and rho leave the model no loss: give {' or '.join(f'losses.{name}' for name in known)} a weight"
            f"{', and set rho below 1' if any(create(name).part == 'classifier' for name in known) else ''}"
        )
    return "the model predicts no map and no tags, so that no loss applies: choose another model, or give it tags"


def total(means: Mapping[str, Scalar], weights: Mapping[str, Scalar], rho: Scalar) -> Float[Array, ""]:
    """Computes eq. 3, `(1 - rho) * classifier + rho * saliency`; one part alone if there are no terms of the other.

    Each part is the weighted sum of its terms. Terms that are better when higher are subtracted, so weights are
    positive, and an official coefficient of -1 is a weight of 1.

    Args:
        means: of each of the terms that are `present`, over the whole batch: sum(values * weights) / sum(weights), or
            0 if no example counts. As the loss is linear in them, each device may use the share of its examples,
            and losses and gradients are summed.
        weights: by term; those that are not in `means` are not read.
        rho: share of the saliency part.
    """
    parts: dict[str, Any] = {}
    for name, mean in means.items():
        term = create(name)
        signed = (-weights[name] if term.higher_is_better else weights[name]) * mean
        parts[term.part] = parts[term.part] + signed if term.part in parts else signed
    if len(parts) == 1:
        return jnp.asarray(next(iter(parts.values())))
    return (1 - rho) * parts["classifier"] + rho * parts["saliency"]


def side_schedule(total_steps: int, epochs: int) -> Callable[[Any], Float[Array, ""]] | None:
    """Returns STAViS's deep supervision: the weight of the side maps by step, 1 - e / epochs in epoch e (from 1).

    Args:
        total_steps: of the run.
        epochs: number of epochs into which it is divided; 0: side maps are not trained.
    """
    if not epochs:
        return None
    return lambda step: 1 - (step * epochs // total_steps + 1) / epochs

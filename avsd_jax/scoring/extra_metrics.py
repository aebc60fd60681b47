"""Optional metrics and pools of `evaluate`, beside the metrics of the protocols."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from avsd_jax import metrics
from avsd_jax.errors import InputError
from avsd_jax.metrics.maps import is_constant
from avsd_jax.scoring import protocols
from avsd_jax.scoring.protocols import Protocol


def with_metrics(protocol: Protocol, names: str | Sequence[str] | None) -> Protocol:
    """Returns a protocol that computes other metrics.

    Args:
        protocol: its other choices stay.
        names: metrics, separated by commas or as a sequence; `all` selects all, and a list that begins with `+`
            adds to those of the protocol. None: the protocol unchanged.

    Raises:
        InputError: a name is unknown or given twice, or there is none.
    """
    if names is None:
        return protocol
    given = ",".join([names] if isinstance(names, str) else names)
    added = given.startswith("+")
    wanted = [name.strip() for name in given.removeprefix("+").split(",") if name.strip()]
    if wanted == ["all"]:
        wanted = list(protocols.ALL_METRICS)
    spelled = {name.lower(): name for name in protocols.ALL_METRICS}
    unknown = [name for name in wanted if name.lower() not in spelled]
    if unknown or not wanted:
        raise InputError(
            f"metrics {given!r}: choose of {', '.join(protocols.ALL_METRICS)}, joined by commas; all; or +NAME,... to "
            "add to the protocol's own"
        )
    found = [spelled[name.lower()] for name in wanted]
    if added:
        found = [*protocol.metrics, *(name for name in found if name not in protocol.metrics)]
    if len(set(found)) < len(found):
        raise InputError(f"metrics {given!r} name one twice: name each once")
    if "EMD" in found:
        metrics.check_emd()
    return dataclasses.replace(protocol, metrics=tuple(found))


def with_pool(protocol: Protocol, pool: str | None) -> Protocol:
    """Returns a protocol with other negatives of the s-AUC; its name says so, because its scores differ.

    Raises:
        InputError: the pool is unknown.
    """
    if pool is None or pool == protocol.pool:
        return protocol
    return dataclasses.replace(protocol, name=f"{protocol.name}, pool={pool}", pool=pool)


def extra_scores(
    names: Sequence[str],
    x: Float[Array, "h w"],
    truth: Float[Array, "h w"],
    hit: Bool[Array, "h w"],
) -> dict[str, Float[Array, ""]]:
    """Returns those of the named metrics that `metrics.score` does not have.

    Args:
        names: any metrics.
        x: the prediction at the size of its ground truth; NaN everywhere if it has no score.
        truth: the density map.
        hit: the fixated pixels.
    """
    centre = jnp.asarray(centre_map(x.shape), x.dtype)
    functions: dict[str, Callable[[], Float[Array, ""]]] = {
        "AUC-B": lambda: metrics.auc_borji(x, hit),
        "IG": lambda: metrics.information_gain(x, hit, centre),
        # For this metric a constant map is a valid model: the uninformative one.
        "IG-pysaliency": lambda: metrics.information_gain(x, hit, centre, convention="pysaliency"),
        "EMD": lambda: jnp.where(is_constant(truth), jnp.nan, metrics.emd(x, truth)),
    }
    return {name: functions[name]() for name in names if name in functions}


@functools.cache
def centre_map(shape: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """Returns the baseline of the information gain: a Gaussian at the centre, its deviation a quarter of each side."""
    rows, columns = (np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 4)) ** 2) for n in shape)
    found = rows[:, None] * columns
    found.setflags(write=False)
    return found

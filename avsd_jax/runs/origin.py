"""Where the weights of a run come from."""

from ml_collections import ConfigDict

from avsd_jax.common import hub
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import read_config
from avsd_jax.runs.revisions import at_recorded

# Runs that start from runs; more indicates a loop.
_MOST = 20


def imported_from(config: ConfigDict) -> str | None:
    """Returns the name of the published file that a run started from, itself or by way of the runs in `init`.

    None: its weights were drawn, or one of these runs is no longer there.

    Args:
        config: the record of a run or of a converted model.
    """
    name = config.get("model_name")
    for _ in range(_MOST):
        if config.get("source"):
            return config.source
        if not config.get("init"):
            return None
        place = at_recorded(config.init, config)
        try:  # of a hub only what is in the cache: nothing is downloaded for a name
            place = hub.cached(place) if hub.is_address(place) else place
            if place is None:
                return None
            config = read_config(place)
        except InputError:
            return None
        if config.get("model_name") != name:  # a part of it alone
            return None
    return None

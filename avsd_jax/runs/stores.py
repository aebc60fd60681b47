"""Access to the videos that a configuration trains and scores on; only this part of a run needs TFDS."""

from ml_collections import ConfigDict

from avsd_jax.data import target_maps
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore


def training_store(config: ConfigDict) -> VideoStore:
    """Opens the videos to train on.

    `config.target_maps` names a folder of target maps (see `avsd_jax.data.target_maps`); then eye-tracking data is not
    read.

    Raises:
        InputError: the data is not built, the maps do not belong to this split, or there is neither a folder of maps
            nor eye-tracking data.
    """
    store = open_store(config.dataset, config.train_split, config.data_dir)
    folder = config.target_maps
    if folder:
        return target_maps.replace_density(store, folder)
    store.require_gaze("set target_maps to a folder of maps from `python -m avsd_jax.scam`")
    return store


def scoring_store(config: ConfigDict) -> VideoStore:
    """Opens the videos to score on.

    Raises:
        InputError: the data is not built, or has no eye-tracking data.
    """
    store = open_store(config.dataset, config.test_split, config.data_dir)
    store.require_gaze(
        "train with --mode=train, and score on a dataset with eye-tracking data (--mode=eval --config.dataset=...)"
    )
    return store

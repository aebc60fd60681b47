"""Access to the videos that a configuration trains and scores on; only this part of a run needs TFDS."""

import numpy as np
from ml_collections import ConfigDict

from avsd_jax.data import target_maps
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError


def training_store(config: ConfigDict) -> VideoStore:
    """Opens the videos to train on: those of the training split that are not held out for calibration.

    `config.target_maps` names a folder of target maps (see `avsd_jax.data.target_maps`); then eye-tracking data is not
    read.

    Raises:
        InputError: the data is not built, the maps do not belong to this split, or there is neither a folder of maps
            nor eye-tracking data.
    """
    store = open_store(config.dataset, config.train_split, config.data_dir)
    if config.calibration_share:
        store = store.subset(sorted(set(range(len(store.videos))) - _held_out(store, config.calibration_share)))
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


def calibration_store(config: ConfigDict) -> VideoStore:
    """Opens the videos of the training split that `calibration_share` holds out of training.

    Raises:
        InputError: the data is not built.
    """
    store = open_store(config.dataset, config.train_split, config.data_dir)
    return store.subset(sorted(_held_out(store, config.calibration_share)))


def _held_out(store: VideoStore, share: float) -> set[int]:
    """Returns the positions of a share of each dataset's videos, at least one, spread over them.

    Raises:
        InputError: a dataset has too few videos.
    """
    held: set[int] = set()
    for name, part in store.parts.items():
        number = max(1, round(share * len(part)))
        if number >= len(part):
            raise InputError(f"calibration_share={share:g} leaves no video of {name} to train on: give a smaller one")
        middles = (np.arange(number) + 0.5) * len(part) / number
        held |= {part[int(place)] for place in middles}
    return held

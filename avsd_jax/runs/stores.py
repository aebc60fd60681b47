"""The videos that a configuration trains and scores on; the only part of a run that needs the dataset library."""

from ml_collections import ConfigDict

from avsd_jax.data import target_maps
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore


def training_store(config: ConfigDict) -> VideoStore:
    """The videos to train on.

    `config.target_maps` names a folder of maps (see `avsd_jax.data.target_maps`) that stand for the viewers' density;
    then nothing that viewers did is read.

    Raises:
        InputError: the data is not prepared, the maps are not of this split, or there is neither a folder of maps nor
            anybody who watched.
    """
    store = open_store(config.dataset, config.train_split, config.data_dir)
    folder = config.target_maps
    if folder:
        return target_maps.replace_density(store, folder)
    store.check_watched("set target_maps to a folder of maps that `python -m avsd_jax.scam` made")
    return store


def scoring_store(config: ConfigDict) -> VideoStore:
    """The videos to score on.

    Raises:
        InputError: the data is not prepared, or nobody watched it.
    """
    store = open_store(config.dataset, config.test_split, config.data_dir)
    store.check_watched("train with --mode=train, and score on a set that has them (--mode=eval --config.dataset=...)")
    return store

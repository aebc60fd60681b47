"""Records whose loss was a name and six weights say the same as records of today."""

import pathlib

import pytest
from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.config.base import base, completed
from avsd_jax.errors import InputError
from avsd_jax.runs.checkpoint import read_config, write_config
from avsd_jax.runs.run_folder import check_same_run

NO_WEIGHTS = {"bce_weight": 0.0, "cc_weight": 0.0, "sim_weight": 0.0, "nss_weight": 0.0}


def earlier(**changes: object) -> ConfigDict:
    """A record as an earlier version wrote it."""
    record = base("stavis")
    del record.losses
    return ConfigDict(record.to_dict() | changes)


def with_weight(config: ConfigDict) -> dict[str, float]:
    return {name: weight for name, weight in config.losses.items() if weight and name not in ("ce", "heard")}


@pytest.mark.parametrize(
    ("fields", "weights"),
    [
        ({}, {"kl": 1.0}),
        ({"loss": "kl", "bce_weight": 3.0, "cc_weight": 0.1}, {"kl": 1.0, "cc": 0.1}),
        ({"cc_weight": 0.1, "sim_weight": 0.2, "nss_weight": 0.3}, {"kl": 1.0, "cc": 0.1, "sim": 0.2, "nss": 0.3}),
        (
            NO_WEIGHTS | {"loss": "stavis", "bce_weight": 0.1, "cc_weight": 2.0, "nss_weight": 1.0},
            {"stavis_bce": 0.1, "stavis_cc": 2.0, "stavis_nss": 1.0},
        ),
        ({"loss": "stanet_cvpr", "bce_weight": 1.0, "sim_weight": 0.5}, {"stanet_cvpr": 1.0, "sim": 0.5}),
        ({"loss": "stanet_2021", "bce_weight": 1.0}, {"stanet_2021_bce": 1.0, "stanet_2021_kl": 1.0}),
        ({"tag_weight": 0.5, "side_tag_weight": 0.2}, {"kl": 1.0, "tags": 0.5, "side_tags": 0.2}),
    ],
)
def test_an_earlier_record_means_the_same_and_its_run_goes_on(fields: dict, weights: dict, tmp_path: pathlib.Path):
    write_config(tmp_path, earlier(**fields))
    config = read_config(tmp_path)
    assert with_weight(config) == weights
    assert not {"loss", "cc_weight", "tag_weight"} & set(config)
    assert set(config.losses) == set(losses.available())
    assert losses.present(config.losses.to_dict(), 0.5)[-1:]

    now = base("stavis")
    now.losses.update({"kl": 0.0} | weights)
    check_same_run(now, tmp_path)
    now.losses.cc = 7.0
    with pytest.raises(InputError, match="holds a run with losses="):
        check_same_run(now, tmp_path)


def test_the_classifier_of_an_earlier_gate_scores_every_frame():
    record = base("avinet")
    assert completed(record).avc_every == 0.25
    del record.avc_every
    assert completed(record).avc_every == 0


def test_fields_of_both_versions_are_refused_and_a_loss_that_came_later_has_no_weight():
    config = base("stavis")
    config.cc_weight = 0.1
    with pytest.raises(InputError, match="the field cc_weight has become one of losses"):
        completed(config)
    config = base("stavis")
    del config.losses.kl, config.losses.sim
    assert (completed(config).losses.kl, completed(config).losses.sim) == (0.0, 0.0)
    with pytest.raises(InputError, match="unknown loss 'l2': choose one of kl, stavis"):
        completed(earlier(loss="l2"))

"""Translation of the fields of records of earlier versions."""

from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.errors import InputError

# The loss was a name and some weights: name -> terms with a weight field, and terms with a fixed weight.
_LOSSES = {
    "kl": ({"cc": "cc_weight", "sim": "sim_weight", "nss": "nss_weight"}, {"kl": 1.0}),
    "stavis": ({"stavis_bce": "bce_weight", "stavis_cc": "cc_weight", "stavis_nss": "nss_weight"}, {}),
    "stanet_cvpr": (
        {"stanet_cvpr": "bce_weight", "cc": "cc_weight", "sim": "sim_weight", "nss": "nss_weight"},
        {},
    ),
    "stanet_2021": (
        {"stanet_2021_bce": "bce_weight", "cc": "cc_weight", "sim": "sim_weight", "nss": "nss_weight"},
        {"stanet_2021_kl": 1.0},
    ),
}
_TAGS = {"tags": "tag_weight", "side_tags": "side_tag_weight"}
_LOSS_FIELDS = ("loss", "bce_weight", "cc_weight", "sim_weight", "nss_weight", *_TAGS.values())


def translate(config: ConfigDict) -> None:
    """Replaces the fields of earlier versions in an unlocked record by the current ones.

    Raises:
        InputError: an unknown loss, or the record has fields of both versions.
    """
    # The classifier of a gate scored every frame.
    config.avc_every = config.get("avc_every", 0.0)
    given = [name for name in _LOSS_FIELDS if name in config]
    if not given:
        return
    if "losses" in config:
        raise InputError(f"the field {given[0]} has become one of losses: give losses.TERM a weight instead")
    name = config.loss if "loss" in config else "kl"
    if not isinstance(name, str) or name not in _LOSSES:
        raise InputError(f"unknown loss {name!r}: choose one of {', '.join(_LOSSES)}")
    weighted, fixed = _LOSSES[name]
    weights = losses.default_weights() | {"kl": 0.0} | fixed
    weights |= {term: config[field] for term, field in (weighted | _TAGS).items() if field in config}
    for field in given:
        del config[field]
    config.losses = ConfigDict(weights)

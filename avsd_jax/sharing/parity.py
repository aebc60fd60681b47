"""How far each network is from its official code, as docs/models.md has it: the same numbers, for model cards."""

from ml_collections import ConfigDict

# (model or classifier, variant) -> parity error: the largest difference from the output of the official code on the
# same random weights, relative to the largest value of that output, at the published size.
ERRORS: dict[tuple[str, str], str] = {
    ("vinet", ""): "2.1e-06",
    ("avinet", "bilinear"): "3.2e-06",
    ("avinet", "transformer"): "3.8e-06",
    ("avinet", "bilinear_transformer"): "3.5e-06",
    ("stavis", ""): "5.3e-07",
    ("stavis_visual", ""): "4.7e-07",
    ("soundnet8", ""): "7.7e-07",
    ("vggsound", "vlad"): "2.9e-06",
    ("vggsound", "avgpool"): "7.2e-07",
    ("l3net", ""): "1.7e-06",
    ("avenet", ""): "6.0e-08",
    ("avenet_hardway", ""): "3.1e-07",
    ("avid", ""): "1.3e-06",
    ("soundswitch_audio", ""): "2.0e-07",
    ("stanet", "cvpr"): "2.1e-06",
    ("stanet", "2021"): "1.4e-06",
    ("stanet", "2022"): "1.5e-06",
    ("soundswitch_av", ""): "2.7e-06",
    ("scam_s", ""): "3.2e-07",
    ("scam_sa", ""): "5.9e-07",
    ("scam_st", ""): "4.9e-07",
    ("scam_cvpr_s", ""): "3.8e-07",
    ("scam_cvpr_sa", ""): "3.3e-07",
    ("scam_cvpr_st", ""): "2.8e-07",
    ("dave", ""): "2.5e-06",
}

# The published fusion of a model that has another option, and the option that distinguishes the variants of a model.
_FUSIONS = {"stavis": "localisation", "stanet": "published", "dave": "concat"}
_OPTIONS = {"avinet": "fusion", "vggsound": "pool", "stanet": "release"}


def error(config: ConfigDict) -> str | None:
    """Returns the parity error of the network that a configuration names; None if there is none on record."""
    name, options = config.model_name, config.get("model", {})
    if options.get("fusion", _FUSIONS.get(name)) != _FUSIONS.get(name) and name in _FUSIONS:
        return None
    if name == "avc":
        name = options.get("classifier", "")
    return ERRORS.get((name, str(options.get(_OPTIONS[name], "")) if name in _OPTIONS else ""))

"""OpenL3's audio encoder, as torchopenl3 stores it: the variables of l3net's, `acn`, with an OpenL3 audio_encoder."""

from collections.abc import Mapping
from typing import Any

from avsd_jax.models import classifiers
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros


def _openl3_audio(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    classifier = classifiers.create("l3net", audio_encoder="openl3_linear")
    tree = variables(classifier, zeros(1, 1, 64, 64, 3), zeros(1, 64, 64))
    return {collection: {"acn": part["acn"]} for collection, part in tree.items()}


LAYOUTS = {
    "openl3_audio": Layout(
        _openl3_audio,
        rename=((r"^acn\.", ""), (r"^(batch_normalization|conv2d)\.", r"\1_")),
        unused=r"^speclayer\.",  # fixed filters, which the front end makes itself
    ),
}

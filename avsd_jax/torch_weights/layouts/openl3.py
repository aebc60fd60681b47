"""OpenL3's audio encoder, as torchopenl3 stores it: the variables of l3net's, `acn`, with an OpenL3 audio_encoder."""

from collections.abc import Mapping
from typing import Any

from avsd_jax.models import classifiers
from avsd_jax.nn.openl3 import FRONT_ENDS
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros


def _openl3_audio(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    classifier = classifiers.create("l3net", **options)
    tree = variables(classifier, zeros(1, 1, 64, 64, 3), zeros(1, 64, 64))
    return {collection: {"acn": part["acn"]} for collection, part in tree.items()}


def _options(shapes: Shapes) -> dict[str, Any]:
    """Infers the encoder from the number of mel bands of the front end's filters, if a file has them."""
    bands = shapes.get("speclayer.mel_basis", (None,))[0]
    return {"audio_encoder": next(name for name, known in FRONT_ENDS.items() if known == bands)}


LAYOUTS = {
    "openl3_audio": Layout(
        _openl3_audio,
        rename=((r"^acn\.", ""), (r"^(batch_normalization|conv2d)\.", r"\1_")),
        options=_options,
        classifier="l3net",
        unused=r"^speclayer\.",  # fixed filters, which our front end computes
    ),
}

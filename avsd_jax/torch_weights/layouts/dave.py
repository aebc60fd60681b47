"""Layout of DAVE's official code."""

from collections.abc import Mapping
from typing import Any

from avsd_jax import models
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros


def _dave(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    batch = {"video": zeros(1, 16, 64, 64, 3), "spectrogram": zeros(1, 16, 64, 64)}
    return variables(models.create("dave"), batch)


LAYOUTS = {
    "dave": Layout(
        _dave,
        rename=((r"^fusion\.conv\.", "combinedEmbedding."),),
        # The classification layers of the trunks' first trainings, and norms that are never applied.
        unused=r"^(video|audio)_branch\.fc_new\.(weight|bias)$|^upscale[12]\.bn\.",
    )
}

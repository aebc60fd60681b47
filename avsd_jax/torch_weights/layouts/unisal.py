"""Layout of UNISAL's released weights: all domains, and the mask of the last training step."""

from collections.abc import Mapping
from typing import Any

from avsd_jax import models
from avsd_jax.torch_weights.layout import Layout, Shapes, variables, zeros


def _unisal(options: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    return variables(models.create("unisal"), {"video": zeros(1, 2, 32, 32, 3)})


LAYOUTS = {
    "unisal": Layout(
        _unisal,
        rename=(
            (r"^cnn\.features\.(0|18)\.conv\.", r"cnn.features.\1."),
            (r"^post_cnn\.", "post_cnn.inv_res."),
            (r"^rnn\.", "rnn.cell_list.0."),
            (r"^post_rnn\.conv\.", "post_rnn."),
            (r"^(skip_[24]x\.\w+)\.conv\.", r"\1."),
            (r"^(post_)?upsampling\.2\.", lambda match: f"{match[1] or ''}upsampling_2.inv_res."),
            (r"^(adaptation_\w+)\.", r"\1.0."),
        ),
        unused=r"^rnn\.cell_list\.0\.drop_mask_\d$",
    )
}

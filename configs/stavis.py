"""STAViS, plain and gated by audio-visual consistency (AVC).

Variants:

  paper   the published audio-visual network and recipe: 16 frames of 112x112; BCE, CC and NSS; groups of parameters
          with their own learning rates. Starts from a visual-only run (`--config.init=FOLDER`) and from SoundNet
          (`--config.init_parts.soundnet8=FOLDER`). Needs the built eye-tracking datasets and an accelerator.
  visual  the published visual-only network, which `paper` starts from, with its deep supervision. Starts from the
          Kinetics trunk (`--config.init_parts.trunk=FOLDER`).
  star    STAViS*: `paper` gated by a classifier that is trained jointly (eq. 3) with STAViS's own loss.
  oracle  STAViS#: `paper` gated by the labels.
  demo    laptop size on the embedded benchmark of sounding shapes: V, AV, AV* and AV#, see `compare_gates`.

The folders are published files converted by `python -m avsd_jax.convert`, or earlier runs.

Commands, time and score:

  python -m avsd_jax.main --config=configs/stavis.py:star --workdir=runs/stavis_star
      not measured here: needs the datasets; published scores: avsd_jax/evaluation/published
  python -m avsd_jax.main --config=configs/stavis.py:demo --workdir=runs/stavis_demo
      CC V 0.662, AV 0.731, AV* 0.750, AV# 0.839 (two seeds, 79532d9)
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import compare_gates

VARIANTS = ("paper", "visual", "star", "oracle", "demo")

# Parameters that the loss does not train; weight decay must not change them either.
SIDES_UNTRAINED = r"/upscale_/|score_dsn_3/score_dsn/"


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/stavis.py: choose one of {', '.join(VARIANTS)}")
    config = published("stavis_visual" if variant == "visual" else "stavis")
    if variant == "visual":
        config.init_parts = ConfigDict({"trunk": ""})
        config.side_epochs = 60
        config.rates = rates(trunk=0.1, untrained=r"^$")
    elif variant in ("star", "oracle"):  # clips without consistent audio train the visual head
        config.run_name = f"stavis_{variant}"
        config.model.gate = "classifier" if variant == "star" else "labels"
        config.model.classifier = "avid"  # as in the survey
        config.rates = rates(trunk=0.01, untrained=SIDES_UNTRAINED)
    elif variant == "demo":
        demo(config)
    return config.lock()


def published(model_name: str) -> ConfigDict:
    """Returns the published recipe: 60 epochs of 38 batches."""
    config = base(model_name)
    config.init_parts = ConfigDict({"visual_model": "", "soundnet8": "", "classifier": ""})
    config.frame_size = (112, 112)
    config.sampler = config.preprocessing = "stavis"
    config.flip = True
    config.losses.update(kl=0.0, stavis_bce=0.1, stavis_cc=2.0, stavis_nss=1.0)
    config.total_steps = 60 * 38
    config.batch_size = 128
    config.optimizer = "dampened_sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9, "dampening": 0.9, "weight_decay": 1e-5})
    config.learning_rate = 0.01
    config.rates = rates(trunk=0.01, untrained=f"{SIDES_UNTRAINED}|^visual_model/head/")
    config.schedule = "steps"
    config.rate_drops = (29 / 60, 44 / 60)
    return config


def rates(trunk: float, untrained: str) -> tuple[tuple[str, float], ...]:
    """Returns the official groups: global (the trunk), sal (DSAM and heads), sound and fusion; the first match counts.

    Args:
        trunk: factor of the global group.
        untrained: expression of the parameters that stay fixed.
    """
    return (
        (untrained, 0.0),
        (r"trunk/", trunk),
        (r"/side_prep/bias$", 0.02),
        (r"/side_prep/", 0.01),
        (r"(score_dsn_\d/.*|head/)bias$", 0.002),
        (r"score_dsn_\d/|head/", 0.001),
        (r"^soundnet8/", 0.1),
        (r"^fusion/", 1.0),
        (r"^classifier/", 1.0),
    )


def demo(config: ConfigDict) -> None:
    """Shrinks the network to two cores.

    It trains from scratch for minutes, not from Kinetics for days, so it uses the demos' optimiser and loss.
    """
    visual = {"model_name": "stavis_visual"}
    compare_gates(config, visual, audio="soundnet8", audio_part="soundnet8", effort=3.0)
    config.row_changes.base.effort = 1.5
    config.model.update(clip_size=8, width=0.25)
    config.model.fusion_options = ConfigDict({"hidden": 32, "features": 16})
    config.sampler = config.preprocessing = "vinet"
    config.flip = False
    config.total_steps = 120

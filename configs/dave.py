"""DAVE, plain and gated by audio-visual consistency (AVC).

Variants:

  paper   the published network, 16 frames of 256x320. Of its training only ten epochs and the choice of the best step
          on a validation list are published; the loss (KL) and the rest are ours. Its trunks start from
          `--config.init_parts.video_branch=FOLDER` and `audio_branch=FOLDER`. Needs the built eye-tracking datasets
          and an accelerator.
  star    DAVE*: the same gated by a classifier that is trained jointly (eq. 3).
  oracle  DAVE#: the same gated by the labels.
  demo    laptop size on the embedded benchmark of sounding shapes: V, AV, AV* and AV#, see `compare_gates`.

`star` and `oracle` hear each frame's audio at its time; `paper` at the official times, which drift at most frame rates
(`--config.preprocessing_options.timing`, docs/models.md). The official rule for clips after the end of the audio is
`--config.sampler_options.ends=frozen`, and `--config.model.detach_shortcut=True` trains as the official code would.

Commands, time and score:

  python -m avsd_jax.main --config=configs/dave.py:star --workdir=runs/dave_star
      not measured here: needs the datasets; no scores under this protocol are published
  python -m avsd_jax.main --config=configs/dave.py:demo --workdir=runs/dave_demo
      CC V 0.481, AV 0.539, AV* 0.570, AV# 0.598 (one seed)
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import compare_gates

VARIANTS = ("paper", "star", "oracle", "demo")


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/dave.py: choose one of {', '.join(VARIANTS)}")
    config = published()
    if variant in ("star", "oracle"):
        config.run_name = f"dave_{variant}"
        config.model.gate = "classifier" if variant == "star" else "labels"
        config.model.classifier = "avid"  # as in the survey
        config.preprocessing_options = ConfigDict({"timing": "synchronous"})
    elif variant == "demo":
        demo(config)
    return config.lock()


def published() -> ConfigDict:
    """Returns the published network, and a recipe of ours."""
    config = base("dave")
    config.init_parts = ConfigDict({"video_branch": "", "audio_branch": "", "classifier": ""})
    config.samples_per_video = 16
    config.total_steps = 10_000
    config.batch_size = 8
    config.learning_rate = 1e-4
    config.schedule = "cosine"
    config.warmup_steps = 100
    config.flip = True
    return config


def demo(config: ConfigDict) -> None:
    """Shrinks the network to two cores.

    A pixel whose logit is negative has no gradient behind a ReLU; the softplus leaves it one.
    """
    visual = {"model": {"gate": "never"}}
    compare_gates(config, visual, audio="dave_audio", audio_part="audio_branch", effort=2.0)
    config.model.update(clip_size=8, width=0.25, depths=(1, 1, 1, 1), activation="softplus")
    config.preprocessing_options = ConfigDict({"timing": "synchronous"})
    config.flip = False
    config.total_steps = 150

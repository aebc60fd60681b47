"""AAM, plain and gated by audio-visual consistency (AVC): the strongest published system of 2026 (docs/aam.md).

Variants:

  paper   the released network and what is known of its recipe: clips of 32 frames of 448x448, one at a time, AdamW.
          DINOv3 and Wav2CLIP stay as they are: start from converted files (`--config.init_parts.backbone=FOLDER`, or
          `--config.init=FOLDER` of a converted AAM). Needs the built eye-tracking datasets and an accelerator.
  star    AAM*: `paper` gated by a classifier that is trained jointly (eq. 3).
  oracle  AAM#: `paper` gated by the labels.
  tiny    AAM* from scratch at laptop size on the embedded benchmark of sounding shapes; with so few patches, and a
          Wav2CLIP of random weights, it is there to try the code, not to score.

Commands, time and score:

  python -m avsd_jax.main --config=configs/aam.py:paper --workdir=runs/aam
      not measured here: needs the datasets; published scores: docs/aam.md
  python -m avsd_jax.main --config=configs/aam.py:tiny --workdir=runs/aam_tiny
      not measured: a network of random weights in so few steps
"""

from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.config.base import base

VARIANTS = ("paper", "star", "oracle", "tiny")
# Clips of an epoch of the eye-tracking datasets: 169 videos, each about five times.
_CLIPS = 5 * 169


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/aam.py: choose one of {', '.join(VARIANTS)}")
    config = base("aam")
    config.init_parts = ConfigDict({"backbone": "", "audionet": "", "classifier": ""})
    config.losses = ConfigDict(
        losses.default_weights() | {"kl": 0.0, "aam": 1.0, "aam_distance": 0.4, "aam_entailment": 1.0}
    )
    config.optimizer = "adamw"
    config.optimizer_options = ConfigDict({"weight_decay": 5e-3})
    config.learning_rate = 3e-4
    config.schedule = "cosine"
    config.batch_size = 1
    if variant == "tiny":
        tiny(config)
        return config.lock()
    config.split = 3  # the only one that is published
    config.samples_per_video = 5
    config.total_steps = 10 * _CLIPS
    config.compute_dtype = "bfloat16"
    config.remat = True
    if variant in ("star", "oracle"):
        config.run_name = f"aam_{variant}"
        config.model.gate = "classifier" if variant == "star" else "labels"
        config.model.classifier = "avid"  # as in the survey
    return config.lock()


def tiny(config: ConfigDict) -> None:
    """Shrinks the network to two cores; nothing of it is frozen but Wav2CLIP."""
    config.run_name = "aam_tiny"
    config.dataset = "sounding_shapes"
    config.build_data = True
    config.train_split, config.test_split = "train", "test"
    del config.split
    config.model.update(clip_size=4, features=64, depth=4, heads=4, lora_rank=0, rope_rescale=1.0)
    config.model.update(frozen_backbone=False, level_channels=(16, 16, 32, 32), channels=64, point_size=16)
    config.model.update(text_size=16, audio_width=1 / 8, gate="classifier", train_gate="labels")
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64, "sample_rate": 16000})
    config.model.fusion_options = ConfigDict({"hidden": 32})
    config.rates = (("^audionet/", 0.0), ("", 1.0))
    config.frame_size = (96, 128)
    config.samples_per_video = 2
    config.batch_size = 4
    config.learning_rate = 1e-3
    config.warmup_steps = 20
    config.clip_norm = 1.0
    config.total_steps = 300
    config.log_every = 20
    config.eval_stride = 5
    config.audit = False

"""AViNet, plain and gated by audio-visual consistency (AVC): the survey's third target model (Table IV).

Variants:

  paper   the published audio-visual network and recipe: 32 frames of 224x384, Adam 1e-4, batch 8. Starts from a
          visual-only run (`--config.init=FOLDER`). Needs the built eye-tracking datasets and an accelerator.
  star    AViNet*: `paper` gated by a classifier that is trained jointly (eq. 3).
  oracle  AViNet#: `paper` gated by the labels.
  demo    laptop size on the embedded benchmark of sounding shapes: V, AV, AV* and AV#, see `compare_gates_briefly`.
          It fuses a shallower tap than the published network.
  comparison
          the published fusion at laptop size, longer, and with AV* trained jointly, see `compare_gates`.

Commands, time and score:

  python -m avsd_jax.main --config=configs/avinet.py:star --workdir=runs/avinet_star
      not measured here: needs the datasets; published scores: avsd_jax/evaluation/published
  python -m avsd_jax.main --config=configs/avinet.py:demo --workdir=runs/demo
      five minutes on two cores; CC V 0.685, AV 0.787, AV* 0.802, AV# 0.877 (three seeds, 0ab2bc5)
  python -m avsd_jax.main --config=configs/avinet.py:comparison --workdir=runs/comparison
      nine minutes on two cores; CC V 0.669, AV 0.670, AV* 0.685, AV# 0.721 (three seeds, befd79c)
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import compare_gates, compare_gates_briefly

VARIANTS = ("paper", "star", "oracle", "demo", "comparison")


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/avinet.py: choose one of {', '.join(VARIANTS)}")
    config = base("avinet")
    config.init_parts = ConfigDict({"visual_model": "", "audionet": "", "classifier": ""})
    config.total_steps = 840  # 40 epochs of 169 clips in batches of 8
    if variant in ("star", "oracle"):
        config.run_name = f"avinet_{variant}"
        config.model.gate = "classifier" if variant == "star" else "labels"
        config.model.classifier = "avid"  # as in the survey
    elif variant == "demo":
        demo(config)
    elif variant == "comparison":
        comparison(config)
    return config.lock()


def demo(config: ConfigDict) -> None:
    """Shrinks the network to two cores, and fuses a tap with enough locations to tell the shapes apart."""
    # Flips and weight decay: 240 videos are few for a classifier.
    decay = {"optimizer": "adamw", "optimizer_options": {"weight_decay": 0.01}}
    ears = {"batch_size": 32, "learning_rate": 1e-3, "effort": 4.5, "flip": True, **decay}
    compare_gates_briefly(config, audio="soundnet8", audio_part="audionet", classifier=ears)
    config.model.update(clip_size=8, width=0.25, norm_momentum=0.9, fuse_at="y2", fusion="localisation")
    config.model.fusion_options = ConfigDict({"hidden": 32, "features": 0})
    spectrogram = {"sample_rate": 8000, "nperseg": 240, "noverlap": 120, "nfft": 256}
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64, **spectrogram})
    config.frame_size = (64, 64)
    config.batch_size = 8
    config.total_steps = 80


def comparison(config: ConfigDict) -> None:
    """Shrinks the published network to two cores: it fuses the deepest tap."""
    visual = {"model_name": "vinet"}
    compare_gates(config, visual, audio="soundnet8", audio_part="audionet", effort=3.0)
    config.row_changes.base.effort = 1.5
    config.model.update(clip_size=8, width=0.25, norm_momentum=0.9, fusion="spatial_alignment", gate="classifier")
    config.total_steps = 120

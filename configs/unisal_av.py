"""UNISAL with sound, gated by audio-visual consistency (AVC): our small audio-visual model.

Variants:

  paper   12 frames of 224x384, SoundNet, audio fused with UNISAL's bottleneck, always; UNISAL's recipe on the six
          eye-tracking datasets. Starts from a UNISAL (`--config.init=FOLDER`: converted, or a run of configs/unisal.py)
          and from SoundNet (`--config.init_parts.audionet=FOLDER`). Needs the built datasets and an accelerator.
  star    the same gated by a classifier that is trained jointly (eq. 3).
  oracle  gated by the labels.
  demo    laptop size on the embedded benchmark of sounding shapes: V, AV, AV* and AV#, see `compare_gates_briefly`. It
          fuses a skip connection: the bottleneck of small frames has too few places.

Commands, time and score:

  python -m avsd_jax.main --config=configs/unisal_av.py:star --workdir=runs/unisal_av_star
      not measured here: needs the datasets
  python -m avsd_jax.main --config=configs/unisal_av.py:demo --workdir=runs/unisal_av_demo
      seven and a half minutes on one core; CC V 0.654, AV 0.753, AV* 0.809, AV# 0.855 (one seed, c5af0e1)
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import compare_gates_briefly
from avsd_jax.config.unisal_recipe import use_unisal_recipe

VARIANTS = ("paper", "star", "oracle", "demo")


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/unisal_av.py: choose one of {', '.join(VARIANTS)}")
    config = base("unisal_av")
    config.init_parts = ConfigDict({"visual_model": "", "audionet": "", "classifier": ""})
    if variant == "demo":
        demo(config)
        return config.lock()
    use_unisal_recipe(config)
    if variant in ("star", "oracle"):
        config.run_name = f"unisal_av_{variant}"
        config.model.gate = "classifier" if variant == "star" else "labels"
        config.model.classifier = "avid"  # as in the survey
    return config.lock()


def demo(config: ConfigDict) -> None:
    """Shrinks the network to two cores; it trains from scratch, the norms of its trunk, too."""
    decay = {"optimizer": "adamw", "optimizer_options": {"weight_decay": 0.01}}
    ears = {"batch_size": 32, "learning_rate": 1e-3, "effort": 2.25, "flip": True, **decay}
    compare_gates_briefly(config, audio="soundnet8", audio_part="audionet", classifier=ears)
    config.model.update(clip_size=8, width=0.25, domains=("DHF1K",), trunk_statistics=True, skip_dropout=0.1)
    config.model.update(fit_ratio=False, fuse_at="skip_4x", fusion="localisation")
    config.model.fusion_options = ConfigDict({"hidden": 32, "features": 0})
    spectrogram = {"sample_rate": 8000, "nperseg": 240, "noverlap": 120, "nfft": 256}
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64, **spectrogram})
    config.frame_size = (64, 64)
    # One excerpt for a clip, which is as long as the clip and what is around it.
    config.preprocessing_options = ConfigDict({"frame_audio": False})
    config.batch_size = 8
    config.total_steps = 160
    config.row_changes.voice.effort = 0.75

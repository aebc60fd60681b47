"""STANet, plain and gated by audio-visual consistency (AVC).

Variants:

  paper   the published CVPR network and recipe, weakly supervised: its targets are maps computed by `configs/scam.py`
          from the tags of AVE. Needs that dataset built, and an accelerator. AVE has no eye-tracking data: train with
          --mode=train, and score on eye-tracking datasets.
  star    STANet*: the same network gated by a classifier, on the eye-tracking datasets as in the survey.
  oracle  STANet#: gated by the labels.
  demo    laptop size on the embedded benchmark of sounding shapes, with the network of 2022: V, AV, AV* and AV#, see
          `compare_gates`.

`--config.model.release=2021` and `2022` are the later networks; the losses `stanet_2021_bce` and `stanet_2021_kl` are
their training losses, on each scale of the target frame (the script sums over all three frames of a clip). The
inference of the released scripts is selected by name: `--config.preprocessing=stanet_cvpr` (Lanczos frames, windows
of audio spread over the file, maps blurred with sigma 7), `--config.preprocessing=stanet_2021` (maps min-max
normalised, not blurred), `--config.model.reports=previous` (the map of frame t-1 is written for frame t, as in the
script of the later releases).

Commands, time and score:

  python -m avsd_jax.datasets build --dataset=ave --manual_dir=DIR
  python -m avsd_jax.scam --config=configs/scam.py --workdir=runs/scam
  python -m avsd_jax.main --config=configs/stanet.py --workdir=runs/stanet --mode=train
  python -m avsd_jax.main --config=configs/stanet.py --workdir=runs/stanet --mode=eval --config.dataset=six \
      --config.test_split=test_1
  python -m avsd_jax.main --config=configs/stanet.py:star --workdir=runs/stanet_star
      not measured here: need the datasets; published scores: avsd_jax/evaluation/published
  python -m avsd_jax.main --config=configs/stanet.py:demo --workdir=runs/stanet_demo
      CC V 0.694, AV 0.695, AV* 0.712, AV# 0.731 (two seeds, 79532d9)
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import compare_gates

VARIANTS = ("paper", "star", "oracle", "demo")


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/stanet.py: choose one of {', '.join(VARIANTS)}")
    config = published()
    if variant == "paper":
        weakly_supervised(config)
    elif variant == "demo":
        demo(config)
    else:
        config.run_name = f"stanet_{variant}"
        config.model.gate = "classifier" if variant == "star" else "labels"
        config.model.classifier = "avid"  # as in the survey
    return config.lock()


def published() -> ConfigDict:
    """Returns the published network and optimiser; checkpoints were hand-picked after tens of thousands of steps."""
    config = base("stanet")
    config.init_parts = ConfigDict({"visual": "", "audio_model": "", "classifier": ""})
    config.frame_size = (356, 356)
    config.sampler = "centred"
    config.preprocessing = "stanet"
    config.total_steps = 30_000
    config.batch_size = 3
    config.optimizer = "sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9})
    config.learning_rate = 1e-3
    return config


def weakly_supervised(config: ConfigDict) -> None:
    """Trains on the maps of `configs/scam.py` with the loss of the script; AVE has no folds."""
    config.dataset = "ave"
    config.train_split, config.test_split = "train", "test"
    del config.split
    config.target_maps = "runs/scam/maps"
    config.losses.update(kl=0.0, stanet_cvpr=1.0)


def demo(config: ConfigDict) -> None:
    """Shrinks the network to two cores.

    The CVPR network's decoder has no activation, and it learns nothing from the gate in so few steps; the release of
    2022 does. Three stages end at a sixteenth of the frame, which is small.
    """
    visual = {"model": {"gate": "never"}}
    compare_gates(config, visual, audio="vggsound", audio_part="audio_model", effort=2.0)
    config.model.update(release="2022", width=1 / 8, depths=(1, 1, 1))
    config.total_steps = 200

"""Classifiers of audio-visual consistency (AVC), trained alone: a run initialises the gate of a model.

Variants, each also as `<variant>_demo` at laptop size on the embedded benchmark of sounding shapes:

  l3net          L3-Net on the labels of frames.
  avenet         AVE-Net on the same.
  avid           AVID on the same (the default, and the survey's). Starts from published weights or from a run of
                 `avid_pretrain` (`--config.init=FOLDER`), or from scratch.
  avid_ws        AVID weakly supervised: a video with its own audio is consistent, with another video's it is not.
  avid_pretrain  self-supervised: AVID (row `instance`), CMA starting from it (`agreement`), then the classifier on
                 labels, starting from that (`classifier`).

A classifier predicts no map, so that it is trained with --mode=train and scored as the gate of a model:

  python -m avsd_jax.main --config=configs/avc.py:avid --workdir=runs/avid --mode=train
  python -m avsd_jax.main --config=configs/avinet.py:star --workdir=runs/avinet_star \
      --config.init_parts.classifier=runs/avid
      not measured here: need the datasets; published accuracies: avsd_jax/evaluation/published
  python -m avsd_jax.main --config=configs/avc.py:avid_demo --workdir=runs/avid_demo --mode=train
"""

from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import use_sounding_shapes

NAMES = ("avid", "avid_ws", "avid_pretrain", "l3net", "avenet")
VARIANTS = (*NAMES, *(f"{name}_demo" for name in NAMES))

# Training videos of fold 1 of the six eye-tracking datasets, and of sounding shapes.
SIX, SHAPES = 169, 240


def get_config(variant: str = "avid") -> ConfigDict:
    """Returns the configuration of a variant, `avid` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/avc.py: choose one of {', '.join(VARIANTS)}")
    name = variant.removesuffix("_demo")
    config = base("avc")
    config.run_name = variant
    config.frame_size = (32, 48)  # of maps, which are read and not predicted
    config.model.classifier = name if name in ("l3net", "avenet") else "avid"
    config.avc_supervision = "weak" if name == "avid_ws" else "labels"
    config.flip = True
    config.samples_per_video = 10
    config.total_steps = 1000
    config.batch_size = 64
    config.optimizer_options = ConfigDict({"weight_decay": 1e-5})
    if variant != name:
        demo(config)
    if name == "avid_pretrain":
        pretrain(config, SIX if variant == name else SHAPES)
    return config.lock()


def pretrain(config: ConfigDict, videos: int) -> None:
    """Adds the self-supervised stages; laptop sizes keep their batch and learning rate."""
    small = videos == SHAPES
    contrast = {"instances": videos, "classifier_options": config.model.classifier_options}
    contrast |= {"negatives": 128, "within_negatives": 32} if small else {}
    recipe = {"model_name": "avid_instance", "samples_per_video": 10}
    recipe |= {} if small else {"batch_size": 256, "learning_rate": 2e-4}
    both = {"avid_nce": 0.5, "cma_nce": 0.5}
    config.rows = ("instance", "agreement", "classifier")
    config.row_changes = ConfigDict(
        {
            "instance": {"label": "", **recipe, "model": contrast, "losses": {"avid_nce": 1.0}},
            "agreement": {
                "label": "",
                "init": "instance",
                **recipe,
                "model": contrast | {"positives": 8 if small else 32},
                "losses": both,
            },
            "classifier": {"label": "", "init": "agreement"},
        }
    )


def demo(config: ConfigDict) -> None:
    """Shrinks the network to two cores."""
    use_sounding_shapes(config)
    del config.model.num_tags  # a classifier has no tags
    config.tags = ()
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64, "sample_rate": 16000})
    config.losses = ConfigDict(losses.default_weights())
    config.schedule = "cosine"
    config.warmup_steps = 20
    config.total_steps = 120
    config.batch_size = 16
    config.learning_rate = 1e-3

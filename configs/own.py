"""UNISAL with sound on your own eye-tracking data (docs/own_data.md), at a size for two CPU cores.

Variants:

  scratch   from random weights, half as wide, audio always fused (the default).
  finetune  the published width, from a UNISAL: `--config.init=FOLDER`, converted or trained.

`--config.model.gate=classifier` gates either by a classifier, which learns from the labels; `--config.model.gate=never`
leaves the sound out.

Commands, time and score:

  python -m avsd_jax.main --config=configs/own.py --workdir=runs/own
      400 steps of a second on one core, after 40 s of compilation; scores are those of your data
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base
from avsd_jax.config.unisal_recipe import use_unisal_recipe

VARIANTS = ("scratch", "finetune")


def get_config(variant: str = "scratch") -> ConfigDict:
    """Returns the configuration of a variant, `scratch` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/own.py: choose one of {', '.join(VARIANTS)}")
    config = base("unisal_av")
    config.run_name = "own"
    config.dataset = "own"
    del config.split
    config.train_split, config.test_split = "train", "test"
    config.init_parts = ConfigDict({"visual_model": "", "audionet": "", "classifier": ""})
    use_unisal_recipe(config)
    config.frame_size = (128, 224)
    config.model.update(clip_size=8, fit_ratio=False)
    config.model.classifier = "l3net"
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64})
    config.samples_per_video = 8
    config.total_steps = 400
    config.eval_stride = 5
    if variant == "scratch":
        # No statistics of ImageNet to keep, and one domain.
        config.model.update(width=0.5, domains=("DHF1K",), trunk_statistics=True)
        config.optimizer, config.optimizer_options = "adamw", ConfigDict({"weight_decay": 0.01})
        config.learning_rate, config.schedule, config.rates = 1e-3, "cosine", ()
    return config.lock()

"""UNISAL, the small visual network (Droste, Jiao and Noble, ECCV 2020), on the datasets watched with sound.

Variants:

  paper   the published recipe on the six eye-tracking datasets, as one domain: clips of 12 frames of 224x384 that are 5
          apart, SGD, 14 epochs. Starts from the released weights, converted, or from `frozen` (`--config.init=FOLDER`).
          Needs the built datasets and an accelerator.
  frozen  the first 2 of 16 epochs, in which the trunk is frozen.
  demo    laptop size on the embedded benchmark of sounding shapes.

Commands, time and score:

  python -m avsd_jax.main --config=configs/unisal.py:paper --workdir=runs/unisal
      not measured here: needs the datasets
  python -m avsd_jax.main --config=configs/unisal.py:demo --workdir=runs/unisal_demo
      two minutes on one core; CC 0.574 (one seed)
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import use_sounding_shapes
from avsd_jax.config.unisal_recipe import use_unisal_recipe

VARIANTS = ("paper", "frozen", "demo")


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/unisal.py: choose one of {', '.join(VARIANTS)}")
    config = base("unisal")
    config.audit = False
    use_unisal_recipe(config, frozen=variant == "frozen")
    if variant == "demo":
        demo(config)
    return config.lock()


def demo(config: ConfigDict) -> None:
    """Shrinks the network to two cores; it trains from scratch, the norms of its trunk, too."""
    use_sounding_shapes(config)
    del config.model.num_tags
    config.tags = ()
    config.model.update(clip_size=8, width=0.25, domains=("DHF1K",), trunk_statistics=True, skip_dropout=0.1)
    config.model.fit_ratio = False
    config.frame_size = (64, 64)
    config.sampler = "sequence"
    config.schedule = "cosine"
    config.warmup_steps = 20
    config.batch_size = 8
    config.total_steps = 200

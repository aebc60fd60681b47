"""UNISAL, the small visual network (Droste, Jiao and Noble, ECCV 2020), on the datasets watched with sound.

Variants:

  paper   the published recipe on the six eye-tracking datasets, as one domain: clips of 12 frames of 224x384 that are 5
          apart, SGD, 16 epochs, in the first two of which the trunk is frozen (the row `frozen`). Starts from the
          released weights (`--config.row_changes.frozen.init_parts...`, or a converted folder by `--config.init`).
          Needs the built datasets and an accelerator.
  demo    laptop size on the embedded benchmark of sounding shapes.

Commands, time and score:

  python -m avsd_jax.main --config=configs/unisal.py:paper --workdir=runs/unisal
      not measured here: needs the datasets
  python -m avsd_jax.main --config=configs/unisal.py:demo --workdir=runs/unisal_demo
      PENDING
"""

from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import use_sounding_shapes

VARIANTS = ("paper", "demo")

EPOCHS, FROZEN = 16, 2
DECAY = 0.8  # of the learning rate, by epoch


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/unisal.py: choose one of {', '.join(VARIANTS)}")
    config = base("unisal")
    config.losses = ConfigDict(dict.fromkeys(losses.available(), 0.0) | {"log_kl": 1.0, "nss": 0.1, "cc": 0.1})
    config.rho = 1.0
    config.audit = False
    recipe(config) if variant == "paper" else demo(config)
    return config.lock()


def recipe(config: ConfigDict) -> None:
    """The published optimiser. One number for all parameters: the trunk's weight decay is officially a tenth."""
    config.sampler = "unisal"
    config.flip = True
    config.batch_size = 4
    config.total_steps = EPOCHS * 42
    config.optimizer = "sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9, "weight_decay": 1e-4})
    config.learning_rate = 0.04
    config.clip_norm = 2.0
    config.schedule = "steps"
    config.rate_factor = DECAY
    config.rates = (("^cnn/", 0.1), ("", 1.0))
    rest = EPOCHS - FROZEN
    config.rows = ("frozen", "whole")
    config.row_changes = ConfigDict(
        {
            "frozen": {
                "label": "",
                "effort": FROZEN / EPOCHS,
                "rates": (("^cnn/", 0.0), ("", 1.0)),
                "rate_drops": tuple(epoch / FROZEN for epoch in range(1, FROZEN)),
            },
            "whole": {
                "label": "UNISAL",
                "init": "frozen",
                "effort": rest / EPOCHS,
                "learning_rate": config.learning_rate * DECAY**FROZEN,
                "rate_drops": tuple(epoch / rest for epoch in range(1, rest)),
            },
        }
    )


def demo(config: ConfigDict) -> None:
    """Shrinks the network to two cores; it trains from scratch, the norms of its trunk, too."""
    use_sounding_shapes(config)
    del config.model.num_tags
    config.tags = ()
    config.model.update(clip_size=8, width=0.25, domains=("DHF1K",), trunk_statistics=True, skip_dropout=0.1)
    config.frame_size = (64, 64)
    config.preprocessing_options = ConfigDict({"domain": ""})
    config.flip = True
    config.schedule = "cosine"
    config.warmup_steps = 20
    config.batch_size = 8
    config.total_steps = 200

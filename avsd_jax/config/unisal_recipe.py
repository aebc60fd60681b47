"""The published training of UNISAL, shared by its configurations with and without sound."""

from ml_collections import ConfigDict

# Steps of an epoch: 169 clips of the six datasets in batches of 4.
EPOCHS, FROZEN, STEPS = 16, 2, 42
# Factor on the learning rate after each epoch.
DECAY = 0.8


def use_unisal_recipe(config: ConfigDict, frozen: bool = False) -> None:
    """Sets the published optimiser, loss and clips: of the first epochs, with the trunk frozen, or of the others.

    The trunk's weight decay is that of all parameters, 1e-4; officially it has a tenth of it.
    """
    done, epochs = (0, FROZEN) if frozen else (FROZEN, EPOCHS - FROZEN)
    config.losses.update(kl=0.0, log_kl=1.0, nss=0.1, cc=0.1)
    config.sampler = "unisal"
    config.flip = True
    config.batch_size = 4
    config.total_steps = epochs * STEPS
    config.optimizer = "sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9, "weight_decay": 1e-4})
    config.learning_rate = 0.04 * DECAY**done
    config.clip_norm = 2.0
    config.schedule = "steps"
    config.rate_factor = DECAY
    config.rate_drops = tuple(epoch / epochs for epoch in range(1, epochs))
    config.rates = (("(^|/)cnn/", 0.0 if frozen else 0.1), ("", 1.0))

"""The terms of the loss: `avsd_jax.losses.terms.<name>.Term` for each name in `config.losses`."""

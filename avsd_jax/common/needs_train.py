"""The extra `train`: a command that trains or reads built datasets imports this module first.

Where the extra is missing, the command ends with one line that says how to install it.
"""

from avsd_jax.common import extras

extras.demand("train")

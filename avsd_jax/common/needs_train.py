"""The extra `train`: a command that trains or reads built datasets imports this module before its other ones.

Where the extra is missing, a process that runs the command ends with one line and status 2, as later by
`avsd_jax.common.cli`; if the module of the command is only imported, InputError is raised.
"""

import sys

from avsd_jax.common import extras
from avsd_jax.errors import InputError

# The commands that import this module.
_COMMANDS = ("calibrate", "datasets", "main", "pseudo_labels", "scam.__main__")

_command = getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "")
try:
    extras.check("train")
except InputError as error:
    if _command not in [f"avsd_jax.{name}" for name in _COMMANDS]:
        raise
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

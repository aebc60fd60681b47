"""How long a command takes before its work: what is not imported costs nothing."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Each takes about a second, and scoring calls none of them.
SLOW = ("scipy.stats", "scipy.optimize", "tensorflow", "matplotlib", "torch", "flax", "av", "grain", "orbax", "sklearn")


def test_scoring_and_comparing_import_nothing_slow_that_they_do_not_use() -> None:
    code = f"import sys, avsd_jax.evaluate, avsd_jax.compare; print([m for m in {SLOW} if m in sys.modules])"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The start-up time of commands: libraries that are not needed are not imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Each takes half a second or more, and none is needed before a command knows that its arguments are right.
SLOW = (
    *("scipy.stats", "scipy.optimize", "scipy.signal", "scipy.io", "scipy.sparse"),
    *("tensorflow", "matplotlib", "torch", "flax", "grain", "orbax", "sklearn"),
)
# Command -> what it also does without.
COMMANDS = {
    ("evaluate", "--predictions=missing", "--dataset=avad", "--data_dir=missing"): ("av",),
    ("compare", "missing", "missing"): ("av", "tensorflow_datasets"),
    ("datasets", "list", "--data_dir=missing"): ("jax",),
    ("avc_labels", "summary", "--manual_dir=missing"): ("av", "tensorflow_datasets", "jax"),
}


@pytest.mark.parametrize(("command", "unused"), COMMANDS.items(), ids=[command[0] for command in COMMANDS])
def test_a_command_imports_nothing_slow_before_it_has_looked_at_its_arguments(
    command: tuple[str, ...], unused: tuple[str, ...], tmp_path: Path
) -> None:
    code = f"""import sys
from avsd_jax import {command[0]}
{command[0]}.main({list(command[1:])})
print("imported", [module for module in {SLOW + unused} if module in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "imported []"

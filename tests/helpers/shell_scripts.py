"""Running the scripts of launch/ in a folder of their own, with stand-ins for the commands that they call."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SHIMS = ROOT / "tests/launch/shims"

SETTING = {"PROJECT": "my-project", "ZONE": "us-west4-a", "TPU": "pod", "BUCKET": "my-bucket", "TMPDIR": "/tmp"}
SETTING |= {"ACCELERATOR": "v5litepod-32", "RUNTIME": "v2-alpha-tpuv5-lite"}


def stand_in(place: pathlib.Path, *names: str, by: str = "record") -> None:
    """Puts stand-ins into `place/shims`, or, where a name has folders, below `place`."""
    for name in names:
        shim = place / (name if "/" in name else f"shims/{name}")
        shim.parent.mkdir(parents=True, exist_ok=True)
        shim.symlink_to(SHIMS / by)


def run(place: pathlib.Path, command: list[str], **variables: str) -> subprocess.CompletedProcess:
    """Runs a command in `place`, with its stand-ins first; an empty variable is not set."""
    path = f"{place / 'shims'}:{os.environ['PATH']}"
    environment = {"PATH": path, "SHIM_LOG": str(place / "log")} | SETTING | variables
    environment = {name: value for name, value in environment.items() if value}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=60, check=False)

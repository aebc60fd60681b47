"""What a server was started with."""

import dataclasses
import ipaddress
from pathlib import Path

from avsd_jax.errors import InputError

DEFAULT_PORT = 8765
DEFAULT_OUT = Path("runs/web")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Attributes:
        out: the folder of uploads, copies, results and labels.
        folder: of videos to choose from, or None.
        checkpoints: trained or converted models; `gbvs_av`, which has no weights, can always be chosen.
        ground_truth: a folder of density maps and fixations (docs/ground_truth_folder.md), or None.
        max_upload: bytes that one upload may have.
        token: what a browser must know to be let in, or None if there is none.
        local: whether only this machine can connect, so that only its own names are served.
    """

    out: Path = DEFAULT_OUT
    folder: Path | None = None
    checkpoints: tuple[str, ...] = ()
    ground_truth: Path | None = None
    max_upload: int = 4_000_000_000
    token: str | None = None
    local: bool = True

    def check(self) -> None:
        """Raises InputError if a folder that was named is missing."""
        named = [("--folder", self.folder), ("--ground_truth", self.ground_truth)]
        named += [("--checkpoint", Path(each)) for each in self.checkpoints if "://" not in each]
        for flag, folder in named:
            if folder is not None and not folder.is_dir():
                raise InputError(f"{flag}={folder}: there is no such folder")


def is_local(host: str) -> bool:
    """Returns whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

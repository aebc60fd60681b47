"""The layouts of the six datasets' files, detected automatically.

  stavis  video_frames/ video_audio/ annotations/, as STAViS's authors distribute them
  scdl    video_frame/ audio/ annotation/, the survey's renamed copy of the same
  raw     <SET>/ as unpacked from the owner's archives; AVAD has no known raw layout

A tree may have several; supplied maps are preferred to rendered ones unless the options request gaze.
"""

from collections.abc import Iterable
from pathlib import Path

from avsd_jax.common import safe_paths
from avsd_jax.common.by_name import load_module
from avsd_jax.data import dataset_names
from avsd_jax.errors import InputError
from avsd_jax.sources.base import Source
from avsd_jax.sources.build_options import BuildOptions

_PACKAGE = "avsd_jax.sources.layouts"
# In order of preference, by the origin of maps.
_ORDER = {"any": ("stavis", "scdl", "raw"), "stavis": ("stavis", "scdl"), "gaze": ("raw", "stavis", "scdl")}


def find(root: str | Path, dataset: str, options: BuildOptions) -> tuple[str, Source]:
    """Finds the layout of a dataset's files in a tree, and their reader.

    Args:
        root: the user's `manual_dir`.
        dataset: its key, such as "diem".
        options: determine the suitable layouts.

    Raises:
        InputError: no such dataset; there is no such folder; or no layout fits: the message lists what was looked for.
    """
    dataset_names.named(dataset)
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: give the root of the data's tree as --manual_dir")
    missing = []
    for name in _ORDER[options.maps]:
        layout = load_module(_PACKAGE, name, "layout")
        looked_for = layout.looked_for(dataset)
        if looked_for and all(_any_there(root, spellings) for spellings in looked_for):
            return name, layout.Reader(root, dataset, options)
        what = " and ".join(" or ".join(spellings) for spellings in looked_for)
        missing.append(f"{name}: {what or 'no such layout of this dataset is known'}")
    raise InputError(f"{root} has no files of {dataset} (looked for {'; '.join(missing)}): unpack them there")


def _any_there(root: Path, spellings: Iterable[str]) -> bool:
    return any(safe_paths.below(root, *spelling.split("/")).exists() for spelling in spellings)

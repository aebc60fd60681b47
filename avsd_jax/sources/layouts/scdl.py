"""The survey's copy of STAViS's tree (SCDL), which has other names for folders and sets and adds `av_gt_label/`.

  video_frame/<SET>/<video>/..., audio/<SET>/<video>/..., annotation/<SET>/<video>/..., fold_list/, av_gt_label/<SET>/

What is in the folders is as in `stavis`.
"""

from typing import ClassVar

from avsd_jax.sources.layouts import stavis


def looked_for(dataset: str) -> tuple[tuple[str, ...], ...]:
    """Groups of paths below the root, of each of which one must be there."""
    return Reader.looked_for(dataset)


class Reader(stavis.Reader):
    """The videos of a set in this layout."""

    folders: ClassVar[dict[str, str]] = {"frames": "video_frame", "sound": "audio", "annotations": "annotation"}

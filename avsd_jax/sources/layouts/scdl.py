"""Layout of the survey's copy of STAViS's tree (SCDL), with other folder and dataset names, and `av_gt_label/`.

  video_frame/<SET>/<video>/..., audio/<SET>/<video>/..., annotation/<SET>/<video>/..., fold_list/, av_gt_label/<SET>/

The content of the folders is as in `stavis`.
"""

from typing import ClassVar

from avsd_jax.sources.layouts import stavis


def looked_for(dataset: str) -> tuple[tuple[str, ...], ...]:
    """Returns groups of paths below the root, of each of which one must exist."""
    return Reader.looked_for(dataset)


class Reader(stavis.Reader):
    """The videos of a dataset in this layout."""

    folders: ClassVar[dict[str, str]] = {"frames": "video_frame", "audio": "audio", "annotations": "annotation"}

"""The task `copy`: an H.264 mp4 of a video that browsers do not play as it is."""

from pathlib import Path
from typing import Any

from avsd_jax.common.atomic_files import make_folder
from avsd_jax.media.reading import read_frames
from avsd_jax.media.survey import survey
from avsd_jax.media.writing import VideoWriter
from avsd_jax.web.reports import Report


def run(report: Report, video: str, target: str) -> dict[str, Any]:
    """Writes the copy, whose frames come at the times of `read_frames`.

    Args:
        report: gets the progress.
        video: path of the file.
        target: path of the copy; it gets its name when it is complete.

    Raises:
        InputError: the file cannot be read.
        StorageError: the disk is full or read-only.
    """
    report.phase("making a copy that browsers play")
    info, _ = survey(video)
    make_folder(Path(target).parent)
    with VideoWriter(target, info, info.width, info.height) as writer:
        for frame in read_frames(video):
            writer.write(frame.image, frame.time)
            report.progress(frame.index + 1, info.num_frames)
    return {}

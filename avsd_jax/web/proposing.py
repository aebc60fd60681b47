"""The task `propose`: what `python -m avsd_jax.avc` writes, as a proposal of labels."""

import functools
from typing import Any

from avsd_jax.prediction.consistency import ConsistencyScorer
from avsd_jax.web.reports import Report


def run(report: Report, video: str, out: str, checkpoint: str | None) -> dict[str, Any]:
    """Scores the consistency of a video.

    Args:
        report: gets the progress.
        video: path of the file.
        out: folder of the result, of this video and classifier alone.
        checkpoint: a classifier, or a run gated by one; None for the classifier without weights.

    Raises:
        InputError: the video or the classifier cannot be read.
        StorageError: the disk is full or read-only.
    """
    report.phase("loading the classifier")
    scorer = _scorer(checkpoint)
    report.phase("reading the video and compiling the classifier")
    scorer.run(video, out, progress=report.progress)
    return {}


@functools.lru_cache(maxsize=1)
def _scorer(checkpoint: str | None) -> ConsistencyScorer:
    return ConsistencyScorer(checkpoint)

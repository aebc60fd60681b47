"""Alignment of several evaluations to the same frames, or an error if they cannot be compared."""

from collections.abc import Sequence

import numpy as np

from avsd_jax.errors import InputError
from avsd_jax.evaluation.score_files import Evaluation
from avsd_jax.scoring.summary import Frames


def align(evaluations: Sequence[Evaluation], common_frames: bool) -> tuple[list[Frames], int, list[int]]:
    """Returns the scores of each evaluation on the frames that all of them scored, in the same order.

    Args:
        evaluations: at least two, as `score_files.load` reads them.
        common_frames: restrict all to the frames that all scored; otherwise they must have scored the same.

    Returns:
        The frames of each, with the same rows; their number; and the number of further frames of each.

    Raises:
        InputError: protocol, dataset, precision, ground truth, labels or frames differ.
    """
    first, *others = evaluations
    for other in others:
        check_same(first, other)
    places = [{key: i for i, key in enumerate(e.keys)} for e in evaluations]
    common = [key for key in first.keys if all(key in place for place in places)]
    beside = [len(place) - len(common) for place in places]
    if any(beside) and not common_frames:
        example = next(key for place in places for key in place if not all(key in other for other in places))
        counts = ", ".join(f"{n} only in {e.folder}" for n, e in zip(beside, evaluations, strict=True))
        raise InputError(
            f"the {'two' if len(places) == 2 else len(places)} scored different frames: {counts} (such as "
            f"{'/'.join(map(str, example))}): --common_frames compares the {len(common)} that "
            f"{'both' if len(places) == 2 else 'all'} have"
        )
    if not common:
        raise InputError(
            f"{' and '.join(str(e.folder) for e in evaluations)} have no frame in common: score the same videos"
        )
    videos = sorted({video for _, video, _ in common})
    frames = [_select(e, [place[key] for key in common], videos) for e, place in zip(evaluations, places, strict=True)]
    for other in frames[1:]:
        differing = np.flatnonzero(frames[0].label != other.label)
        if len(differing):
            raise InputError(
                f"the two have different labels, first at {'/'.join(map(str, common[differing[0]]))}: score both on "
                "one build of the dataset"
            )
    return frames, len(common), beside


# Choices that records of earlier versions do not name.
_EARLIER = {"definitions": "mit"}


def check_same(a: Evaluation, b: Evaluation) -> None:
    """Checks that two evaluations used the same protocol and the same ground truth.

    Raises:
        InputError: protocol, dataset, precision or ground truth differ; the message names the difference.
    """
    for part, fix in (("protocol", "--protocol"), ("dataset", "--dataset and --split")):
        ours, theirs = a.record[part], b.record[part]
        # Other differences between builds with the same ground truth, such as in the frames, affect no score.
        ignored = ("digest", "options") if part == "dataset" else ()
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            if key not in ignored and ours.get(key, _EARLIER.get(key)) != theirs.get(key, _EARLIER.get(key)):
                raise InputError(
                    f"{a.folder} and {b.folder} differ in {part} {key} ({ours.get(key)!r} and {theirs.get(key)!r}): "
                    f"score both with the same {fix}"
                )
    if a.record.get("precision") != b.record.get("precision"):
        raise InputError(
            f"{a.folder} and {b.folder} differ in precision ({a.record.get('precision')!r} and "
            f"{b.record.get('precision')!r}): score both with the same --precision"
        )
    _check_ground_truth(a, b)


def _check_ground_truth(a: Evaluation, b: Evaluation) -> None:
    """Checks that the videos which both scored had the same density maps and fixations.

    Raises:
        InputError: they had not, or one of the evaluations does not record it.
    """
    ours, theirs = (e.record.get("ground_truth") for e in (a, b))
    if (ours is None) != (theirs is None):
        older = a if ours is None else b
        raise InputError(
            f"{older.folder} does not say what ground truth it was scored against: run python -m avsd_jax.evaluate "
            "on it again"
        )
    if ours is None or theirs is None:
        return
    differing = [video for video, digest in ours["videos"].items() if theirs["videos"].get(video, digest) != digest]
    if differing:
        builds = [e.record["dataset"].get("digest", "?")[:12] for e in (a, b)]
        raise InputError(
            f"{a.folder} and {b.folder} differ in ground truth, of {len(differing)} videos, such as {differing[0]!r} "
            f"(builds {builds[0]} and {builds[1]} of {a.record['dataset']['name']}): score both on the same build of "
            "the dataset"
        )


def _select(evaluation: Evaluation, rows: Sequence[int], videos: Sequence[str]) -> Frames:
    """Selects rows, with videos numbered by their position in `videos`."""
    frames, place = evaluation.frames, {video: i for i, video in enumerate(videos)}
    splits = evaluation.record["dataset"]["splits"]
    keys = [evaluation.keys[row] for row in rows]
    return Frames(
        part=np.array([splits.index(split) for split, _, _ in keys], int),
        video=np.array([place[video] for _, video, _ in keys], int),
        frame=frames.frame[rows],
        label=frames.label[rows],
        scores={metric: values[rows] for metric, values in frames.scores.items()},
    )

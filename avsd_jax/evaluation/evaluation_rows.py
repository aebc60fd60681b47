"""Conversion of the results by video to rows by frame, and their summary for the record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avsd_jax.evaluation import map_checks, undefined_scores
from avsd_jax.evaluation.evaluation_inputs import Split
from avsd_jax.evaluation.scoring_jobs import digest
from avsd_jax.scoring.protocols import Protocol


def rows(
    part: Split, results: Mapping[tuple[str, str], Mapping[str, Any]], protocol: Protocol
) -> Iterator[dict[str, Any]]:
    """Yields a row per frame of a split; see `score_files.write`."""
    for number, video in enumerate(part.store.videos):
        result = results.get((part.name, video.id), {"frames": []})
        place = {frame: i for i, frame in enumerate(result["frames"])}
        penalties = undefined_scores.penalties(
            result.get("undefined", {}), video.map_height * video.map_width, protocol
        )
        for frame, label in enumerate(part.store.avc_label(number)):
            row = {"split": part.name, "video": video.id, "frame": frame, "label": int(label)}
            if frame in place:
                scores = {m: result["scores"][m][place[frame]] for m in protocol.metrics}
                yield row | {"status": "scored"} | scores | penalties.get(frame, {})
            elif frame < protocol.unscored_start:
                yield row | {"status": "unscored"}
            else:
                zero = dict.fromkeys(protocol.metrics, 0.0) if protocol.missing == "zero" else {}
                yield row | {"status": "missing"} | zero


def ground_truth(results: Mapping[tuple[str, str], Mapping[str, Any]], several: bool) -> dict[str, Any]:
    """Returns digests of the ground truth: of each video with predictions, and of all of them together."""
    videos = {f"{split}/{video}" if several else video: r["ground_truth"] for (split, video), r in results.items()}
    return {"digest": digest(videos), "videos": videos}


def coverage(rows: Sequence[Mapping[str, Any]], results: Mapping[Any, Mapping[str, Any]]) -> dict[str, int]:
    """Counts the frames that were scored, lack a map, are not scored by the protocol, or are past the end."""
    counts = {status: sum(row["status"] == status for row in rows) for status in ("scored", "missing", "unscored")}
    return counts | {"beyond": sum(result["beyond"] for result in results.values())}


def missing(rows: Sequence[Mapping[str, Any]], several: bool) -> dict[str, Any]:
    """Returns the videos without any scored frame, and the missing frames of the others as ranges."""
    by_video: dict[str, dict[str, list[int]]] = {}
    for row in rows:
        name = f"{row['split']}/{row['video']}" if several else row["video"]
        by_video.setdefault(name, {}).setdefault(row["status"], []).append(row["frame"])
    lacking = {name: found for name, found in by_video.items() if "missing" in found}
    return {
        "videos": [name for name, found in lacking.items() if "scored" not in found],
        "frames": {
            name: map_checks.ranges(found["missing"], most=len(found["missing"]))
            for name, found in lacking.items()
            if "scored" in found
        },
    }

"""The digest of what a video is scored against: it changes with its scores and with nothing else."""

import dataclasses

import numpy as np
from videos import memory_store, source_video

from avsd_jax.data import schema
from avsd_jax.scoring.ground_truth import GroundTruth

VIDEO = source_video("a", num_frames=6, size=(20, 30))


def digest(read_before: tuple[int, ...] = (), **changes: object) -> str:
    truth = GroundTruth(memory_store([dataclasses.replace(VIDEO, **changes)]))
    for frame in read_before:
        truth.density(0, frame)
    return truth.digest(0)


def test_only_maps_and_fixated_pixels_decide() -> None:
    plain = digest()
    assert digest(read_before=(4, 1)) == plain
    black = schema.encode_jpeg(np.zeros((20, 30, 3), np.uint8))
    assert digest(frames=[black] * 6, fps=25.0, video_id="b") == plain
    # The same pixels by other viewers, twice, in another order, and off by less than half a pixel.
    points = VIDEO.fixations.copy()
    points[:, 1] = 2
    points[:, 2:] += 0.2
    again = np.concatenate([points, points])
    assert digest(fixations=again[np.argsort(again[:, 0], kind="stable")]) == plain


def test_another_pixel_of_either_is_another_digest() -> None:
    plain = digest()
    planes = [schema.decode_png(data).copy() for data in VIDEO.density]
    planes[3][5, 5] += 1
    assert digest(density=[schema.encode_png(plane) for plane in planes]) != plain
    moved = VIDEO.fixations.copy()
    moved[0, 2] += 1
    assert digest(fixations=moved) != plain
    assert digest(fixations=VIDEO.fixations[1:]) != plain

"""What people looked at, as the metrics want it: maps of fixated pixels and each frame's shuffle pool."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from avsd_jax.data.store import VideoStore


class GroundTruth:
    """Native-size maps of the frames of a store; keeps one pool per video."""

    def __init__(self, store: VideoStore):
        self.store = store
        self._unions: dict[int, np.ndarray] = {}

    def density(self, video: int, frame: int) -> UInt8[np.ndarray, "h w"]:
        """The 8-bit density map."""
        return self.store.density(video, frame)

    def fixations(self, video: int, frame: int) -> Bool[np.ndarray, "h w"]:
        """True at the pixels that somebody fixates in the frame."""
        return self._rasterise(video, self.store.fixations(video, frame))

    def pool(self, video: int, frame: int) -> Bool[np.ndarray, "h w"]:
        """Negatives of the shuffled AUC: pixels fixated in other frames of the video, but not in this one."""
        if video not in self._unions:
            count = self.store.videos[video].num_frames
            points = np.concatenate([self.store.fixations(video, i) for i in range(count)])
            self._unions[video] = self._rasterise(video, points)
        return self._unions[video] & ~self.fixations(video, frame)

    def _rasterise(self, video: int, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "h w"]:
        index = self.store.videos[video]
        return fixation_map(points, (index.map_height, index.map_width))


def fixation_map(points: Float[np.ndarray, "n 2"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Marks the pixel nearest to each point (x, y); a point outside of the map is no fixation on it.

    Args:
        points: x to the right, y downwards, pixel centres at whole numbers.
        size: (height, width) of the map.
    """
    hit = np.zeros(size, bool)
    x, y = np.floor(points.T.astype(np.float64) + 0.5)
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])  # false for NaN as well
    hit[y[inside].astype(int), x[inside].astype(int)] = True
    return hit

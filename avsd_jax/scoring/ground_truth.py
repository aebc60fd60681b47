"""Ground truth as the metrics take it: maps of fixated pixels, and the shuffle pool of each frame."""

import hashlib

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8, UInt16

from avsd_jax.data.store import VideoStore
from avsd_jax.metrics import fixation_map
from avsd_jax.metrics.fixations import nearest_pixels


class GroundTruth:
    """Native-size maps of the frames of a store; keeps one pool per video.

    Args:
        store: the videos.
        of_events: density maps have the depth of their source, and the digest includes repeated fixations.
    """

    def __init__(self, store: VideoStore, of_events: bool = False):
        self.store = store
        self._of_events = of_events
        self._unions: dict[tuple[int, str], np.ndarray] = {}
        self._density_sums: dict[tuple[int, int], bytes] = {}

    def density(self, video: int, frame: int) -> UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"]:
        """Returns the density map, of 8 bits unless scores are of events and its source has more."""
        density = (self.store.density_levels if self._of_events else self.store.density)(video, frame)
        if (video, frame) not in self._density_sums:
            self._density_sums[video, frame] = hashlib.sha256(np.ascontiguousarray(density)).digest()
        return density

    def digest(self, video: int) -> str:
        """Returns a digest of the ground truth that scores of a video depend on: density maps and fixated pixels.

        Density maps that were read before are not read again.
        """
        index = self.store.videos[video]
        content = hashlib.sha256(f"{index.num_frames} {index.map_height} {index.map_width}".encode())
        for frame in range(index.num_frames):
            if (video, frame) not in self._density_sums:
                self.density(video, frame)
            content.update(self._density_sums[video, frame])
            pixels, times = np.unique(nearest_pixels(self.store.fixations(video, frame)), axis=0, return_counts=True)
            content.update(pixels.tobytes())
            content.update(times.tobytes() if self._of_events else b"")
        return content.hexdigest()[:32]

    def fixations(self, video: int, frame: int) -> Bool[np.ndarray, "h w"]:
        """Returns the fixated pixels of the frame."""
        return self._rasterise(video, self.store.fixations(video, frame))

    def events(self, video: int, frame: int) -> Int[np.ndarray, "n 2"]:
        """Returns the fixated pixel (x, y) of every fixation of the frame."""
        index, pixels = self.store.videos[video], nearest_pixels(self.store.fixations(video, frame))
        return pixels[((pixels >= 0) & (pixels < (index.map_width, index.map_height))).all(axis=1)]

    def pool(self, video: int, frame: int, kind: str = "same_video") -> Bool[np.ndarray, "h w"]:
        """Returns the negatives of the shuffled AUC: pixels fixated in other frames, but not in this one.

        Args:
            video, frame: identify the frame.
            kind: as `Protocol.pool`: of the same video, or of all others.
        """
        if (video, kind) not in self._unions:
            others = [other for other in range(len(self.store.videos)) if other != video]
            points = [self._points(v, video) for v in ([video] if kind == "same_video" else others)]
            self._unions[video, kind] = self._rasterise(video, np.concatenate([np.zeros((0, 2), np.float32), *points]))
        return self._unions[video, kind] & ~self.fixations(video, frame)

    def _points(self, video: int, plane: int) -> Float[np.ndarray, "n 2"]:
        """Returns all fixations of a video, in pixels of another video's plane."""
        count = self.store.videos[video].num_frames
        points = np.concatenate([self.store.fixations(video, i) for i in range(count)])
        if video == plane:
            return points
        own, other = self.store.videos[video], self.store.videos[plane]
        scale = np.array([other.map_width / own.map_width, other.map_height / own.map_height], np.float32)
        return (points + np.float32(0.5)) * scale - np.float32(0.5)

    def _rasterise(self, video: int, points: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, "h w"]:
        index = self.store.videos[video]
        # Padded to a few lengths, each of which is compiled once.
        padded = np.full((1 << max(len(points) - 1, 0).bit_length(), 2), np.nan, np.float32)
        padded[: len(points)] = points
        return np.asarray(fixation_map(padded, (index.map_height, index.map_width)))

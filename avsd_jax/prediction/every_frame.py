"""A prediction for every frame of a video, paired with the frame itself, which is decoded once."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from avsd_jax.media.reading import Frame
from avsd_jax.prediction.frame_choice import ALL, Chosen


class Prediction(NamedTuple):
    """The model's prediction for a frame.

    Attributes:
        index: the frame.
        saliency: [H, W] in [0, 1] at the model's size.
        probability: of audio-visual consistency; None without a classifier.
        opened: whether the fused stream was used.
        predicted: False if it is interpolated between two predictions.
    """

    index: int
    saliency: np.ndarray
    probability: float | None
    opened: bool
    predicted: bool = True


class PassedFrames:
    """Iterates over the frames of a video, and keeps those that the model was shown until they are written.

    They are as many as the model and the interpolation look ahead, whatever the length of the video.

    Args:
        frames: of the video, in order.
        chosen: those that are written.
    """

    def __init__(self, frames: Iterable[Frame], chosen: Chosen = ALL):
        self._frames = iter(frames)
        self._chosen = chosen
        self._waiting: deque[Frame] = deque()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        frame = next(self._frames)
        if self._chosen.has(frame.index):
            self._waiting.append(frame)
        return frame

    def paired(self, predictions: Iterable[Prediction]) -> Iterator[tuple[Frame, Prediction]]:
        """Yields every chosen frame with its prediction, and forgets it.

        Args:
            predictions: of all of these in order, each made after its frame was read here; those after the last frame
                are ignored.
        """
        for prediction in predictions:
            if not self._waiting:
                return
            yield self._waiting.popleft(), prediction


def at_every_frame(predictions: Iterable[Prediction], stride: int, chosen: Chosen = ALL) -> Iterator[Prediction]:
    """Yields a prediction for every chosen frame from those that `chosen.predicted(stride)` names, endlessly.

    Maps are interpolated linearly; probability and gate are those of the earlier prediction. The last prediction is
    repeated.
    """
    current = None
    for following in predictions:
        if current is not None:
            for index in chosen.between(current.index + 1, following.index):
                share = (index - current.index) / stride
                saliency = np.float32(1 - share) * current.saliency + np.float32(share) * following.saliency
                yield _held(current, index, saliency)
        if chosen.has(following.index):
            yield following
        current = following
    if current is not None:
        yield from (_held(current, index, current.saliency) for index in chosen.between(current.index + 1))


def _held(prediction: Prediction, index: int, saliency: Float32[np.ndarray, "h w"]) -> Prediction:
    """Returns a prediction for a later frame, of another map."""
    return Prediction(index, saliency, prediction.probability, prediction.opened, predicted=False)

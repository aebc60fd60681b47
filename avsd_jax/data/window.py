"""The output of a sampler: the frames of a clip for the prediction of one frame's map."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Window:
    """One clip, as frame numbers of its video.

    Attributes:
        frames: the clip's frames in the order of the model's input; repeats replace frames that the
            video does not have.
        target: frame whose map is predicted.
        audio_first: frame with which the clip's audio begins.
        audio_last: frame with which it ends, inclusive.
        reverse_audio: whether the audio is played backwards, as the frames are.
        audio_frames: where each frame has audio of its own, that of which frame each of them has; empty: its own.
    """

    frames: tuple[int, ...]
    target: int
    audio_first: int
    audio_last: int
    reverse_audio: bool = False
    audio_frames: tuple[int, ...] = ()

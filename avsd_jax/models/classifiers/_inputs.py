"""What every classifier says of its own clock."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a classifier wants to see and hear around the moment it judges.

    Attributes:
        num_frames: frames, centred on the moment.
        frame_rate: frames per second between them; None for a single frame.
        frame_size: height and width of the square frames, pixels.
        sample_rate: of the waveform, Hz.
        audio_seconds: length of the waveform, centred on the moment.
    """

    num_frames: int
    frame_rate: float | None
    frame_size: int
    sample_rate: int
    audio_seconds: float

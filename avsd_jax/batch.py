"""What passes between data and models: the entries of a batch, and what a classifier says of its own."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ClassifierInputs:
    """What a consistency classifier gets around the moment it classifies; `classifier.inputs` of every classifier.

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

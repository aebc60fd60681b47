"""The parameters of the sounding-shapes generator."""

import dataclasses

from avsd_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Sizes, rates and probabilities of the generated videos.

    Equal configs give equal videos; two that differ in `seed` give independent ones. The fields below
    the sizes are the parameters of the model of attention in the package docstring.

    Attributes:
        seed: seed of the whole benchmark, not negative.
        num_frames: frames of each video.
        fps: frames per second.
        height: frame height in pixels; the shapes' sizes and speeds scale with it.
        width: frame width in pixels.
        sample_rate: samples per second of the mono waveform; at least 8000, to avoid aliasing of voices.
        num_viewers: simulated viewers of each video.
        min_shapes: fewest shapes in a video.
        max_shapes: most shapes in a video; at least one class must stay unseen for a foreign voice.
        change_strongest: probability that another shape becomes the strongest at a border of segments.
        min_segment_seconds: shortest audio segment.
        max_segment_seconds: longest audio segment, at least twice the shortest.
        consistent_share: share of time in which a visible shape sounds, at most 0.5 because a
            consistent segment is never followed by another one.
        weak_speaker: probability that the sounding (or imitated) shape is not the strongest one.
        crossfade_seconds: length of the cross-fade between two audio segments.
        border_frames: frames nearer than this to a change of the label are unlabelled (-1).
        look_at_speaker: probability of looking at the sounding shape in a consistent segment.
        look_at_strongest: probability of looking at the strongest shape in a consistent segment.
        look_at_strongest_inconsistent: the same in an inconsistent segment.
        redraw: probability per frame that a viewer chooses a new target.
        min_lag_frames: fewest frames before a viewer reacts to a new segment.
        max_lag_frames: most frames before a viewer reacts to a new segment.
        gaze_jitter: standard deviation of the gaze around a shape's centre, in radii of the shape.
        density_sigma: standard deviation of the density maps' Gaussian, in frame widths.

    Raises:
        InputError: a size is not positive, or a range or probability is out of bounds.
    """

    seed: int = 0
    num_frames: int = 125
    fps: float = 12.5
    height: int = 96
    width: int = 128
    sample_rate: int = 22050
    num_viewers: int = 20

    min_shapes: int = 2
    max_shapes: int = 4
    change_strongest: float = 0.3

    min_segment_seconds: float = 1.5
    max_segment_seconds: float = 3.5
    consistent_share: float = 0.4
    weak_speaker: float = 0.75
    crossfade_seconds: float = 0.03
    border_frames: float = 1.0

    look_at_speaker: float = 0.75
    look_at_strongest: float = 0.15
    look_at_strongest_inconsistent: float = 0.8
    redraw: float = 0.15
    min_lag_frames: int = 2
    max_lag_frames: int = 3
    gaze_jitter: float = 0.4
    density_sigma: float = 5 / 128

    def __post_init__(self) -> None:
        """Checks the values."""
        for name in ("num_frames", "fps", "num_viewers", "crossfade_seconds", "density_sigma"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        for name, least in (("seed", 0), ("height", 32), ("width", 32), ("sample_rate", 8000)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("change_strongest", "weak_speaker", "look_at_strongest_inconsistent", "redraw"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is a probability and must lie in [0, 1], not {getattr(self, name)}")
        if not 2 <= self.min_shapes <= self.max_shapes <= 5:
            found = f"{self.min_shapes} to {self.max_shapes}"
            raise InputError(f"min_shapes to max_shapes must be a range within 2 to 5, not {found}")
        if not 0 < 2 * self.min_segment_seconds <= self.max_segment_seconds:
            raise InputError("max_segment_seconds must be at least twice min_segment_seconds, which is positive")
        if not 0 <= self.consistent_share <= 0.5:
            raise InputError(f"consistent_share must lie in [0, 0.5], not {self.consistent_share}")
        if min(self.look_at_speaker, self.look_at_strongest) < 0 or self.look_elsewhere < 0:
            raise InputError("look_at_speaker and look_at_strongest must be probabilities with a sum of at most 1")
        if not 0 <= self.min_lag_frames <= self.max_lag_frames:
            raise InputError("min_lag_frames must lie in [0, max_lag_frames]")

    @property
    def seconds(self) -> float:
        """Returns the length of a video."""
        return self.num_frames / self.fps

    @property
    def num_samples(self) -> int:
        """Returns the number of samples of a whole waveform."""
        return round(self.seconds * self.sample_rate)

    @property
    def look_elsewhere(self) -> float:
        """Returns the probability of looking at neither the speaker nor the strongest shape when consistent."""
        return 1 - self.look_at_speaker - self.look_at_strongest

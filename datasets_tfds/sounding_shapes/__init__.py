"""Sounding shapes: generated videos with audio and known audio-visual consistency.

A small benchmark for audio-visual saliency models that are gated by audio-visual consistency (AVC).
It needs no download, has the features of the real datasets, and is designed so that a model that
ignores audio, one that always trusts audio and one that knows when to trust it differ measurably.

Video
    A video (default 125 frames of 96 x 128 at 12.5 fps) shows 2 to 4 shapes of different classes
    before a muted, textured background, through a slightly shaking, flickering and noisy camera. The
    six classes are disc, square, triangle, star, ring and cross; each has its hue (up to 8 degrees off) and
    its kind of texture. All shapes wander without overlapping and pulsate in size (+-20 %) and
    brightness, each in its own irregular rhythm of 1.2 to 3 pulses per second, whether heard or not.
    One of them is visually the strongest: larger, more saturated, brightly rimmed and faster. At a
    border of two audio segments another shape takes over that role with probability 0.3
    (`change_strongest`), in a smooth transition of 0.8 s.

Audio
    Each class has a voice (flute, clarinet, saw, bell, breath, buzz, in the order above) whose pitch
    differs by up to 10 % between videos, so that the look of a shape determines its timbre. The audio
    is a sequence of segments of 1.5 to 3.5 s with cross-fades of 30 ms over a faint noise:

    consistent (40 % of the time)
        "voice": one visible shape sounds, its loudness following its pulsation exactly. With
        probability 0.75 (`weak_speaker`) it is not the strongest shape.
    inconsistent (60 %, a third each)
        "music": chords, bass and beat. "foreign": the voice of a class that is not in the video, in
        a rhythm like the shapes'. "imitation": the voice of a class that *is* visible (again with
        probability 0.75 not the strongest), but from off-screen: sustained or at 4 to 6 pulses per
        second, which no shape has, quieter, with reverberation and fewer high frequencies.

    `avc_label` of a frame is 1 (consistent) or 0 (inconsistent) by the segment at the frame's centre
    time. As annotators leave borders open, a frame nearer than one frame (`border_frames`) to a change of the
    label has -1.

Model of attention
    Each of 20 viewers looks at one target at a time and chooses a new one with probability 0.15 per frame
    (`redraw`), and 2 to 3 frames after each border (`min_lag_frames`, `max_lag_frames`), the reaction
    time. The choice is

    consistent
        the sounding shape with probability 0.75, the strongest with 0.15 (one shape may be both),
        elsewhere with 0.10.
    inconsistent
        the strongest shape with probability 0.80, elsewhere with 0.20.

    "Elsewhere" is half the time one of the other shapes and half the time a point near the frame's
    centre. The gaze is around a shape's centre with a standard deviation of 0.4 radii, most of it
    constant during a dwell. Gazes outside the frame are dropped, but each frame keeps at least one
    fixation. A density map is a frame's fixations blurred by a Gaussian with a standard deviation of
    5 pixels at a width of 128, scaled to a peak of 255.

Achievable scores
    A model that predicts one shape per frame finds, without lags, this fraction of all gazes:

    V, visual only            0.615  always the strongest shape
    AV, always trusting audio 0.684  the shape with the timbre of the audio, if any, else the strongest
    gated AV                  0.795  the speaker if consistent, else the strongest shape

    V loses where a weak shape speaks (0.15 instead of 0.75), AV where a weak shape is imitated (0.03 to
    0.1 instead of 0.80), and audio alone gives no location. An imitator can be recognised by its reverberation
    and rhythm, a foreign voice only by the absence of its look: consistency requires both modalities.

Everything about a video depends on (seed, split, index) alone, see `generator.generate_video`. The
frames and audio are bit-identical for the same releases of numpy, scipy and OpenCV on the same kind of
processor, for any Python version or number of processes.
"""

"""TFDS builder of DIEM."""

from datasets_tfds.eye_tracking import EyeTrackingBuilder


class Builder(EyeTrackingBuilder):
    """DIEM: film trailers, television, sport, nature and more, watched by dozens of people each.

    The published lists omit three of the 84 videos; there is a single split, which has all three names.
    """

    OPTIONS = ("eye", "placement", "offset_x", "offset_y")
    FPS = "30 per second"
    SURVEY_FRAMES = 78_167
    HOMEPAGE = "https://thediemproject.wordpress.com"
    LICENSE = "Research use; see the terms of the DIEM project. The files are not to be passed on."
    CITATION = """\
@article{mital2011clustering,
  title={Clustering of gaze during dynamic scene viewing is predicted by motion},
  author={Mital, Parag K and Smith, Tim J and Hill, Robin L and Henderson, John M},
  journal={Cognitive Computation},
  volume={3},
  number={1},
  pages={5--24},
  year={2011}
}"""

"""TFDS builder of ETMD."""

from datasets_tfds.eye_tracking import GAZE_OF_SUMME_AND_ETMD, EyeTrackingBuilder


class Builder(EyeTrackingBuilder):
    """ETMD: scenes of Hollywood movies."""

    OPTIONS = ("offset_x", "offset_y")
    FPS = "25 per second"
    SURVEY_FRAMES = 52_744
    HOMEPAGE = "http://cvsp.cs.ntua.gr/research/aveyetracking"
    LICENSE = "No terms are published; research use. The files are not to be passed on."
    CITATION = (
        """\
@article{koutras2015perceptually,
  title={A perceptually based spatio-temporal computational framework for visual saliency estimation},
  author={Koutras, Petros and Maragos, Petros},
  journal={Signal Processing: Image Communication},
  volume={38},
  year={2015}
}
"""
        + GAZE_OF_SUMME_AND_ETMD
    )

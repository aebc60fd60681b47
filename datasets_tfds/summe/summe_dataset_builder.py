"""TFDS builder of SumMe."""

from datasets_tfds.eye_tracking import GAZE_OF_SUMME_AND_ETMD, EyeTrackingBuilder


class Builder(EyeTrackingBuilder):
    """SumMe: unedited home videos of sport, holidays and events.

    Two splits omit one video each.
    """

    OPTIONS = ("offset_x", "offset_y")
    FPS = "15 to 30 per second"
    HOMEPAGE = "http://cvsp.cs.ntua.gr/research/aveyetracking"
    LICENSE = "No terms are published; research use. The files are not to be passed on."
    CITATION = (
        """\
@inproceedings{gygli2014creating,
  title={Creating summaries from user videos},
  author={Gygli, Michael and Grabner, Helmut and Riemenschneider, Hayko and Van Gool, Luc},
  booktitle={European Conference on Computer Vision},
  year={2014}
}
"""
        + GAZE_OF_SUMME_AND_ETMD
    )

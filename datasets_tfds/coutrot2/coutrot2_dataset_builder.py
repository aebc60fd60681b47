"""TFDS builder of Coutrot2."""

from datasets_tfds.eye_tracking import EyeTrackingBuilder


class Builder(EyeTrackingBuilder):
    """Coutrot2: conversations of four people at a table."""

    OPTIONS = ("condition", "offset_x", "offset_y")
    FPS = "25 per second"
    SURVEY_FRAMES = 17_134
    HOMEPAGE = "http://antoinecoutrot.magix.net/public/databases.html"
    LICENSE = "Research use; see the terms of the owner. The files are not to be passed on."
    CITATION = """\
@inproceedings{coutrot2015efficient,
  title={An efficient audiovisual saliency model to predict eye positions when looking at conversations},
  author={Coutrot, Antoine and Guyader, Nathalie},
  booktitle={European Signal Processing Conference},
  year={2015}
}"""

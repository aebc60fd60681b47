"""TFDS builder of Coutrot1."""

from datasets_tfds.eye_tracking import EyeTrackingBuilder


class Builder(EyeTrackingBuilder):
    """Coutrot1: one moving object, several, landscapes, and faces; some viewers heard other audio than the video's."""

    OPTIONS = ("condition", "offset_x", "offset_y")
    FPS = "25 per second"
    SURVEY_FRAMES = 25_223
    HOMEPAGE = "http://antoinecoutrot.magix.net/public/databases.html"
    LICENSE = "Research use; see the terms of the owner. The files are not to be passed on."
    CITATION = """\
@article{coutrot2014how,
  title={How saliency, faces, and sound influence gaze in dynamic social scenes},
  author={Coutrot, Antoine and Guyader, Nathalie},
  journal={Journal of Vision},
  volume={14},
  number={8},
  year={2014}
}"""

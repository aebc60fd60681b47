"""TFDS builder of AVAD."""

from datasets_tfds.eye_tracking import EyeTrackingBuilder


class Builder(EyeTrackingBuilder):
    """AVAD: single sounding things and people: speech, music, animals.

    The owner's own layout is unknown; the test sets of its splits overlap, and three videos are in none.
    """

    FPS = "23.976 to 30 per second"
    SURVEY_FRAMES = 9_564
    HOMEPAGE = "http://cvsp.cs.ntua.gr/research/stavis"
    LICENSE = "No terms are published; see its authors. The files are not to be passed on."
    CITATION = """\
@article{min2016fixation,
  title={Fixation prediction through multimodal analysis},
  author={Min, Xiongkuo and Zhai, Guangtao and Gu, Ke and Yang, Xiaokang},
  journal={ACM Transactions on Multimedia Computing, Communications, and Applications},
  volume={13},
  number={1},
  year={2016}
}"""

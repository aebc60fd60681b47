"""Models without an audio-visual network to train: the survey's baselines (Table IV), and ours without any training.

Variants:

  gbvs_av   visual saliency, raised where the picture changes along with the audio; needs no training (the default)
  gbvs      graph-based visual saliency (Harel et al., 2006); needs no training
  demo      those that need no training on the embedded benchmark of sounding shapes

Commands, time and score:

  python -m avsd_jax.main --config=configs/baselines.py:demo --workdir=runs/baselines
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base

UNLEARNED = ("gbvs", "gbvs_av")
VARIANTS = (*UNLEARNED, "demo")


def get_config(variant: str = "gbvs_av") -> ConfigDict:
    """Returns the configuration of a variant, `gbvs_av` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/baselines.py: choose one of {', '.join(VARIANTS)}")
    config = demo() if variant == "demo" else base(variant)
    return config.lock()


def demo() -> ConfigDict:
    """Scores the models without weights, and the audio-visual one with its gate open, closed and by labels."""
    config = base("gbvs_av")
    config.run_name = "baselines"
    config.dataset = "sounding_shapes"
    config.build_data = True
    config.train_split, config.test_split = "train", "test"
    del config.split
    config.frame_size = (96, 128)
    config.eval_stride = 5
    config.eval_batch_size = 32
    config.rows = ("gbvs", "v", "av", "av_star", "av_oracle")
    config.row_changes = ConfigDict(
        {
            "gbvs": {"label": "GBVS", "model_name": "gbvs", "model": {"cues": "DIO", "clip_size": 1}},
            "v": {"label": "V", "model": {"gate": "never"}},
            "av": {"label": "AV", "model": {"gate": "always"}},
            "av_star": {"label": "AV*", "model": {"gate": "classifier"}},
            "av_oracle": {"label": "AV#", "model": {"gate": "labels"}},
        }
    )
    return config

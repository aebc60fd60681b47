"""STANet's weakly supervised stage: from tags of videos to training maps for STANet, without any fixations.

Three classifiers predict a video's tags from a frame (S), a frame and its audio (SA) and three frames (ST). Their
activation maps, fused where they are confident, give a box around the tagged object; three more are trained on
the boxes, and their maps, put back and smoothed in time, are the pseudo ground truth.

Variants:

  paper  the published networks and recipe (release of December 2021) on AVE; needs that dataset built (`python -m
         avsd_jax.datasets build --dataset=ave --manual_dir=DIR`), and an accelerator.
  demo   the same code at laptop size on the embedded benchmark of sounding shapes.

Commands, time and score:

  python -m avsd_jax.scam --config=configs/scam.py:demo --workdir=runs/scam
  python -m avsd_jax.evaluate --predictions=runs/scam/maps --first_frame=0 --dataset=sounding_shapes --split=train
      CC 0.332 with the density maps of the training videos (one run, 79532d9)
  python -m avsd_jax.main --config=configs/stanet.py:demo --config.target_maps=runs/scam/maps --workdir=runs/stanet
      CC of V on the test videos 0.374 (one run, 79532d9)
  python -m avsd_jax.scam --config=configs/scam.py --workdir=runs/scam
      not measured here: needs the dataset
"""

from ml_collections import ConfigDict

from avsd_jax.config.base import base
from avsd_jax.config.sounding_shapes import use_sounding_shapes
from avsd_jax.sources.ave import CATEGORIES

VARIANTS = ("paper", "demo")


def get_config(variant: str = "paper") -> ConfigDict:
    """Returns the configuration of a variant, `paper` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/scam.py: choose one of {', '.join(VARIANTS)}")
    config = published()
    if variant == "demo":
        demo(config)
    return config.lock()


def published() -> ConfigDict:
    """Returns the published networks and recipe. The classifiers predict no map: the tags are their loss."""
    config = base("scam_s")
    config.run_name = "scam"
    config.model.num_tags = len(CATEGORIES)
    config.init_parts = ConfigDict({"features": "", "audio_model": ""})  # e.g. a converted ResNeXt, VGGSound
    config.dataset = "ave"
    config.train_split, config.test_split = "train", "test"
    del config.split
    config.frame_size = (256, 256)
    config.sampler = "centred"
    config.preprocessing = "stanet"
    config.samples_per_video = 10
    # The multi-label soft margin loss of the scores after and before fusion.
    config.rho = 1.0
    config.tags = CATEGORIES
    config.losses.tags = config.losses.side_tags = 1 / len(CATEGORIES)
    config.total_steps = 62_600  # 15 epochs of ten clips of 3339 videos in batches of 8
    config.optimizer = "sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4})
    # Ten times for the heads' kernels, and twice that for biases, as by name in the official code.
    heads = "(extra_|self_gate)"
    config.rates = ((f"{heads}.*kernel$", 10.0), (heads, 20.0), ("(kernel|scale)$", 1.0), ("", 2.0))
    config.log_every = 50
    config.checkpoint_every = 1000
    config.keep_checkpoints = 1
    config.eval_batch_size = 16
    config.audit = False
    config.scam = stages()
    config.rows = config.scam.coarse + config.scam.fine
    # A triple has three frames: batches are smaller, and epochs longer.
    st = {"label": "", "model_name": "scam_st", "model": {"clip_size": 3}}
    st |= {"batch_size": 3, "effort": 8 / 3, "losses": {"side_tags": 0.4 / len(CATEGORIES)}}
    fine = {"frame_size": (356, 356)}
    config.row_changes = ConfigDict(
        {
            "coarse_s": {"label": "", "schedule": "steps"},
            "coarse_sa": {"label": "", "model_name": "scam_sa"},
            "coarse_st": st,
            "fine_s": {"label": "", "schedule": "steps", **fine},
            "fine_sa": {"label": "", "model_name": "scam_sa", "model": {"audio_grid": 12}, **fine},
            "fine_st": st | fine,
        }
    )
    return config


def stages() -> ConfigDict:
    """Returns the section that `avsd_jax/scam` reads: which rows are which, and how maps become boxes and targets."""
    scam = ConfigDict()
    scam.coarse = ("coarse_s", "coarse_sa", "coarse_st")
    scam.fine = ("fine_s", "fine_sa", "fine_st")
    scam.rule = "rectified"  # how maps become images; "stretched" is the CVPR release's
    scam.confidence = 0.0  # threshold of a classifier's confidence; 0.99 in the CVPR release's crop scripts
    scam.side = 356  # of the square plane of boxes and maps, pixels
    scam.box_threshold = 2.0  # times a map's mean
    scam.smooth = True  # in time, as the official code does at full rate on almost static objects
    scam.map_threshold = 3.0
    return scam


def demo(config: ConfigDict) -> None:
    """Shrinks the run to two cores: half-size frames, one block a stage, and a grid of 8 x 8 as in the original.

    No trunk is pretrained: S learns it, and the other networks start from S.
    """
    use_sounding_shapes(config)
    config.model.width = 1 / 16
    config.losses.tags = config.losses.side_tags = 1 / len(config.tags)
    config.frame_size = (128, 128)
    config.total_steps = 80
    config.warmup_steps = 10
    config.checkpoint_every = 40
    config.scam.side = 128
    # Smoothing would lag behind moving shapes, of which every fifth frame is read.
    config.scam.smooth = False
    config.scam.map_threshold = 1.0
    rows = {
        "s": {"label": "", "effort": 4},
        "sa": {"label": "", "model_name": "scam_sa", "effort": 1},
        "st": {"label": "", "model_name": "scam_st", "effort": 1, "batch_size": 8},
    }
    for branch, row in rows.items():
        model = {"depths": (1, 1, 1)} | ({"clip_size": 3} if branch == "st" else {})
        first = {} if branch == "s" else {"init_parts": {"features": "coarse_s"}}
        fine = {"init": f"coarse_{branch}", "effort": row["effort"] / 2}
        config.row_changes[f"coarse_{branch}"] = ConfigDict(row | {"model": model} | first)
        config.row_changes[f"fine_{branch}"] = ConfigDict(row | {"model": model} | fine)

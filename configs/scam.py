"""STANet's weakly supervised stage: from tags of videos to maps on which STANet is trained without any fixation.

Three classifiers tell a video's tags by a frame (S), by a frame and its sound (SA) and by three frames (ST). Their
activation maps, joined where they are sure, give a box around what the tags are about; three more are trained on the
boxes, and their maps, put back and smoothed in time, are the pseudo ground truth.

Variants:

  paper  the published networks and recipe (release of December 2021) on AVE; needs that set prepared (`python -m
         avsd_jax.datasets build --dataset=ave --manual_dir=DIR`), and an accelerator.
  demo   the same code at laptop size on the embedded benchmark of sounding shapes.

Commands:

  python -m avsd_jax.scam --config=configs/scam.py:demo --workdir=runs/scam
  python -m avsd_jax.evaluate --predictions=runs/scam/maps --first_frame=0 --dataset=sounding_shapes --split=train
  python -m avsd_jax.main --config=configs/stanet.py:demo --config.target_maps=runs/scam/maps --workdir=runs/stanet
"""

from ml_collections import ConfigDict

from avsd_jax.sources.ave import CATEGORIES

VARIANTS = ("paper", "demo")


def get_config(variant: str = "paper") -> ConfigDict:
    """The configuration of a variant; `paper` is the default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/scam.py: choose one of {', '.join(VARIANTS)}")
    config = paper()
    if variant == "demo":
        demo(config)
    return config.lock()


def paper() -> ConfigDict:
    """The published networks and recipe."""
    config = ConfigDict()
    config.run_name = "scam"
    config.seed = 0

    # Model section: what the rows below share.
    config.model_name = "scam_s"
    config.model = ConfigDict()
    config.model.num_tags = len(CATEGORIES)
    config.model.width = 1.0
    config.model.norm_momentum = 0.9
    config.init = ""
    config.init_parts = ConfigDict({"features": "", "audio_model": ""})  # e.g. a converted ResNeXt, VGGSound

    # Data section.
    config.dataset = "ave"
    config.data_dir = "data"
    config.build_data = False
    config.train_split = "train"
    config.test_split = "test"
    config.target_maps = ""  # folder of maps that stand for the viewers' density
    config.frame_size = (256, 256)
    config.frame_step = 1
    config.sampler = "centred"
    config.sampler_options = ConfigDict()
    config.preprocessing = "stanet"
    config.preprocessing_options = ConfigDict()
    config.flip = False
    config.samples_per_video = 10
    config.data_threads = 4

    # Loss section: the multi-label soft margin loss of the scores after and before fusion.
    config.loss = "kl"  # the classifiers predict no map
    config.rho = 1.0
    config.bce_weight = 0.0
    config.side_epochs = 0
    config.tags = CATEGORIES
    config.tag_weight = 1 / len(CATEGORIES)
    config.side_tag_weight = 1 / len(CATEGORIES)
    config.cc_weight = 0.0
    config.sim_weight = 0.0
    config.nss_weight = 0.0

    # Optimiser section. 3339 videos, 15 epochs of ten clips each, in batches of 8.
    config.total_steps = 62_600
    config.batch_size = 8
    config.optimizer = "sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4})
    config.learning_rate = 1e-4
    # Ten times for the heads' kernels, and twice that for biases, as by name in the official code.
    heads = "(extra_|self_gate)"
    config.rates = ((f"{heads}.*kernel$", 10.0), (heads, 20.0), ("(kernel|scale)$", 1.0), ("", 2.0))
    config.schedule = "constant"
    config.rate_drops = (1 / 3, 2 / 3)  # of schedule="steps", which the single-frame classifiers have
    config.warmup_steps = 0
    config.clip_norm = 0.0
    config.ema_decay = 0.0
    config.compute_dtype = "float32"
    config.executor = "jit"

    # Log and checkpoint section.
    config.log_every = 50
    config.checkpoint_every = 1000
    config.keep_checkpoints = 1
    config.tensorboard = True

    # Which frames get maps, and how many are judged at once.
    config.eval_stride = 1
    config.eval_batch_size = 16
    config.smooth_sigma = 0.0
    config.audit = False

    # Weak supervision section (avsd_jax/scam).
    config.scam = ConfigDict()
    config.scam.coarse = ("coarse_s", "coarse_sa", "coarse_st")
    config.scam.fine = ("fine_s", "fine_sa", "fine_st")
    config.scam.rule = "rectified"  # how maps become pictures; "stretched" is the CVPR release's
    config.scam.confidence = 0.0  # what a classifier's must exceed; 0.99 in the CVPR release's crop scripts
    config.scam.side = 356  # of the square plane of boxes and maps, pixels
    config.scam.box_threshold = 2.0  # times a map's mean
    config.scam.smooth = True  # in time, as the official code does at full rate on things that hardly move
    config.scam.map_threshold = 3.0

    config.rows = config.scam.coarse + config.scam.fine
    # A triple costs three frames: its batches are smaller, and its epochs longer.
    st = {"label": "", "model_name": "scam_st", "model": {"clip_size": 3}}
    st |= {"batch_size": 3, "effort": 8 / 3, "side_tag_weight": 0.4 / len(CATEGORIES)}
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


def demo(config: ConfigDict) -> None:
    """Shrinks the run to two cores: half-size frames, one block a stage, and a grid of 8 x 8 as in the original.

    No trunk comes from elsewhere: S learns it, and its sister networks start from S.
    """
    config.dataset = "sounding_shapes"
    config.build_data = True
    config.tags = ("disc", "square", "triangle", "star", "ring", "cross")
    config.model.num_tags = len(config.tags)
    config.model.width = 1 / 16
    config.tag_weight = config.side_tag_weight = 1 / len(config.tags)
    config.frame_size = (128, 128)
    config.samples_per_video = 4
    config.total_steps = 80
    config.batch_size = 16
    config.optimizer = "adam"
    config.optimizer_options = ConfigDict()
    config.learning_rate = 2e-3
    config.rates = ()
    config.warmup_steps = 10
    config.clip_norm = 1.0
    config.log_every = 20
    config.checkpoint_every = 40
    config.eval_stride = 5
    config.eval_batch_size = 32
    config.scam.side = 128
    # Every fifth frame, and shapes that move: smoothing lags behind them.
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

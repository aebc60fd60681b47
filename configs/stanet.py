"""STANet, plain and gated by audio-visual consistency (AVC).

Variants:

  paper   the published CVPR network and recipe, weakly supervised: its targets are maps that `configs/scam.py` makes of
          the tags of AVE. Needs that set prepared, and an accelerator. Nobody watched AVE: train with --mode=train, and
          score on eye-tracking sets.
  star    STANet*: the same network with the AVC classifier as its gate, on eye-tracking sets as in the survey.
  oracle  STANet#: gated by the labels.
  demo    the same code at laptop size on the embedded benchmark of sounding shapes, with the network of 2022; six
          trainings and one re-scoring.

`--config.model.release=2021` and `2022` are the later networks, `--config.loss=stanet_2021` is what they were trained
with, on each scale of the target frame (the script sums over all three frames of a clip). What the released scripts do
at inference goes by names: `--config.preprocessing=stanet_cvpr` (Lanczos frames, windows of sound spread over the file,
maps blurred with sigma 7), `--config.preprocessing=stanet_2021` (maps stretched, not blurred),
`--config.model.reports=previous` (the map of frame t-1 goes by the name of frame t, as the script of the later releases
has it).

Commands:

  python -m avsd_jax.datasets build --dataset=ave --manual_dir=DIR
  python -m avsd_jax.scam --config=configs/scam.py --workdir=runs/scam
  python -m avsd_jax.main --config=configs/stanet.py --workdir=runs/stanet --mode=train
  python -m avsd_jax.main --config=configs/stanet.py --workdir=runs/stanet --mode=eval --config.dataset=six \
      --config.test_split=test_1
  python -m avsd_jax.main --config=configs/stanet.py:star --workdir=runs/stanet_star
  python -m avsd_jax.main --config=configs/stanet.py:demo --workdir=runs/stanet_demo
"""

from ml_collections import ConfigDict

VARIANTS = ("paper", "demo", "star", "oracle")


def get_config(variant: str = "paper") -> ConfigDict:
    """The configuration of a variant; `paper` is the default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/stanet.py: choose one of {', '.join(VARIANTS)}")
    config = paper()
    if variant == "demo":
        demo(config)
    elif variant in ("star", "oracle"):
        gated(config, "classifier" if variant == "star" else "labels")
    return config.lock()


def paper() -> ConfigDict:
    """The published shape and recipe."""
    config = ConfigDict()
    config.run_name = "stanet"
    config.seed = 0

    # Model section: avsd_jax/models/<model_name>.py, built with the options in `model`.
    config.model_name = "stanet"
    config.model = ConfigDict()
    config.model.release = "cvpr"
    config.model.clip_size = 3
    config.model.width = 1.0
    config.model.depths = (3, 4, 23, 3)
    config.model.norm_momentum = 0.9
    config.model.num_tags = 0
    config.model.temporal_relu = True
    config.model.all_frames = False
    config.model.reports = "target"
    config.model.fusion = "published"
    config.model.fusion_options = ConfigDict()
    config.model.gate = "always"
    config.model.gate_at = "input"
    config.model.train_gate = "predicted"
    config.model.classifier = "l3net"
    config.model.classifier_options = ConfigDict()
    config.init = ""  # folder of a run to start from
    # Folders that start single parts: a converted resnext101, vggsound, or a trained classifier.
    config.init_parts = ConfigDict({"visual": "", "audio_model": "", "classifier": ""})

    # Data section: datasets_tfds/<dataset>, prepared by `python -m avsd_jax.datasets build`.
    config.dataset = "ave"
    config.data_dir = "data"
    config.build_data = False
    config.train_split = "train"
    config.test_split = "test"
    # Folder of maps that stand for the viewers' density, which is then not read; "" trains on the density.
    config.target_maps = "runs/scam/maps"
    config.frame_size = (356, 356)
    config.frame_step = 1
    config.sampler = "centred"
    config.sampler_options = ConfigDict()
    config.preprocessing = "stanet"
    config.preprocessing_options = ConfigDict()
    config.flip = False
    config.samples_per_video = 1
    config.data_threads = 4

    # Loss section: that of the script; "stanet_2021" is the later one, "kl" the survey's.
    config.loss = "stanet_cvpr"
    config.bce_weight = 1.0
    config.rho = 0.5
    config.side_epochs = 0  # of loss="stavis"
    config.tags = ()  # words about videos that a model with `num_tags` learns to tell
    config.tag_weight = 0.0
    config.side_tag_weight = 0.0
    config.cc_weight = 0.0
    config.sim_weight = 0.0
    config.nss_weight = 0.0

    # Optimiser section: the published one; checkpoints were picked by hand, tens of thousands of steps in.
    config.total_steps = 30_000
    config.batch_size = 3
    config.optimizer = "sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9})
    config.learning_rate = 1e-3
    config.rates = ()  # factors on the learning rate by parameter
    config.schedule = "constant"
    config.rate_drops = (1 / 3, 2 / 3)  # of schedule="steps"
    config.warmup_steps = 0
    config.clip_norm = 0.0
    config.ema_decay = 0.0
    config.compute_dtype = "float32"
    config.executor = "jit"

    # Log and checkpoint section.
    config.log_every = 10
    config.checkpoint_every = 100
    config.keep_checkpoints = 3
    config.tensorboard = True

    # Eval section.
    config.eval_stride = 1
    config.eval_batch_size = 8
    config.smooth_sigma = 0.0
    config.audit = True

    # Rows of a comparison, in order, and what each changes. None: one run in <workdir>.
    config.rows = ()
    config.row_changes = ConfigDict()
    return config


def gated(config: ConfigDict, gate: str) -> None:
    """The survey's target models: trained on its eye-tracking sets, and gated."""
    config.run_name = "stanet_star" if gate == "classifier" else "stanet_oracle"
    config.model.gate = gate
    config.loss, config.bce_weight = "kl", 0.0
    config.dataset = "diem"
    config.target_maps = ""
    config.train_split = "train_1"
    config.test_split = "test_1"


def demo(config: ConfigDict) -> None:
    """Shrinks the run to two cores and sets the four rows."""
    config.run_name = "demo"
    config.loss, config.bce_weight = "kl", 0.0
    # The CVPR network's decoder has no activation, and in so few steps it learns nothing from the gate; the release of
    # 2022 does. Three stages end at a sixteenth of the frame, which is small.
    config.model.update(release="2022", width=1 / 8, depths=(1, 1, 1), num_tags=6, train_gate="labels")
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64, "sample_rate": 16000})
    config.dataset = "sounding_shapes"
    config.build_data = True
    config.target_maps = ""
    config.tags = ("disc", "square", "triangle", "star", "ring", "cross")
    config.tag_weight = 1.0
    config.frame_size = (64, 96)
    config.samples_per_video = 4
    config.total_steps = 200
    config.batch_size = 16
    config.optimizer = "adam"
    config.optimizer_options = ConfigDict()
    config.learning_rate = 2e-3
    config.schedule = "cosine"
    config.warmup_steps = 20
    config.clip_norm = 1.0
    config.log_every = 20
    config.eval_stride = 5
    config.eval_batch_size = 32
    config.rows = ("base", "voice", "ears", "v", "av", "av_star", "av_oracle")
    config.row_changes = ConfigDict(
        {
            "base": {"label": "", "model": {"gate": "never"}},
            "voice": {"label": "", "model_name": "vggsound", "batch_size": 64},
            "ears": {"label": "", "model_name": "avc", "batch_size": 32, "learning_rate": 1e-3, "effort": 2},
            "v": {"label": "V", "init": "base", "model": {"gate": "never"}},
            "av": {
                "label": "AV",
                "init": "base",
                "init_parts": {"audio_model": "voice"},
                "model": {"gate": "always"},
            },
            "av_star": {
                "label": "AV*",
                "init": "base",
                "init_parts": {"audio_model": "voice", "classifier": "ears"},
                "model": {"gate": "classifier"},
            },
            "av_oracle": {"label": "AV#", "weights": "av_star", "model": {"gate": "labels"}},
        }
    )

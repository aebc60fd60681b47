"""AVC-aware AViNet: the survey's third target model (Table IV, rows AViNet, AViNet* and AViNet#).

Variants:

  paper  the published network and recipe on the merged eye-tracking sets: 32 frames of 224x384, Adam 1e-4, batch 8,
         starting from a visual-only run (`--config.init=FOLDER`), gated by a classifier trained jointly. Needs the
         prepared sets and an accelerator.
  demo   the same code at laptop size on the embedded benchmark of sounding shapes: prepares a visual
         flow, an audio encoder and a classifier, then trains a visual-only (V), an AVC-unaware (AV) and a gated (AV*)
         model from them, equally long, and scores these and the label oracle (AV#).

Commands:

  python -m avsd_jax.main --config=configs/avinet.py --workdir=runs/avinet
  python -m avsd_jax.main --config=configs/avinet.py:demo --workdir=runs/demo
"""

from ml_collections import ConfigDict

VARIANTS = ("paper", "demo")


def get_config(variant: str = "paper") -> ConfigDict:
    """The configuration of a variant; `paper` is the default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/avinet.py: choose one of {', '.join(VARIANTS)}")
    config = paper()
    if variant == "demo":
        demo(config)
    return config.lock()


def paper() -> ConfigDict:
    """The published shape and recipe."""
    config = ConfigDict()
    config.run_name = "avinet"
    config.seed = 0

    # Model section: avsd_jax/models/<model_name>.py, built with the options in `model`.
    config.model_name = "avinet"
    config.model = ConfigDict()
    config.model.clip_size = 32
    config.model.num_skips = 3
    config.model.width = 1.0
    config.model.norm_momentum = 0.999
    config.model.num_tags = 0
    config.model.fusion = "bilinear"
    config.model.fusion_options = ConfigDict()
    config.model.gate = "classifier"  # AViNet* ; "labels" is AViNet#, "always" the published AViNet
    config.model.gate_at = "input"
    config.model.train_gate = "predicted"
    config.model.classifier = "l3net"
    config.model.classifier_options = ConfigDict()
    config.init = ""  # folder of a run to start from; a visual-only one starts the visual flow
    # Folders that start single parts, such as a converted soundnet8.
    config.init_parts = ConfigDict({"visual_model": "", "audionet": "", "classifier": ""})

    # Data section: datasets_tfds/<dataset>, prepared by `python -m avsd_jax.datasets build`; "six" stands for the
    # eye-tracking sets, trained on together and scored one by one, as several names joined by commas are.
    config.dataset = "six"
    config.data_dir = "data"
    config.build_data = False
    config.split = 1  # 1, 2 or 3
    config.train_split = "train_" + config.get_ref("split").to_str()
    config.test_split = "test_" + config.get_ref("split").to_str()
    config.target_maps = ""  # folder of maps that stand for the viewers' density
    config.frame_size = (224, 384)
    config.frame_step = 1
    config.sampler = "vinet"
    config.sampler_options = ConfigDict()
    config.preprocessing = "vinet"
    config.preprocessing_options = ConfigDict()
    config.flip = False
    config.samples_per_video = 1
    config.data_threads = 4

    # Loss section: eq. 3, and optional terms beside KL.
    config.loss = "kl"
    config.rho = 0.5
    config.bce_weight = 0.0  # of a loss that has a cross entropy
    config.side_epochs = 0  # of loss="stavis"
    config.tags = ()  # words about videos that a model with `num_tags` learns to tell
    config.tag_weight = 0.0
    config.side_tag_weight = 0.0
    config.cc_weight = 0.0
    config.sim_weight = 0.0
    config.nss_weight = 0.0

    # Optimiser section. 169 clips an epoch in batches of 8, 40 epochs.
    config.total_steps = 840
    config.batch_size = 8
    config.optimizer = "adam"
    config.optimizer_options = ConfigDict()
    config.learning_rate = 1e-4
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


def demo(config: ConfigDict) -> None:
    """Shrinks the run to two cores and sets the four rows."""
    config.run_name = "demo"
    config.model.update(clip_size=8, width=0.25, norm_momentum=0.9, num_tags=6, train_gate="labels")
    config.model.fusion = "spatial_alignment"
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64, "sample_rate": 16000})
    config.dataset = "sounding_shapes"
    config.build_data = True
    config.tags = ("disc", "square", "triangle", "star", "ring", "cross")
    config.tag_weight = 1.0
    config.train_split, config.test_split = "train", "test"
    del config.split
    config.frame_size = (64, 96)
    config.samples_per_video = 4
    config.total_steps = 120
    config.batch_size = 16
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
            "base": {"label": "", "model_name": "vinet", "effort": 1.5},
            "voice": {"label": "", "model_name": "soundnet8", "batch_size": 64},
            "ears": {"label": "", "model_name": "avc", "batch_size": 32, "learning_rate": 1e-3, "effort": 3},
            "v": {"label": "V", "model_name": "vinet", "init": "base"},
            "av": {
                "label": "AV",
                "init": "base",
                "init_parts": {"audionet": "voice"},
                "model": {"gate": "always"},
            },
            "av_star": {
                "label": "AV*",
                "init": "base",
                "init_parts": {"audionet": "voice", "classifier": "ears"},
                "model": {"gate": "classifier"},
            },
            "av_oracle": {"label": "AV#", "weights": "av_star", "model": {"gate": "labels"}},
        }
    )

"""STAViS, plain and gated by audio-visual consistency (AVC).

Variants:

  paper   the published audio-visual network and recipe: 16 frames of 112x112; BCE, CC and NSS; groups of parameters
          with rates of their own. Starts from a visual-only run (`--config.init=FOLDER`) and from SoundNet
          (`--config.init_parts.soundnet8=FOLDER`). Needs the prepared eye-tracking sets and an accelerator.
  visual  the published visual-only network, which `paper` starts from, with its deep supervision. Starts from the
          Kinetics trunk (`--config.init_parts.trunk=FOLDER`).
  star    STAViS*: `paper` with the AVC classifier as its gate, trained jointly by eq. 3 with STAViS's own loss.
  oracle  STAViS#: `paper` gated by the labels.
  demo    the same code at laptop size on the embedded benchmark of sounding shapes: prepares a visual flow, an audio
          encoder and a classifier, then trains a visual-only (V), an AVC-unaware (AV) and a gated (AV*) model from
          them, equally long, and scores these and the label oracle (AV#).

The folders are what `python -m avsd_jax.convert` makes of the published files, or own runs.

Commands:

  python -m avsd_jax.main --config=configs/stavis.py:star --workdir=runs/stavis_star
  python -m avsd_jax.main --config=configs/stavis.py:demo --workdir=runs/stavis_demo
"""

from ml_collections import ConfigDict

VARIANTS = ("paper", "visual", "star", "oracle", "demo")


def get_config(variant: str = "paper") -> ConfigDict:
    """The configuration of a variant; `paper` is the default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/stavis.py: choose one of {', '.join(VARIANTS)}")
    config = paper()
    if variant == "visual":
        visual(config)
    elif variant in ("star", "oracle"):
        gated(config, "classifier" if variant == "star" else "labels")
    elif variant == "demo":
        demo(config)
    return config.lock()


def paper() -> ConfigDict:
    """The published shape and recipe."""
    config = ConfigDict()
    config.run_name = "stavis"
    config.seed = 0

    # Model section: avsd_jax/models/<model_name>.py, built with the options in `model`.
    config.model_name = "stavis"
    config.model = ConfigDict()
    config.model.clip_size = 16
    config.model.width = 1.0
    config.model.norm_momentum = 0.9
    config.model.num_tags = 0
    config.model.fusion = "localisation"
    config.model.fusion_options = ConfigDict()
    config.model.gate = "always"  # "classifier" is STAViS*, "labels" STAViS#
    config.model.gate_at = "input"
    config.model.train_gate = "predicted"
    config.model.classifier = "l3net"
    config.model.classifier_options = ConfigDict()
    config.init = ""  # folder of a run to start from; a visual-only one starts the visual flow
    # Folders that start single parts, such as a converted soundnet8.
    config.init_parts = ConfigDict({"visual_model": "", "soundnet8": "", "classifier": ""})

    # Data section: datasets_tfds/<dataset>, prepared by `python -m avsd_jax.datasets build`; "six" stands for the
    # eye-tracking sets, trained on together and scored one by one, as several names joined by commas are.
    config.dataset = "six"
    config.data_dir = "data"
    config.build_data = False
    config.split = 1  # 1, 2 or 3
    config.train_split = "train_" + config.get_ref("split").to_str()
    config.test_split = "test_" + config.get_ref("split").to_str()
    config.target_maps = ""  # folder of maps that stand for the viewers' density
    config.frame_size = (112, 112)
    config.frame_step = 1
    config.sampler = "stavis"
    config.sampler_options = ConfigDict()
    config.preprocessing = "stavis"
    config.preprocessing_options = ConfigDict()
    config.flip = True
    config.samples_per_video = 1
    config.data_threads = 4

    # Loss section: eq. 3 around STAViS's terms.
    config.loss = "stavis"
    config.rho = 0.5
    config.bce_weight = 0.1
    config.cc_weight = 2.0
    config.sim_weight = 0.0
    config.nss_weight = 1.0
    config.side_epochs = 0  # epochs in which the maps of the levels lose their weight; 0: they are not trained
    config.tags = ()  # words about videos that a model with `num_tags` learns to tell
    config.tag_weight = 0.0
    config.side_tag_weight = 0.0

    # Optimiser section. 60 epochs of 38 batches; `rates` are factors on the learning rate by parameter.
    config.total_steps = 60 * 38
    config.batch_size = 128
    config.optimizer = "dampened_sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9, "dampening": 0.9, "weight_decay": 1e-5})
    config.learning_rate = 0.01
    config.rates = rates(trunk=0.01, untrained=r"/upscale_/|score_dsn_3/score_dsn/|^visual_model/head/")
    config.schedule = "steps"
    config.rate_drops = (29 / 60, 44 / 60)
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


def rates(trunk: float, untrained: str) -> tuple[tuple[str, float], ...]:
    """The official groups: global (the trunk), sal (DSAM and heads), sound and fusion; first match counts.

    Args:
        trunk: factor of the global group.
        untrained: what the loss does not reach, and no weight decay either.
    """
    return (
        (untrained, 0.0),
        (r"trunk/", trunk),
        (r"/side_prep/bias$", 0.02),
        (r"/side_prep/", 0.01),
        (r"(score_dsn_\d/.*|head/)bias$", 0.002),
        (r"score_dsn_\d/|head/", 0.001),
        (r"^soundnet8/", 0.1),
        (r"^fusion/", 1.0),
        (r"^classifier/", 1.0),
    )


def visual(config: ConfigDict) -> None:
    """The visual-only network, all of whose maps are trained."""
    config.run_name = "stavis_visual"
    config.model_name = "stavis_visual"
    config.model = ConfigDict({"clip_size": 16, "width": 1.0, "norm_momentum": 0.9, "num_tags": 0})
    config.init_parts = ConfigDict({"trunk": ""})
    config.side_epochs = 60
    config.rates = rates(trunk=0.1, untrained=r"^$")


def gated(config: ConfigDict, gate: str) -> None:
    """The survey's target models; clips without consistent sound train the visual head."""
    config.run_name = "stavis_star" if gate == "classifier" else "stavis_oracle"
    config.model.gate = gate
    config.rates = rates(trunk=0.01, untrained=r"/upscale_/|score_dsn_3/score_dsn/")


def demo(config: ConfigDict) -> None:
    """Shrinks the run to two cores and sets the four rows."""
    config.run_name = "demo"
    config.model.update(clip_size=8, width=0.25, num_tags=6, train_gate="labels")
    config.model.fusion_options = ConfigDict({"hidden": 32, "features": 16})
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64, "sample_rate": 16000})
    config.dataset = "sounding_shapes"
    config.build_data = True
    config.tags = ("disc", "square", "triangle", "star", "ring", "cross")
    config.tag_weight = 1.0
    config.train_split, config.test_split = "train", "test"
    del config.split
    config.sampler = config.preprocessing = "vinet"
    config.flip = False
    config.frame_size = (64, 96)
    config.samples_per_video = 4
    # From scratch and for minutes, not from Kinetics and for days: another optimiser, and a loss for all clips alike.
    config.loss = "kl"
    config.bce_weight = config.cc_weight = config.nss_weight = 0.0
    config.total_steps = 120
    config.batch_size = 16
    config.optimizer = "adam"
    config.optimizer_options = ConfigDict()
    config.learning_rate = 2e-3
    config.rates = ()
    config.schedule = "cosine"
    config.warmup_steps = 20
    config.clip_norm = 1.0
    config.log_every = 20
    config.eval_stride = 5
    config.eval_batch_size = 32
    config.rows = ("base", "voice", "ears", "v", "av", "av_star", "av_oracle")
    config.row_changes = ConfigDict(
        {
            "base": {"label": "", "model_name": "stavis_visual", "effort": 1.5},
            "voice": {"label": "", "model_name": "soundnet8", "batch_size": 64},
            "ears": {"label": "", "model_name": "avc", "batch_size": 32, "learning_rate": 1e-3, "effort": 3},
            "v": {"label": "V", "model_name": "stavis_visual", "init": "base"},
            "av": {
                "label": "AV",
                "init": "base",
                "init_parts": {"soundnet8": "voice"},
                "model": {"gate": "always"},
            },
            "av_star": {
                "label": "AV*",
                "init": "base",
                "init_parts": {"soundnet8": "voice", "classifier": "ears"},
                "model": {"gate": "classifier"},
            },
            "av_oracle": {"label": "AV#", "weights": "av_star", "model": {"gate": "labels"}},
        }
    )

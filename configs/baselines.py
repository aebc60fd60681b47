"""Models without an audio-visual network to train: the survey's baselines (Table IV), and ours without any training.

Variants:

  gbvs_av         visual saliency, raised where the picture changes along with the audio (the default)
  gbvs            graph-based visual saliency
  itti            Itti's model, as in the toolbox of GBVS
  awsd            adaptive whitening, with constants of our own
  gradcam_pp      Grad-CAM++ of a classifier of the tags of AVE
  wss_classifier  WSS's first stage: tags of AVE
  wss             its second: the saliency network on maps of the first (`--config.target_maps=FOLDER`)
  mws_classifier  MWS's first stage: tags of AVE
  mws             its last: the saliency network on maps of the first
  sbf             SBF's network on maps of handcrafted models
  deepvs          DeepVS: the 2C-LSTM on a trained OM-CNN (`--config.init=FOLDER`)
  deepvs_cnn      its first stage: OM-CNN
  aclnet          ACLNet
  demo            what needs no training on the embedded benchmark of sounding shapes

The first four need no training. The others have the published networks and recipes, as far as they are known, and need
the built datasets, weights to start from (docs/weak_supervision.md, docs/video_models.md) and an accelerator.

Commands, time and score:

  python -m avsd_jax.main --config=configs/baselines.py:demo --workdir=runs/baselines
      two minutes on two cores; CC ITTI 0.475, GBVS 0.456, AWS-D 0.594, V 0.489, AV 0.511, AV* 0.557, AV# 0.604
  python -m avsd_jax.main --config=configs/baselines.py:aclnet --workdir=runs/aclnet
      not measured here, as the others: needs the datasets; published scores: avsd_jax/evaluation/published
"""

from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.config.base import base
from avsd_jax.sources.ave import CATEGORIES

UNLEARNED = ("gbvs_av", "gbvs", "itti", "awsd")
VARIANTS = (
    *UNLEARNED,
    *("gradcam_pp", "wss_classifier", "wss", "mws_classifier", "mws", "sbf", "deepvs", "deepvs_cnn", "aclnet", "demo"),
)


def get_config(variant: str = "gbvs_av") -> ConfigDict:
    """Returns the configuration of a variant, `gbvs_av` by default."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r} of configs/baselines.py: choose one of {', '.join(VARIANTS)}")
    if variant == "demo":
        return demo().lock()
    config = base("deepvs" if variant == "deepvs_cnn" else variant)
    if variant not in UNLEARNED:
        # The saliency part of eq. 3 alone: there is no classifier of consistency.
        config.rho = 1.0
        config.audit = False
        config.losses = ConfigDict(dict.fromkeys(losses.available(), 0.0))
        RECIPES[variant](config)
    return config.lock()


def _tags(config: ConfigDict) -> None:
    """Trains on the tags of AVE, of which every frame of a video has the same."""
    config.dataset = "ave"
    config.train_split, config.test_split = "train", "test"
    del config.split
    config.tags = CATEGORIES
    config.model.num_tags = len(CATEGORIES)
    config.losses.tags = 1 / len(CATEGORIES)
    config.samples_per_video = 10


def gradcam_pp(config: ConfigDict) -> None:
    """The classifier is the first one of STANet's, with its recipe."""
    _tags(config)
    config.losses.side_tags = 1 / len(CATEGORIES)
    config.init_parts = ConfigDict({"features": ""})  # a converted ResNeXt
    config.total_steps = 62_600
    config.optimizer = "sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4})
    config.learning_rate = 1e-3
    config.schedule = "steps"


def wss_classifier(config: ConfigDict) -> None:
    """The paper's numbers are not known here: those of MWS, its authors' next work."""
    _tags(config)
    _adam(config)
    config.init_parts = ConfigDict({"vgg": ""})  # a converted VGG16


def wss(config: ConfigDict) -> None:
    """Maps of the first stage are targets that are wrong in places."""
    config.losses.bootstrap = 1.0
    config.init_parts = ConfigDict({"vgg": ""})
    _adam(config)


def mws_classifier(config: ConfigDict) -> None:
    """CNet, with the penalty of the area."""
    _tags(config)
    config.losses.area = 5e-4
    _adam(config)
    config.init_parts = ConfigDict({"feature": ""})  # a converted DenseNet-169


def mws(config: ConfigDict) -> None:
    """SNet."""
    config.losses.bce = 1.0
    _adam(config)
    config.init_parts = ConfigDict({"feature": ""})


def _adam(config: ConfigDict) -> None:
    config.optimizer = "adam"
    config.learning_rate = 1e-4
    config.batch_size = 8
    config.total_steps = 50_000


def sbf(config: ConfigDict) -> None:
    """The loss is a sum over pixels, to which the small rate belongs."""
    config.losses.sbf_bce = 1.0
    config.init_parts = ConfigDict({"vgg": ""})
    # Officially, what is pretrained and the coarser levels learn slower, and biases twice as fast as kernels.
    layers = {"^(vgg|global_fc6)/": 1e-3, "4a?(_|/)": 1.0, "3a?(_|/)": 0.25, "2a?(_|/)": 0.0625, "1a?(_|/)": 0.0156}
    config.rates = (
        *((f"{layer}.*bias$", 2 * rate) for layer, rate in layers.items()),
        *((f"{layer}.*kernel$", rate) for layer, rate in layers.items()),
    )
    config.optimizer = "sgd"
    config.optimizer_options = ConfigDict({"momentum": 0.9, "weight_decay": 5e-4})
    config.learning_rate = 4e-6
    config.schedule = "steps"
    config.batch_size = 12
    config.total_steps = 100_000


def deepvs(config: ConfigDict) -> None:
    """The second stage: OM-CNN is frozen, and only what the official optimiser gets is trained."""
    _deepvs(config)
    config.model.frozen_frames = True
    config.rates = ((r"^lstm_layer\d/i\d/|^deconv2?/", 1.0), ("", 0.0))
    config.batch_size = 4


def deepvs_cnn(config: ConfigDict) -> None:
    """The first stage: all of OM-CNN, by its coarse map and its last one."""
    _deepvs(config)
    config.run_name = "deepvs_cnn"
    config.losses.deepvs_kl = config.losses.deepvs_coarse = 0.5
    config.batch_size = 12
    config.total_steps = 185_000


def _deepvs(config: ConfigDict) -> None:
    config.losses.deepvs_kl = 1.0
    config.optimizer = "adam"
    config.optimizer_options = ConfigDict({"weight_decay": 5e-6})
    config.learning_rate = 1e-4
    config.total_steps = 100_000


def aclnet(config: ConfigDict) -> None:
    """Map and attention learn from the same frames: there are no still images."""
    config.losses.aclnet = config.losses.aclnet_attention = 1.0
    config.optimizer = "adam"
    config.learning_rate = 1e-4
    config.schedule = "steps"
    config.rate_drops = (0.3, 0.6, 0.8)
    config.batch_size = 2
    config.total_steps = 20_000


RECIPES = {
    recipe.__name__: recipe
    for recipe in (gradcam_pp, wss_classifier, wss, mws_classifier, mws, sbf, deepvs, deepvs_cnn, aclnet)
}


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
    config.audit = False
    config.rows = ("itti", "awsd", "gbvs", "v", "av", "av_star", "av_oracle")
    config.row_changes = ConfigDict(
        {
            "itti": {"label": "ITTI", "model_name": "itti", "model": {"clip_size": 1}},
            "awsd": {"label": "AWS-D", "model_name": "awsd", "model": {"clip_size": 5}},
            "gbvs": {"label": "GBVS", "model_name": "gbvs", "model": {"clip_size": 1, "cues": "DIO"}},
            "v": {"label": "V", "model": {"gate": "never"}},
            "av": {"label": "AV", "model": {"gate": "always"}},
            "av_star": {"label": "AV*", "model": {"gate": "classifier"}},
            "av_oracle": {"label": "AV#", "model": {"gate": "labels"}},
        }
    )
    return config

"""Shared fields of the demos on the embedded benchmark of sounding shapes: minutes on two cores."""

from typing import Any

from ml_collections import ConfigDict

from avsd_jax import losses

TAGS = ("disc", "square", "triangle", "star", "ring", "cross")


def use_sounding_shapes(config: ConfigDict) -> None:
    """Sets the dataset and the fields that follow from it: its splits, its tags and a short training from scratch."""
    config.dataset = "sounding_shapes"
    config.build_data = True
    config.train_split, config.test_split = "train", "test"
    if "split" in config:  # the dataset has no folds
        del config.split
    config.target_maps = ""
    config.tags = TAGS
    config.model.num_tags = len(TAGS)
    config.samples_per_video = 4
    config.batch_size = 16
    config.optimizer = "adam"
    config.optimizer_options = ConfigDict()
    config.learning_rate = 2e-3
    config.rates = ()
    config.clip_norm = 1.0
    config.log_every = 20
    config.eval_stride = 5
    config.eval_batch_size = 32


def _use_laptop_recipe(config: ConfigDict) -> None:
    """Sets what the comparisons of gates share: the dataset, the tags, the schedule, and a gate trained by labels."""
    config.run_name = "demo"
    use_sounding_shapes(config)
    config.model.train_gate = "labels"
    config.losses = ConfigDict(losses.default_weights() | {"tags": 1.0})
    config.schedule = "cosine"
    config.warmup_steps = 20


def compare_gates(config: ConfigDict, visual: dict[str, Any], audio: str, audio_part: str, effort: float) -> None:
    """Sets the shared fields of the demos of the gated models, and their rows.

    Three stages prepare a visual stream (`base`), an audio encoder (`voice`) and a classifier (`ears`). They initialise
    a visual-only (V), an AVC-unaware (AV) and a gated (AV*) model, each trained for the same number of steps; AV# is
    AV* gated by labels.

    Args:
        config: the model's configuration.
        visual: the changes of a row that has the model without audio.
        audio: model that is the audio encoder.
        audio_part: submodule that it initialises.
        effort: steps of the classifier's stage, relative to those of the models.
    """
    _use_laptop_recipe(config)
    config.model.classifier_options = ConfigDict({"width": 0.25, "frame_size": 64, "sample_rate": 16000})
    config.frame_size = (64, 96)
    classifier = {"model_name": "avc", "batch_size": 32, "learning_rate": 1e-3, "effort": effort}
    gated = {"init": "base", "init_parts": {audio_part: "voice"}}
    starred = {"init": "base", "init_parts": {audio_part: "voice", "classifier": "ears"}}
    config.rows = ("base", "voice", "ears", "v", "av", "av_star", "av_oracle")
    config.row_changes = ConfigDict(
        {
            "base": {"label": "", **visual},
            "voice": {"label": "", "model_name": audio, "batch_size": 64},
            "ears": {"label": "", **classifier},
            "v": {"label": "V", "init": "base", **visual},
            "av": {"label": "AV", **gated, "model": {"gate": "always"}},
            "av_star": {"label": "AV*", **starred, "model": {"gate": "classifier"}},
            "av_oracle": {"label": "AV#", "weights": "av_star", "model": {"gate": "labels"}},
        }
    )


def compare_gates_briefly(config: ConfigDict, audio: str, audio_part: str, classifier: dict[str, Any]) -> None:
    """Sets the shared fields of a demo of five minutes, and its rows.

    Two stages prepare: an audio encoder learns to name what it hears (`voice`), and stays as it is from then on; then
    picture and sound learn together, fused where the labels say so (`base`). From there a model whose gate is always
    closed (V), one whose gate is always open (AV) and one gated by the labels (`gated`) are trained for the same number
    of steps, at a lower learning rate than the preparation; all of them and `base` train by one compiled step. AV# is
    `gated`. AV* is `gated` with a classifier (`ears`) at its gate: with train_gate="labels" a joint training does the
    same, as the saliency loss passes no gradient to the classifier.

    Args:
        config: the model's configuration.
        audio: model that is the audio encoder.
        audio_part: submodule that it initialises.
        classifier: changes of the row `ears`.
    """
    _use_laptop_recipe(config)
    config.rates = ((f"^{audio_part}/", 0.0), ("", 1.0))
    alone = {"label": "", "rates": ()}
    compared = {"init": "base", "learning_rate": 3e-4}
    gated = {"gate": "labels"}
    config.rows = ("voice", "base", "ears", "v", "av", "gated", "av_star", "av_oracle")
    config.row_changes = ConfigDict(
        {
            "voice": {**alone, "model_name": audio, "batch_size": 64, "effort": 1.5},
            "base": {"label": "", "init_parts": {audio_part: "voice"}, "model": gated, "effort": 4.5},
            "ears": {**alone, "model_name": "avc", **classifier},
            "v": {"label": "V", **compared, "model": {"gate": "never"}},
            "av": {"label": "AV", **compared, "model": {"gate": "always"}},
            "gated": {"label": "", **compared, "model": gated},
            "av_star": {
                "label": "AV*",
                "weights": "gated",
                "init_parts": {"classifier": "ears"},
                "model": {"gate": "classifier"},
            },
            "av_oracle": {"label": "AV#", "weights": "gated", "model": gated},
        }
    )

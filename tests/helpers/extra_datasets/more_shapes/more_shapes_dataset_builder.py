"""Sounding shapes of another size and seed, in chunks of another length."""

from datasets_tfds.sounding_shapes import sounding_shapes_dataset_builder as shapes
from datasets_tfds.sounding_shapes.config import GeneratorConfig


class Builder(shapes.Builder):
    """Four videos of 30 frames."""

    BUILDER_CONFIGS = [
        shapes.SoundingShapesConfig(
            name="tiny",
            description="For tests.",
            generator=GeneratorConfig(
                seed=1, num_frames=30, height=64, width=96, min_segment_seconds=0.6, max_segment_seconds=1.4
            ),
            train_videos=2,
            test_videos=2,
            chunk_frames=7,
        )
    ]

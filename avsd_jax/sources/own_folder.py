"""The names in a folder of one's own data (`avsd_jax.sources.own`), and its label files."""

from pathlib import Path

from avsd_jax.common import safe_paths

VIDEOS, FIXATIONS, LABELS, TEST = "videos", "fixations", "labels", "test.txt"


def existing_labels(folder: Path) -> dict[str, Path]:
    """Returns the label files by the names of their videos, sorted."""
    names = safe_paths.file_names(safe_paths.below(folder, LABELS))
    return {
        name.removesuffix(".csv"): safe_paths.below(folder, LABELS, name) for name in names if name.endswith(".csv")
    }

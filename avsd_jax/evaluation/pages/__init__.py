"""Pages that show an evaluation video by video."""

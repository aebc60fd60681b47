"""HTML pages of an evaluation, one per video."""

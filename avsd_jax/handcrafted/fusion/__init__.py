"""Fusions of an image's saliency with that of the audio."""

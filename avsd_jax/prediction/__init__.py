"""Saliency of one video file."""

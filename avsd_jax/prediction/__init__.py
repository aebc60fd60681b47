"""Prediction of the saliency of a video file."""

"""Saliency of a waveform over time."""

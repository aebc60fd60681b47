"""Readers of saliency maps from images, arrays and videos, as one grey channel per frame."""

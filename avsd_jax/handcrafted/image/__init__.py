"""Saliency maps of images."""

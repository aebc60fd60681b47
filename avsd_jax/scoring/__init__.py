"""Scores of saliency maps against ground truth."""

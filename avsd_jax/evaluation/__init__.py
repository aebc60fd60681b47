"""Evaluation of folders of maps against ground truth, and comparison of evaluations."""

"""Comparisons of several runs: plan, checks, training, report."""

"""Training of one run: the loop, the step, the log."""

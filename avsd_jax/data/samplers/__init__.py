"""Rules that choose which clips of a video are read."""

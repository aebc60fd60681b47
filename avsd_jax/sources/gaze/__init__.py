"""Gaze as the owners of the eye-tracking datasets hand it out, read into one form: `points.Gaze`."""

"""Gaze as the owners of the eye-tracking sets hand it out, read into one form: `points.Gaze`."""

"""Readers of the gaze files of each dataset's owner, converted to one format: `points.Gaze`."""

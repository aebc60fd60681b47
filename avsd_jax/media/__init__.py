"""Video and audio files: reading them in time order, and writing videos."""

"""Sequential reading of video and audio files, and writing of videos."""

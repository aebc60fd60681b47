"""One run: its loop, its step, its log."""

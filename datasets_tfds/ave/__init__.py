"""The AVE dataset."""

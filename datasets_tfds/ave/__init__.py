"""The AVE set."""

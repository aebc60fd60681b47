"""The ETMD set."""

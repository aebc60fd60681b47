"""The ETMD dataset."""

"""The Coutrot2 dataset."""

"""The Coutrot1 dataset."""

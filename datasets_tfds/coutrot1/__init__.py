"""The Coutrot1 set."""

"""The Coutrot2 set."""

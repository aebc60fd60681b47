"""The folder of a run, and the objects that its configuration names."""

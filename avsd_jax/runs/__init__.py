"""A run's folder, and the objects that its record names."""

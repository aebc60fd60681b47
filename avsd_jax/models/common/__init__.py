"""Base classes and parts that models share; a configuration cannot select them."""

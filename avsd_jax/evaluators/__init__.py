"""Evaluators: from a prediction function to scores."""

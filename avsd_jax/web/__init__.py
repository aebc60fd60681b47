"""A page in the browser: videos are watched with their prediction, and labelled."""

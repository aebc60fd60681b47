"""What models share; a configuration can name none of it."""

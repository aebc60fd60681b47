"""Your own videos and fixations."""

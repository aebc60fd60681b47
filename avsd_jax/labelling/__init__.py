"""Labels of audio-visual consistency made by people: tracks, journals, agreement, and what a labeller sees and hears.

Nothing here knows of a server or a page: `avsd_jax.web` shows it in a browser.
"""

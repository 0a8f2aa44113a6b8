"""Colours of lines and groups in all pictures."""

COLOURS = ("#c2571a", "#4a7fb5", "#5d8a3a", "#8a5ba6", "#a3862b", "#4f8f8b", "#b0476a")

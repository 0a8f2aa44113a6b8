"""Labelled frames: read, split, summarise, and put in batches."""

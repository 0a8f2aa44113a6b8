"""Frames around those that are given, labelled by a cheap reference method, for a training to learn from beside them.

`hot` knows one trajectory, `frames` which there are, where they are kept, and what their energies mean beside the given
labels'.
"""

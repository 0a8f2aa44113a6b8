"""Frames and their neighbour lists on disk, for sets that are larger than memory.

A folder for each file of frames, named by its content and by all that decides what is read from it (`source`); in it
shards (`shard`) of up to a thousand frames, which worker processes write (`building`). `stored` finds what is there and
has missing shards made; `graphs` reads from them.
"""

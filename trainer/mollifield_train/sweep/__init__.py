"""Many trainings over ranges of keys: which values give the smallest errors, and at what cost (`mollifield sweep`).

`config` says what is asked, `spaces` what a key may be, `study` what is tried next, `trial` is one training in a worker
process, `run` the whole, `table` and `picture` what came of it.
"""

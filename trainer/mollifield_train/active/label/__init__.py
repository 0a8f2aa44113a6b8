"""Reference calculations: from a frame to its label.

`execution` knows where they run, `labelling` which frames and how often it is tried, `spool` where a label is safe
until it is in the store. Which methods there are is in `mollifield_train.calculators`.
"""

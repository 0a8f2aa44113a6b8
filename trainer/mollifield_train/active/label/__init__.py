"""Which frames of the loop are labelled, how often, and where a label is safe until it is in the store."""

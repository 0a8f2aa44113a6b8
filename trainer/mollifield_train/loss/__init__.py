"""Losses: pure functions of tensors, one value for each member; they know no model."""

"""Everything that makes a model: data, model, loss, fit, export, and the active-learning loop."""

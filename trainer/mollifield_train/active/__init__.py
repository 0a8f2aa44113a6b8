"""Active learning: explore, select, label, retrain, in steps that survive being killed.

`loop.run(config_path)` is the whole of it; every other module is one step with no knowledge of the
others. Nothing heavy is imported here, because every labelling process imports this package.
"""

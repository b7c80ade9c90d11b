"""Training of models on a user's own pictures and captions. Only the command ``train`` imports this package.

These modules need no torch: ``pairs`` (reads the training data), ``features`` (runs the frozen towers once), ``judge``
(compares two models), ``calibrate`` (calibrates the scores), ``product`` (writes the bundle and its model card).
"""

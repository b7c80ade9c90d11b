"""Models from a user's own pictures and captions; only the verb ``train`` imports this room, which imports torch.

What needs no torch: ``pairs`` (what is learned from), ``features`` (towers run once), ``judge`` (is it better?),
``calibrate`` (what scores are worth), ``product`` (the bundle and its card).
"""

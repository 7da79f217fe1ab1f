"""Applications on top of the losses: ``medloss segment``, ``medloss register`` and ``medloss demo``."""

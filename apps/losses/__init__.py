"""``medloss losses``: which loss there is, what it does, which one to take, and what it costs here."""

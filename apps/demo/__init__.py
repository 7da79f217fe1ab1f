"""``medloss demo``: both applications at work on an average brain that ships with nilearn, in a few minutes."""

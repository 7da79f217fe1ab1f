"""Registration: ``pair`` optimises one pair without training; ``train``, ``predict`` and ``evaluate`` do what
DeepReg did.
"""

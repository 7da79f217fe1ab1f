"""Drop-ins for the losses of other packages."""

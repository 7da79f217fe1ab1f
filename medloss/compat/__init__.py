"""Drop-ins for the losses of other packages: their names, signatures and numbers over the losses of this package.

Where a number, an error or a shape is another one, docs/known_differences.md has a row that says so, and why.
"""

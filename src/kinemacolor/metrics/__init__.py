"""Every figure that judges a coloured picture, each with one definition (models.md, section 10); names.py says their names.

Nothing is imported here, so that asking for a name costs no second.
"""

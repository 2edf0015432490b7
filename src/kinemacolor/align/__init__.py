"""Two prints of one film, brought together in time and in space.

signature.py turns a print into one tiny picture a frame; grid.py finds, on those, which part of the colour picture the
grey one shows; curves.py and temporal.py find the offset; spatial.py finds the transform in pixels from a few whole
pictures, which picks.py fetches. Nothing here knows a stage.
"""

"""Two prints of one film, brought together in time and in space.

In time: passes.py turns both prints into one tiny picture a frame (signature.py, luma.py), in one pass; coarse.py finds which
stretch of one is which of the other; duo.py and grid.py lay the tiny pictures on each other; moments.py and speed.py find the
speeds; bands.py, evidence.py, chain.py, gaps.py, pieces.py, offsets.py and phase.py find the partner of every frame and how sure it
is; temporal.py puts these together, and path.py is what comes out. In space: spatial.py finds the transform in pixels, from a few whole pairs that picks.py
fetches, with corners.py, outset.py, bars.py and common.py; laying.py applies it. Nothing here knows a stage.
"""

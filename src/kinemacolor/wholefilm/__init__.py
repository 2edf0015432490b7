"""A whole film in colour: its own pictures with chroma from a trained network, and every other stream as it was.

film.py runs it. reading.py takes the film's frames and shrinks them for the network; chroma.py brings the network's colours
to the film's size along the edges of its pictures; painting.py joins them with the film's own lightness, in Y'CbCr; writing.py
encodes segments that outlive a kill; streams.py joins these with the film's sound, subtitles and chapters.
"""

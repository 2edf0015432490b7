"""Moving pictures as files: fetch, probe, decode, encode, make. Nothing here knows what a colour is worth."""

"""Judging coloured frames: of a dataset by a model (`splits`, `moving`), of files by hand (`files`), and what shows it (`showing`).

The measures themselves are in metrics/, one definition each; here it is said what they are fed with.
"""

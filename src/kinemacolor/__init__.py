"""kinemacolor: colour one film or one game with networks trained on that title.

The package imports nothing heavy; `kinemacolor.cli` is the command, `kinemacolor.stages` the pipeline.
"""

__version__ = "0.1.0"

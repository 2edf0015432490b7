"""Every figure that judges a coloured picture, each with one definition (models.md, section 10)."""

from kinemacolor.metrics.pixel import PixelMetrics

__all__ = ["PixelMetrics"]

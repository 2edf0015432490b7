"""Frames as training material: area-averaged pictures in memory-mapped shards, their index, splits and filters."""

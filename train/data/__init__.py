"""Data: read, checked, split and built."""

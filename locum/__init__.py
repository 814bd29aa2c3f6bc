"""Locum: one frozen base model, many domain experts."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("locum")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0.0.0"

"""When a server gives a chat the system prompt that its version was trained and evaluated with."""

from __future__ import annotations

from typing import Literal

Switch = Literal["default", "always", "never"]
"""`default`: where the client brings none. `always`: it stands first, and what the client brings follows. `never`."""

HEADER = "x-locum-system"
"""A request header: with `never`, the messages reach the model as they were sent, whatever the version's switch."""

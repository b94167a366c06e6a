"""Captures of real traffic, sent through a simulated host: `python -m netlab replay`."""

from netlab.replay.capture import Capture, CaptureError, Frame
from netlab.replay.outcomes import Outcome, Outcomes, replay

__all__ = ["Capture", "CaptureError", "Frame", "Outcome", "Outcomes", "replay"]

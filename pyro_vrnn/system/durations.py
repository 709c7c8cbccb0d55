"""Times in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds in words: seconds, minutes or hours."""
    return (
        f"{seconds:.2g} s"
        if seconds < 9.5
        else f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )

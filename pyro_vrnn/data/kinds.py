"""The kinds of data and what is particular to each; how each is written for people is media's table, MEDIA.

A new kind is an entry here and a class there (and perhaps a likelihood); everything else asks these fields.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is particular to one kind of data."""

    columns: str
    """What the columns of a step are called."""
    independent: str = ""
    """What the independent baseline of real values is made of, if not of Gaussian columns alone."""
    sampled: bool = False
    """Whether a step may be a frame of samples in time, in 16-bit steps of amplitude: one scale for all columns."""
    timed: bool = False
    """Whether a step always has a duration."""
    pitched: bool = False
    """Whether columns are notes, from `lowest_pitch` up or by `pitches`."""
    pen: bool = False
    """Whether the last column says that the pen is lifted: it stays 0 or 1."""
    pictorial: bool = False
    """Whether a sequence may be an image, a row of pixels a step."""

    series: bool = False
    """Whether a sequence may be a time series of measurements, which can be forecast, and holes in it filled."""

    def baseline_words(self, support: str) -> dict[str, str]:
        """What the two baselines (data/baselines.py) are for data of this support."""
        if support == "categorical":
            return {"independent": "symbols at their rates (unigrams)", "last": "each after the one before (bigrams)"}
        if support == "binary":
            return {"independent": f"independent {self.columns}", "last": "each from its own last value"}
        what = self.independent or self.columns
        return {"independent": f"independent Gaussian {what}", "last": "each from its own last value, by a line"}


KINDS: dict[str, Kind] = {
    "pianoroll": Kind(columns="notes", timed=True, pitched=True),
    "audio": Kind(columns="samples", sampled=True, timed=True),
    "strokes": Kind(columns="moves", independent="moves and a coin for the pen", pen=True),
    "symbols": Kind(columns="symbols"),
    "vectors": Kind(columns="columns", pictorial=True, series=True),
}

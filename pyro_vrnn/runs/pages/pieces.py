"""What a page lets people hear and see: sequences that a run samples, and one of its data."""

from __future__ import annotations

from pyro_vrnn import media
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.media.pages.report import Piece
from pyro_vrnn.runs import sampling
from pyro_vrnn.runs.trained import Trained

MOST_STEPS = 1000
"""Of a sample on the page."""
SYMBOLS = 300
"""Symbols of a text that is sampled, at least."""
SECONDS = 10.0
"""Of each sound, at most."""
SOUND_BYTES = 2_200_000
"""All sounds of a page together, before they are written as text, which takes a third more."""


def pieces(
    run: Trained, dataset: SequenceDataset | None, num: int, seed: int, *, of: str = "", share: float = 1.0
) -> tuple[list[Piece], str]:
    """Sample a run.

    Args:
        run: the trained model.
        dataset: a sequence of it is shown after the samples, if there is one.
        num: how many samples.
        seed: of the samples.
        of: what stands before their names.
        share: of the page's room for sound.

    Returns:
        The pieces, and a sentence about them.
    """
    form = run.format
    steps = min(sampling.usual_steps(run.sample_steps, 0), MOST_STEPS)
    steps = max(steps, SYMBOLS) if form.level else steps
    stored = sampling.decoded(run, sampling.seeded(run, num, steps, seed))
    rate = form.sample_rate if form.traits.sampled else media.pianorolls.HEARD_RATE
    seconds = min(SECONDS, share * SOUND_BYTES / (2 * rate * (num + 1)))
    named = [(f"{of}Sample {i}", values) for i, values in enumerate(stored)]
    if dataset is not None:
        real = run.encoding.decode(dataset[0][:MOST_STEPS])
        named.append((f"{of}From the data: test sequence {dataset.ids[0]}", real))
    found = [Piece(name, media.show(form, values, name, seconds)) for name, values in named]
    words = f"{num} sampled with seed {seed}, {steps} steps each"
    return found, words + ("." if dataset is None else ", and a sequence of the test split beside them.")

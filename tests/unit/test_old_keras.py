"""Models that old versions of Keras wrote, with their own answers: each is right, or refused with a reason."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.old_keras import ARCHIVES, outcomes

# What a refusal may say.
REASONS = (
    "has no dim_ordering",  # which Keras left out where the layer stands alone
    "has padding 'same', and without weights the backend that computed it is unknown",
    "has padding 'same', which Theano computed differently",
    "is a first layer but does not state its input shape",  # SReLU of Keras 0
    "states output_shape",
)


@pytest.mark.slow
@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.stem)
def test_each_model_is_right_or_refused_with_a_reason(
    archive: Path, record_property: Callable[[str, object], None]
) -> None:
    found = list(outcomes([archive]))

    counts = Counter(outcome.state for outcome in found)
    for state, count in counts.items():
        record_property(state, count)
    unexplained = [one for one in found if one.state == "refused" and not any(why in one.reason for why in REASONS)]
    assert ([one for one in found if one.state == "wrong"], unexplained) == ([], [])
    assert counts["right"] > 4 * counts["refused"]

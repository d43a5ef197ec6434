"""How versions share requests, and what becomes of labels that are invalid."""

from collections import Counter

import pytest

from serving.errors import ModelUnavailableError
from serving.models.labels import Labels, choose

IDS = [f"user-{number}" for number in range(10_000)]


@pytest.mark.parametrize("shares", [{3: 90, 4: 10}, {1: 1, 2: 1}, {1: 1, 2: 2, 7: 7}, {1: 999_999, 2: 1}])
@pytest.mark.parametrize("keys", [IDS, [None] * 10_000, [""] * 10_000], ids=["keys", "none", "empty"])
def test_requests_are_shared_by_weight(shares, keys):
    seen = Counter(choose("m", shares, key) for key in keys)

    total = sum(shares.values())
    for version, weight in shares.items():
        expected = len(keys) * weight / total
        deviation = (expected * (1 - weight / total)) ** 0.5
        assert abs(seen[version] - expected) <= 5 * deviation + 1


def test_a_key_always_has_the_same_version():
    shares = {3: 40, 4: 60}

    assert [choose("m", shares, key) for key in IDS] == [choose("m", shares, key) for key in IDS]
    # SHA-256 of "m:user-0" and "m:user-1" begin with 0x69 and 0x5c, which are 0.41 and 0.36 of 256.
    assert [choose("m", shares, key) for key in IDS[:2]] == [4, 3]
    assert choose("m", shares, "\ud800") in shares


def test_a_version_whose_share_grows_keeps_its_keys():
    before = {key for key in IDS if choose("m", {3: 9, 4: 1}, key) == 4}
    after = {key for key in IDS if choose("m", {3: 75, 4: 25}, key) == 4}

    assert before < after


def test_each_model_shares_in_a_way_of_its_own():
    both = Counter((choose("a", {1: 1, 2: 1}, key), choose("b", {1: 1, 2: 1}, key)) for key in IDS)

    assert min(both.values()) > 2_300
    assert len(both) == 4


def test_invalid_labels_are_logged_once_and_leave_the_valid_ones_in_force(caplog):
    answers = [{"stable": {1: 1}}, OSError("gone"), ValueError("wrong"), ValueError("wrong"), {}, ValueError("wrong")]

    def read():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    labels = Labels("m", read)

    assert [labels.current() for _ in range(6)] == [{"stable": {1: 1}}] * 4 + [{}] * 2
    kept = "Correct the file; what it said before stays in force."
    assert [record.getMessage() for record in caplog.records] == [
        f"The labels of model m are invalid: {error}. {kept}" for error in ("gone", "wrong", "wrong")
    ]


def test_labels_that_never_were_valid_are_refused(caplog):
    def read():
        raise ValueError("wrong")

    labels = Labels("m", read)
    for _ in range(2):
        with pytest.raises(ModelUnavailableError, match="Model m could not be loaded; the server's log says why"):
            labels.current()
    [record] = caplog.records
    assert record.getMessage() == (
        "The labels of model m are invalid: wrong. Correct the file; it serves nothing until then."
    )

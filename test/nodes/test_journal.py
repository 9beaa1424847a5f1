from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskgan_ros.nodes.journal import Journal


def test_a_fault_is_logged_once_whatever_its_numbers_are_and_again_after_a_minute() -> None:
    journal = Journal()
    due = [journal.is_due(f"image: expected 0.5 s, got {age} s", age) for age in (1.0, 1.1, 30.0, 62.0, 62.1)]
    assert due == [True, False, False, True, False]


def test_another_fault_is_not_hidden_by_the_first_for_more_than_a_second() -> None:
    journal = Journal()
    assert journal.is_due("an image", 0.0)
    assert not journal.is_due("a joint state", 0.5)
    assert journal.is_due("a joint state", 1.1)


@given(st.lists(st.text(max_size=3), max_size=300))
def test_a_flood_of_different_faults_is_a_line_a_second(texts: list[str]) -> None:
    journal = Journal()
    logged = sum(journal.is_due(text, k / 100) for k, text in enumerate(texts))
    assert logged <= 1 + len(texts) / 100

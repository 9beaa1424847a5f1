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


def test_what_was_gone_is_news_when_it_comes_back_unless_it_comes_and_goes() -> None:
    journal = Journal(apart_s=0.0)
    assert journal.is_due("2 cameras", 0.0)
    journal.keep([], 4.0)
    assert not journal.is_due("2 cameras", 4.0), "it comes and goes"
    journal.keep(["3 cameras"], 10.0)
    assert not journal.is_due("3 cameras", 10.0), "it lasts"
    journal.keep([], 11.0)
    assert journal.is_due("2 cameras", 12.0)


@given(st.lists(st.text(max_size=3), max_size=300))
def test_a_flood_of_different_faults_is_a_line_a_second(texts: list[str]) -> None:
    journal = Journal()
    logged = sum(journal.is_due(text, k / 100) for k, text in enumerate(texts))
    assert logged <= 1 + len(texts) / 100

"""Notes of creations: what is written is read, by anybody, and a damaged one is reported and never passed over."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas import processes
from pulumi_atlas.client import Intent, IntentBook
from pulumi_atlas.errors import ProviderFailure
from pulumi_atlas.testing import strategies as ours

TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), max_size=20)


def intents() -> st.SearchStrategy[Intent]:
    writers = st.builds(processes.ProcessIdentity, st.integers(1, 2**22), TEXTS, st.integers(0, 2**40), TEXTS)
    return st.builds(
        Intent,
        birth=ours.births(),
        owner=ours.owners(),
        kind=st.sampled_from(["pod", "volume", "endpoint"]),
        provider=st.sampled_from(["mock", "local"]),
        account=st.none() | TEXTS,
        identity=TEXTS,
        name=ours.names(),
        spec_hash=st.text("0123456789abcdef", min_size=16, max_size=16),
        writer=writers,
        written_at=st.floats(0, 4e9),
    )


@given(intent=intents(), thing=st.none() | TEXTS, answered=st.booleans())
def test_a_note_is_read_as_it_was_written(intent: Intent, thing: str | None, answered: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book, reader = IntentBook(Path(folder)), IntentBook(Path(folder))
        noted = book.open(intent)
        assert reader.get(intent.birth) == noted
        if thing is not None:
            noted = book.record_id(noted, thing)
        if answered:
            noted = book.answer(noted)
        assert (noted.thing_id, noted.state) == (thing, "answered" if answered else "open")
        assert reader.get(intent.birth) == noted
        assert list(reader.unclosed()) == [noted]
        assert reader.of_owner(intent.owner) == [noted]
        assert reader.is_noted(intent.birth)
        assert reader.close(intent.birth)
        assert not reader.close(intent.birth)
        assert book.get(intent.birth) is None
        assert not list(book.unclosed())


@given(many=st.lists(intents(), max_size=8, unique_by=lambda intent: intent.birth))
def test_notes_come_oldest_first_and_by_owner(many: list[Intent]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = IntentBook(Path(folder))
        for intent in many:
            book.open(intent)
        assert [intent.written_at for intent in book.unclosed()] == sorted(intent.written_at for intent in many)
        for intent in many:
            assert intent.birth in {one.birth for one in book.of_owner(intent.owner)}


@given(
    intent=intents(),
    damage=st.sampled_from(
        ["", "{", "null", "[]", "{}", "7", '"text"', '{"version": 1}', "cut", "no owner", "no writer"]
    ),
)
def test_a_damaged_note_is_reported_and_stops_whoever_needs_all_notes(intent: Intent, damage: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = IntentBook(Path(folder))
        book.open(intent)
        path = book.folder / f"{intent.birth}.json"
        path.write_text(_damaged(path.read_text(), damage))
        for read in (
            lambda: book.get(intent.birth),
            lambda: list(book.unclosed()),
            lambda: book.of_owner(intent.owner),
        ):
            with pytest.raises(ProviderFailure) as caught:
                read()
            assert str(path) in caught.value.message
            assert caught.value.hint
        assert book.close(intent.birth)


@given(intent=intents())
def test_what_is_left_of_a_torn_write_is_no_note(intent: Intent) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = IntentBook(Path(folder))
        book.open(intent)
        (book.folder / f".{intent.birth}.json.0a1b2c3d.tmp").write_text('{"half":')
        assert [one.birth for one in book.unclosed()] == [intent.birth]


@given(intent=intents())
def test_a_note_holds_nothing_but_what_recovery_needs(intent: Intent) -> None:
    expected = {
        *("version", "birth", "owner", "kind", "provider", "account", "identity", "name", "spec_hash"),
        *("writer", "state", "thing_id", "written_at", "folder"),
    }
    assert set(replace(intent).as_json()) == expected


def test_no_folder_means_no_notes(tmp_path: Path) -> None:
    book = IntentBook(tmp_path / "never-made")
    assert not list(book.unclosed())
    assert not book.is_noted("0" * 20)
    assert book.get("0" * 20) is None


def _damaged(text: str, damage: str) -> str:
    if damage == "cut":
        return text[: len(text) // 2]
    if damage.startswith("no "):
        fields = json.loads(text)
        fields[damage.removeprefix("no ")] = None
        return json.dumps(fields)
    return damage

"""Objects come home whole, or as a reason."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from aci_notebook.logs import Chunk, House
from aci_notebook.parcels import Lost, Parcel, Parcels


def announced(name: str, data: bytes, pieces: int, **more: str) -> House:
    return House(
        "object", {"name": name, "kind": "pickle", "type": "int", "chunks": str(pieces), "sha256": hashlib.sha256(data).hexdigest(), **more}
    )


def pieces_of(name: str, data: bytes, count: int) -> list[Chunk]:
    text = base64.b64encode(zlib.compress(data)).decode()
    size = -(-len(text) // count)
    return [Chunk(name, n + 1, count, text[n * size : (n + 1) * size]) for n in range(count)]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_whole_when_the_last_piece_is_there(order: list[int]) -> None:
    parcels, data = Parcels(), b"some data" * 50
    assert parcels.take(announced("var:x", data, 3)) is None
    chunks = pieces_of("var:x", data, 3)
    results = [parcels.take(chunks[place]) for place in order]
    assert results[:2] == [None, None]
    assert results[2] == Parcel("var:x", "pickle", "int", data)
    assert parcels.unfinished() == []


def test_a_piece_that_never_came() -> None:
    parcels, data = Parcels(), b"x" * 100
    parcels.take(announced("var:x", data, 2))
    parcels.take(pieces_of("var:x", data, 2)[0])
    assert parcels.unfinished() == [Lost("var:x", "not all of its pieces arrived")]


def test_another_checksum_is_no_object() -> None:
    parcels = Parcels()
    parcels.take(announced("var:x", b"something else", 1))
    assert parcels.take(pieces_of("var:x", b"data", 1)[0]) == Lost("var:x", "its checksum differs")


def test_rubbish_is_no_object() -> None:
    parcels = Parcels()
    parcels.take(announced("var:x", b"", 1))
    result = parcels.take(Chunk("var:x", 1, 1, "%%%"))
    assert isinstance(result, Lost)


def test_pieces_whose_announcement_was_lost() -> None:
    assert isinstance(Parcels().take(pieces_of("var:x", b"data", 1)[0]), Lost)


def test_a_skip_is_its_reason_and_names_are_decoded() -> None:
    found = Parcels().take(House("skip", {"name": "path:my%20file", "reason": "too large"}))
    assert found == Lost("path:my file", "too large")


def test_a_second_attempt_replaces_what_the_first_began() -> None:
    parcels, data = Parcels(), b"second"
    parcels.take(announced("var:x", b"first", 2))
    parcels.take(pieces_of("var:x", b"first", 2)[0])
    parcels.take(announced("var:x", data, 1))
    assert parcels.take(pieces_of("var:x", data, 1)[0]) == Parcel("var:x", "pickle", "int", data)

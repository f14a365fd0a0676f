from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwts import jwt

from domain.token import HOUR_US, Stage, clean_token, duration_text, expiry_us, stage_of

NOW_US = 1_795_000_000_000_000


@pytest.mark.parametrize("text", ["abc", "  abc\n", "\tabc\r\n", "abc\n\n"])
def test_white_space_round_a_token_is_taken_off(text: str) -> None:
    assert clean_token(text) == "abc"


@pytest.mark.parametrize("token", [jwt({"exp": 1}), "pat_0aZ-9_~", "a/b+c==", "x" * 8192])
def test_tokens_of_every_kind_are_taken(token: str) -> None:
    assert clean_token(token) == token


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("one\ntwo", "more than one line"),
        ("one\rtwo", "more than one line"),
        ("x" * 8193, "longer"),
        ("access_token=eyJ", "begins with a name"),
        ("Authorization:eyJ", "begins with a name"),
        ("Bearer eyJ", "character"),
        ("eyJ; session=1", "character"),
        ('"eyJ"', "character"),
        ("eyJ\\n", "character"),
        ("eyJ,", "character"),
        ("eyJ\x00", "character"),
        ("eyJ\x7f", "character"),
        ("eyJ€", "character"),
    ],
)
def test_what_can_be_no_token_is_refused_without_being_repeated(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        clean_token(text)
    assert "eyJ" not in str(error.value)


@given(st.text(max_size=60))
def test_a_token_can_never_break_out_of_a_cookie(text: str) -> None:
    try:
        token = clean_token(text)
    except ValueError:
        return
    assert token.isascii()
    assert token.isprintable()
    assert not set(token) & set(' ";,\\\r\n')


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"exp": 1_751_668_293}, 1_751_668_293_000_000),
        ({"exp": 1_751_668_293.5, "iat": 1}, 1_751_668_293_500_000),
        ({"exp": "1751668293"}, None),
        ({"exp": True}, None),
        ({"exp": None}, None),
        ({"exp": -1}, None),
        ({"exp": 10**400}, None),
        ({"exp": float("nan")}, None),
        ({"exp": float("inf")}, None),
        ({"iat": 1}, None),
        ([1], None),
        ("exp", None),
        (None, None),
    ],
)
def test_the_expiry_is_read_from_a_jwt(claims: Any, expected: int | None) -> None:
    assert expiry_us(jwt(claims)) == expected


@pytest.mark.parametrize(
    "token", ["", "abc", "a.b", "a.b.c", "a.%%%.c", "a.eyJ.c", "..", "a.b.c.d", "a." + "W1tb" * 2000 + ".c"]
)
def test_the_expiry_of_anything_else_is_unknown(token: str) -> None:
    assert expiry_us(token) is None


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126)))
def test_no_token_makes_reading_its_expiry_fail(token: str) -> None:
    expiry_us(token)
    expiry_us(f"e30.{token}.e30")


@pytest.mark.parametrize(
    ("left_us", "expected"),
    [
        (48 * HOUR_US, Stage.FAR),
        (12 * HOUR_US + 1, Stage.FAR),
        (12 * HOUR_US, Stage.LAST_DAY),
        (2 * HOUR_US + 1, Stage.LAST_DAY),
        (2 * HOUR_US, Stage.LAST_HOURS),
        (1, Stage.LAST_HOURS),
        (0, Stage.EXPIRED),
        (-HOUR_US, Stage.EXPIRED),
    ],
)
def test_the_stage_says_how_near_the_end_is(left_us: int, expected: Stage) -> None:
    assert stage_of(NOW_US + left_us, now_us=NOW_US) is expected


def test_a_token_whose_expiry_nobody_knows_is_never_near_its_end() -> None:
    assert stage_of(None, now_us=NOW_US) is Stage.FAR


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-5, "0 s"),
        (40, "40 s"),
        (12 * 60 + 59, "12 min"),
        (2 * 3600 - 1, "1 h 59 min"),
        (47 * 3600 + 3000, "47 h"),
        (72 * 3600, "3 days"),
    ],
)
def test_a_length_of_time_is_said_for_people(seconds: int, expected: str) -> None:
    assert duration_text(seconds * 1_000_000) == expected

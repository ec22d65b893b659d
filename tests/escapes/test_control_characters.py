"""Names and output that would command a terminal come through as data."""

import json

NASTY = "\x1b]0;owned\x07\x1b[2J\r\n\x00\x9b31m\u202eevil\u2028"


def names(kit, nasty):
    """Put the characters wherever text goes."""
    import warnings

    from prefect import flow

    def nastily():
        pass

    nastily.__doc__ = nasty
    globals()["nastily"] = flow(nastily)
    for attribute in ("name", "version", "description"):
        kit.tried(setattr, globals()["nastily"], attribute, nasty)
    warnings.warn(nasty, stacklevel=1)
    print(nasty)
    raise ValueError(nasty)


def test_json_carries_them_escaped(escape, profile):
    seen = escape(names, NASTY, profile=profile)
    text = json.dumps(seen.outcome)
    assert seen.status == "script_failed"
    assert not [character for character in text if ord(character) < 32 or ord(character) > 126]
    assert "owned" in seen.error["message"]


def says_plainly(kit):
    """Text of every script and a smile."""
    return "Grüße, 世界, 🙂"


def test_ordinary_text_is_kept(escape, profile):
    assert escape(says_plainly, profile=profile).report == "Grüße, 世界, 🙂"

"""Tests of `archcomp_tf.page`."""

import markup

from archcomp_tf import page

_NASTY = "<b>&\"'"


def test_a_page_is_one_document_with_its_title_style_and_parts():
    text = page.page(_NASTY, ["<p>one</p>", "<p>two</p>"])
    assert text.startswith("<!DOCTYPE html>")
    found = markup.elements(text)
    (title,) = (e for e in found if e.tag == "title")
    assert title.text == _NASTY
    assert [e.text for e in found if e.tag == "p"] == ["one", "two"]
    (style,) = (e for e in found if e.tag == "style")
    assert "prefers-color-scheme: dark" in style.text
    assert style.text.count("{") == style.text.count("}")


def test_nothing_in_a_page_asks_for_another_file():
    text = page.page("", [])
    for word in ("http:", "https:", "//", "@import", "url(", "src=", "href="):
        assert word not in text


def test_the_first_column_of_a_table_heads_its_rows():
    text = page.table(
        "what it holds",
        ["name", "size", "note"],
        [["a", "1", "x"], ["b", "2", "y"]],
        ["student", ""],
        text_columns=[2],
    )
    found = markup.elements(text)
    heads = [(e.text, e.attributes["scope"]) for e in found if e.tag == "th"]
    assert heads == [
        *(("name", "col"), ("size", "col"), ("note", "col")),
        *(("a", "row"), ("b", "row")),
    ]
    assert [e.text for e in found if e.tag == "td"] == ["1", "x", "2", "y"]
    assert [e.styles for e in found if e.tag == "tr"] == [[], ["student"], []]
    texts = [e.text for e in found if "text" in e.styles]
    assert texts == ["note", "x", "y"]
    assert [e.text for e in found if e.tag == "caption"] == ["what it holds"]


def test_text_is_escaped_everywhere():
    parts = [
        page.section(_NASTY),
        page.paragraph(_NASTY),
        page.tiles([(_NASTY, _NASTY, _NASTY)]),
        page.figure("", _NASTY),
        page.table(_NASTY, [_NASTY], [[_NASTY]]),
        page.details(_NASTY, ""),
    ]
    for part in parts:
        found = markup.elements(part)
        assert not any(e.text == "&\"'" for e in found)
        assert any(e.text == _NASTY for e in found)
        # Of the tags, only the tiles' own figure is a <b>.
        assert sum(e.tag == "b" for e in found) == ("tiles" in part)

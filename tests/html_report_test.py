"""Tests of `archcomp_tf.html_report`."""

import browser
import findings
import markup
import pytest

from archcomp_tf.html_report import html_report
from archcomp_tf.results import headline


def _report(results=None, records=None):
    return html_report(
        results or findings.results(),
        findings.records() if records is None else records,
        input_shape=findings.SHAPE,
        num_classes=findings.NUM_CLASSES,
        predictions=findings.predictions(),
        latent=findings.latent(),
    )


def test_the_answer_comes_first():
    found = markup.elements(_report())
    (heading,) = (e for e in found if e.tag == "h1")
    assert heading.text == headline(findings.results())
    (title,) = (e for e in found if e.tag == "title" and e.is_in("head"))
    assert title.text == f"shapes <&>: {heading.text}"
    tags = [e.tag for e in found]
    assert tags.index("h1") < tags.index("table") < tags.index("details")


def test_the_time_of_every_stage_is_told():
    *_, (_, *rows) = markup.tables(_report())
    assert [row[:3] for row in rows] == [
        ["teacher", "12 s", "0%"],
        ["search", "62 min", "97%"],
        ["students", "2 min", "2%"],
    ]


def test_every_section_has_a_heading_and_every_chart_a_description():
    found = markup.elements(_report())
    headings = [e.text for e in found if e.tag == "h2"]
    assert headings == [
        "Against what could be had without it",
        "Class by class",
        "The files",
        "Layer by layer",
        "Every network that was trained to learn from",
        "The map of the embedding",
        "Predicted before, found after",
        "Where the time went",
        "How to make it again",
    ]
    charts = [e for e in found if e.tag == "svg" and e.parent.tag == "figure"]
    assert len(charts) == 5
    assert all(e.attributes["aria-label"] for e in charts)
    assert sum(e.tag == "caption" for e in found) == sum(
        e.tag == "table" for e in found
    )


def test_text_is_escaped_and_nothing_is_fetched():
    text = _report()
    assert "shapes <&>" not in text and "shapes &lt;&amp;&gt;" in text
    for word in ("http:", "https:", "url(", "src=", "href=", "@import"):
        assert word not in text
    assert sum(e.tag == "script" for e in markup.elements(text)) == 1


def test_what_a_run_has_no_files_of_is_left_out():
    results = findings.results()
    results["files"] = {}
    assert "The files" not in _report(results)


@pytest.mark.parametrize(("others", "told"), [(77, "more"), (-77, "fewer")])
def test_a_teacher_of_other_size_than_its_layers_is_told(others, told):
    results = findings.results()
    assert "The teacher itself" not in _report(results)
    results["teacher"]["num_params"] += others
    assert f"The teacher itself has 77 parameters {told}:" in _report(results)


def test_what_it_was_made_with_and_from_is_told():
    text = _report()
    assert "Teacher, search: python 3.12.1, num gpus 1." in text
    assert "Report: python 3.11.7, num gpus 0." in text
    assert "&quot;num_labels&quot;: 25" in text


def test_a_student_that_is_not_among_the_records_is_an_error():
    others = [r for r in findings.records() if r != findings.student()]
    with pytest.raises(ValueError, match="among the records; got 23 other"):
        _report(records=others)


@browser.needs_chromium
def test_a_browser_shows_the_report_in_every_size_and_light(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(_report(), encoding="utf-8")
    with browser.chromium() as tab:
        backgrounds = set()
        for width, dark in ((1200, False), (1200, True), (390, False)):
            tab.open(path.as_uri(), width=width, dark=dark)
            browser.assert_report_is_seen(tab)
            backgrounds.add(
                tab.evaluate("getComputedStyle(document.body).backgroundColor")
            )
        assert len(backgrounds) == 2
        # What is under the pointer is named.
        tab.open(path.as_uri())
        star = "find('figure > svg .mark.student:not(.one) path')[0]"
        event = "new PointerEvent('pointerover', {bubbles: true})"
        tab.evaluate(f"{star}.dispatchEvent({event})")
        assert tab.evaluate("find('output')[0].textContent").startswith(
            "student: 90.00%"
        )

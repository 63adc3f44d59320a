"""Tests of docs/research.md: its programs run and print what they say."""

import re

import fresh
import pages
import pytest

_PROGRAMS = pages.programs("research.md")
# What makes them short enough for a test.
_SHORTER = {
    "problem.py": {"Recipe(epochs=epochs)": "Recipe(128, epochs=1)"},
    "compare.py": {
        "[teacher], seed=0": "num_architectures=256, epochs=1, seed=0",
        "num_labels=24": "num_labels=12",
        "in range(3)": "in range(1)",
        "ddof=1": "ddof=0",
    },
    "embedding.py": {
        "60": "16",
        "num_steps=16": "num_steps=60",
        "learnt, seed=0": "learnt, num_architectures=256, epochs=1, seed=0",
    },
    "target.py": {
        "members[:80]": "members[:12]",
        "60": "9",
        "8192": "512",
    },
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, str]:
    """Program -> what it printed, all run in one folder."""
    folder = tmp_path_factory.mktemp("research")
    for name, source in _PROGRAMS.items():
        (folder / name).write_text(pages.changed(source, _SHORTER[name]))
    return {name: fresh.output(folder / name, cwd=folder) for name in _PROGRAMS}


def test_the_programs_are_the_four_that_the_page_names():
    names = ["problem.py", "compare.py", "embedding.py", "target.py"]
    assert list(_PROGRAMS) == names


@pytest.mark.parametrize("name", ["compare.py", "embedding.py", "target.py"])
def test_a_program_prints_lines_as_those_of_the_page(printed, name):
    page = pages.text("research.md")
    shown = re.search(rf"\$ python {name}\n((?:    .*\n)+)", page)[1]

    def forms(text: str) -> set[str]:
        """The lines, whatever their numbers and networks are."""
        without = re.sub(r"\b\w+\dx\d\S*( \S+\dx\d\S*)*", "network", text)
        lines = re.sub(r"[-\d.,]+", "0", without).splitlines()
        return {" ".join(line.split()) for line in lines if line.strip()}

    assert forms(printed[name]) == forms(shown)

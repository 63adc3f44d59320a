"""Tests of docs/research.md: its programs run and print what they say."""

import pathlib
import re

import fresh
import pytest

_ROOT = pathlib.Path(__file__).parent.parent
_TEXT = (_ROOT / "docs/research.md").read_text()
_PROGRAMS = {
    name: source
    for source, name in re.findall(
        r"```python\n(# (\w+\.py)\n.*?)```", _TEXT, flags=re.DOTALL
    )
}
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
        for old, new in _SHORTER[name].items():
            assert old in source, f"{name} has no {old!r}"
            source = source.replace(old, new)
        (folder / name).write_text(source)
    return {name: fresh.output(folder / name, cwd=folder) for name in _PROGRAMS}


@pytest.mark.parametrize("name", ["compare.py", "embedding.py", "target.py"])
def test_a_program_prints_lines_as_those_of_the_page(printed, name):
    shown = re.search(rf"\$ python {name}\n((?:    .*\n)+)", _TEXT)[1]

    def forms(text: str) -> set[str]:
        """The lines, whatever their numbers and networks are."""
        without = re.sub(r"\b\w+\dx\d\S*( \S+\dx\d\S*)*", "network", text)
        lines = re.sub(r"[-\d.,]+", "0", without).splitlines()
        return {" ".join(line.split()) for line in lines if line.strip()}

    assert forms(printed[name]) == forms(shown)

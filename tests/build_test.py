"""Tests of BUILD: what it says is what the files import."""

import ast
import pathlib
import re
import sys
from collections.abc import Iterable

import pytest

import archcomp_tf

_ROOT = pathlib.Path(__file__).parent.parent
_SOURCE = (_ROOT / "BUILD").read_text()
_MODULES = sorted(
    path.stem
    for path in (_ROOT / "archcomp_tf").glob("*.py")
    if path.stem != "__init__"
)
_BINARIES = sorted(
    path.stem for path in (_ROOT / "bin").glob("*.py") if path.stem != "stage"
)
_HELPERS = sorted(
    path.stem
    for path in (_ROOT / "tests").glob("*.py")
    if not path.stem.endswith("_test")
)
_TESTS = sorted(path.name for path in (_ROOT / "tests").glob("*_test.py"))


def _value(node: ast.expr):
    """A literal, a sum of literals, or what `glob([...])` stands for."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _value(node.left) + _value(node.right)
    if isinstance(node, ast.Call):
        assert node.func.id == "glob", f"line {node.lineno}"
        (patterns,) = map(ast.literal_eval, node.args)
        paths = (path for p in patterns for path in _ROOT.glob(p))
        return sorted(str(path.relative_to(_ROOT)) for path in paths)
    return ast.literal_eval(node)


def _rules() -> list[dict]:
    """The arguments of each py_... rule, in order, and what it is.

    "third_party" holds the names in its comments.
    """
    rules = []
    for statement in ast.parse(_SOURCE).body:
        call = statement.value
        if call.func.id not in ("py_library", "py_test", "py_binary"):
            assert call.func.id in ("load", "package")
            continue
        assert not call.args, f"line {call.lineno}: an argument with no name"
        rule = {keyword.arg: _value(keyword.value) for keyword in call.keywords}
        text = ast.get_source_segment(_SOURCE, call)
        names = re.findall(r"# third party: (.+)", text)
        rule["third_party"] = [n for line in names for n in line.split(", ")]
        rules.append({"rule": call.func.id, "deps": []} | rule)
    return rules


_RULES = {rule["name"]: rule for rule in _rules()}


def _named(kind: str) -> list[str]:
    return [name for name, rule in _RULES.items() if rule["rule"] == kind]


def _imported(paths: Iterable[str]) -> tuple[set[str], set[str]]:
    """Our own rules and the third parties that some files import.

    A public name, which `archcomp_tf/__init__.py` loads, stands for that file.
    """
    own, third_parties = set(), set()
    for path in paths:
        names = []
        for node in ast.walk(ast.parse((_ROOT / path).read_text())):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: a relative import"
                names += [f"{node.module}.{a.name}" for a in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package == "archcomp_tf":
                module = rest.partition(".")[0]
                own.add(module if module in _MODULES else package)
            elif package in ("stage", *_HELPERS):
                own.add(package)
            elif package not in sys.stdlib_module_names:
                third_parties.add(package)
    return own, third_parties


def _with_their_own(deps: Iterable[str]) -> set[str]:
    """Rules, the rules that these depend on, and so on."""
    found, todo = set(), list(deps)
    while todo:
        label = todo.pop()
        if label not in found:
            found.add(label)
            todo += _RULES[label.removeprefix(":")]["deps"]
    return found


@pytest.mark.parametrize(
    ("source", "own"),
    [
        ("import archcomp_tf.cost", {"cost"}),
        ("from archcomp_tf import cost, layer as l", {"cost", "layer"}),
        ("from archcomp_tf.cost import num_params", {"cost"}),
        ("def f():\n  if x:\n    import archcomp_tf.cost", {"cost"}),
        ("import archcomp_tf", {"archcomp_tf"}),
        ("import archcomp_tf_other", set()),
    ],
)
def test_imports_are_found_in_whatever_form(source, own, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(source)
    assert _imported([path])[0] == own


def test_no_name_is_given_twice():
    names = [rule["name"] for rule in _rules()]
    assert len(set(names)) == len(names)


def test_every_module_has_a_library():
    assert set(_MODULES) <= set(_named("py_library"))


def test_every_module_has_a_test_that_depends_on_it():
    tests = [f"{module}_test" for module in _MODULES]
    assert set(tests) <= set(_named("py_test"))
    for module, test in zip(_MODULES, tests, strict=True):
        assert f":{module}" in _RULES[test]["deps"]


def test_every_file_of_tests_has_a_rule():
    sources = [path for t in _named("py_test") for path in _RULES[t]["srcs"]]
    assert {f"tests/{name}" for name in _TESTS} == set(sources)


def test_what_tests_share_has_a_library():
    assert set(_HELPERS) <= set(_named("py_library"))
    for name in _HELPERS:
        assert _RULES[name]["srcs"] == [f"tests/{name}.py"]


def test_every_binary_has_a_rule():
    assert sorted(_named("py_binary")) == _BINARIES
    for name in _BINARIES:
        assert _RULES[name]["srcs"] == [f"bin/{name}.py"]
        own, _ = _imported(_RULES[name]["srcs"])
        assert _RULES[name]["deps"] == sorted(f":{module}" for module in own)


@pytest.mark.parametrize("name", _RULES)
def test_the_sources_of_a_rule_are_there(name):
    assert _RULES[name]["srcs"]
    for path in _RULES[name]["srcs"]:
        assert (_ROOT / path).is_file()


@pytest.mark.parametrize("name", _RULES)
def test_the_files_of_a_rule_fit_its_name(name):
    (path,) = map(pathlib.Path, _RULES[name]["srcs"][:1])
    if name in _MODULES:
        assert path == pathlib.Path("archcomp_tf", f"{name}.py")
    if _RULES[name]["rule"] == "py_test" and path.stem != name:
        # Bazel would look for the file of that name.
        assert _RULES[name]["main"] == str(path)


@pytest.mark.parametrize("name", _RULES)
def test_dependencies_are_sorted_rules_of_this_file(name):
    deps = _RULES[name]["deps"]
    assert deps == sorted(set(deps))
    assert {label.removeprefix(":") for label in deps} <= set(_RULES)
    assert all(label.startswith(":") for label in deps)


@pytest.mark.parametrize("name", _named("py_library"))
def test_a_library_depends_on_what_its_files_import(name):
    rule = _RULES[name]
    own, third_parties = _imported(rule["srcs"])
    if name == "archcomp_tf":  # loads its modules by their names
        own = {*archcomp_tf._EXPORTS.values(), *archcomp_tf._MODULES}
    assert rule["deps"] == sorted(f":{module}" for module in own)
    assert rule["third_party"] == sorted(third_parties)


@pytest.mark.parametrize("name", _MODULES)
def test_a_library_stands_below_those_that_it_depends_on(name):
    order = list(_RULES)
    for label in _RULES[name]["deps"]:
        assert order.index(label.removeprefix(":")) < order.index(name)


@pytest.mark.parametrize("name", _named("py_test"))
def test_a_test_reaches_what_it_imports(name):
    own, _ = _imported(_RULES[name]["srcs"])
    reached = _with_their_own(_RULES[name]["deps"])
    assert {f":{module}" for module in own} <= reached


def test_a_test_stands_behind_its_library():
    order = list(_RULES)
    for module in _MODULES:
        assert order.index(f"{module}_test") == order.index(module) + 1

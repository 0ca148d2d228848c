"""Imports point downward only: each module stands on a layer and imports its own or lower ones.

The model holds values and contracts, and knows nothing of files, sockets or time. ``net`` knows
nothing of settings, but for the values that TLS contexts are made of. Neither does ``client``: all
that it needs is in the job. So an application can take the pool without the configuration, and the
edge without the pool.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "smtpforward"

# Lowest first. A name stands for a module, or for a folder and all in it.
LAYERS = (
    {"reply", "utf8", "envelope", "address", "content", "job", "interfaces", "passwords", "facts"}
    | {"counts", "figures", "questions", "version", "dialogue", "background"},
    {"config"},
    {"net", "record", "logs", "formats"},
    {"client"},
    {"answers", "routing", "limits", "learned", "dispatch"},
    {"server", "outbound"},
    {"reload", "workers", "web", "running"},
    {"showing"},
    {"gateway", "service", "queueing", "hosting"},
    {"commands", "worker"},
)
# The page that shows them.
CHART = ROOT / "docs" / "how-it-works.md"
# What a part must not know, though it lies no higher.
APART = {
    "net": {"config", "record"},
    "record": {"net"},
    "logs": {"config", "net"},
    "formats": {"config", "net"},
    "client": {"config", "record", "answers", "dispatch", "server"},
    # The queue hands its mail to targets, and gets it from one: it knows neither side.
    "outbound": {"client", "server", "dispatch", "learned"},
    "server": {"outbound"},
    # The parts do not know that there are several processes, nor these what the parts do.
    "workers": {"client", "server", "dispatch", "routing", "answers", "outbound", "web"},
}
# The values that a module may know of a part from which it is apart otherwise.
VALUES = {(f"{PACKAGE}.net.tls", f"{PACKAGE}.config.settings")}
FACE = f"{PACKAGE}"  # the public face imports from everywhere
MAY_START_A_REACTOR = {"service", "commands", "worker"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """The dotted names that a module imports, wherever in it that stands, with their lines.

    ``from a import b`` is ``a.b`` where that is a module, or where ``a`` is not one of ours.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise AssertionError(f"{path}:{node.lineno}: a relative import")
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                ours = node.module.split(".")[0] == PACKAGE
                yield (name if name in known or not ours else node.module), node.lineno


def part(module: str) -> str:
    """The module or folder of the layers that ``smtpforward.part...`` belongs to."""
    return module.split(".")[1]


def height(module: str) -> int:
    """The layer of a module, from 0.

    :raise AssertionError: when it stands on none.
    """
    for number, names in enumerate(LAYERS):
        if part(module) in names:
            return number
    raise AssertionError(f"{module} stands on no layer: name it in LAYERS")


def inner_imports() -> Iterator[tuple[str, str, str]]:
    """Importer, imported, where: all imports between modules of the package but its face."""
    known = modules()
    for module, path in known.items():
        if module == FACE:
            continue
        for name, line in imports(path, known):
            if name.split(".")[0] == PACKAGE:
                yield module, name, f"{path.relative_to(ROOT)}:{line}: imports {name}"


def reached(module: str) -> set[str]:
    """The modules of the package that are loaded with ``module``, but for mere ``VALUES``."""
    known, found, unread = modules(), {module}, [module]
    while unread:
        importer = unread.pop()
        path = known[importer]
        for name in {name for name, _ in imports(path, known)} & known.keys():
            seen = name in found or name == FACE or (importer, name) in VALUES
            if not seen and not _only_for_types(path, name):
                found.add(name)
                unread.append(name)
    return found


class LayersTests(SynchronousTestCase):
    """Who imports whom."""

    def test_every_module_has_a_layer(self) -> None:
        """Each module stands on one layer, and each name of the layers is there."""
        names = [name for layer in LAYERS for name in layer]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(set(names), {part(module) for module in modules() if module != FACE})

    def test_shown(self) -> None:
        """The page about the parts shows these layers, the highest first."""
        [chart] = re.findall(r"## Layers\n.*?```\n(.*?)```", CHART.read_text("utf-8"), re.DOTALL)
        rows = chart.replace(",\n", ", ").splitlines()
        layers = [set(row.split("  ")[0].split(", ")) for row in rows if not row.startswith(" ")]
        self.assertEqual(list(LAYERS), layers[::-1])

    def test_downward(self) -> None:
        """A module imports from its own layer or lower ones."""
        upward = [
            where
            for module, name, where in inner_imports()
            if name == FACE or height(name) > height(module)
        ]
        self.assertEqual([], upward)

    def test_apart(self) -> None:
        """What is to be usable without a part does not import it."""
        known_too_much = [
            where
            for module, name, where in inner_imports()
            if name != FACE
            and part(name) in APART.get(part(module), ())
            and (module, name) not in VALUES
        ]
        self.assertEqual([], known_too_much)

    def test_apart_through_others(self) -> None:
        """The client reaches the settings, the edge and what decides by no way round either."""
        for module in modules():
            if module != FACE and part(module) == "client":
                known = {part(name) for name in reached(module)}
                self.assertEqual(set(), known & APART["client"], module)

    def test_no_cycles(self) -> None:
        """Within a layer, too, imports run one way."""
        graph: dict[str, set[str]] = {module: set() for module in modules()}
        for module, name, _ in inner_imports():
            if not _only_for_types(modules()[module], name):
                graph[module].add(name)
        while leaves := {module for module, below in graph.items() if not below & graph.keys()}:
            graph = {m: below for m, below in graph.items() if m not in leaves}
        self.assertEqual({}, graph)


class ReactorTests(SynchronousTestCase):
    """The reactor is handed in."""

    def test_named_only_where_parts_are_wired(self) -> None:
        """Only the service, the commands and the examples may name the reactor's module."""
        known = modules()
        for module, path in known.items():
            if module == FACE or part(module) not in MAY_START_A_REACTOR:
                named = [line for name, line in imports(path, known) if _is_reactor(name)]
                self.assertEqual([], named, path)

    def test_never_at_module_level(self) -> None:
        """No import of a module of ours, of the plugin or of an example installs a reactor."""
        examples = [path for path in (ROOT / "docs" / "examples").iterdir() if path.is_file()]
        plugins = (ROOT / "twisted" / "plugins").glob("*.py")
        for path in (*modules().values(), *plugins, *examples):
            tree = ast.parse(path.read_text("utf-8"), str(path))
            for statement in _at_module_level(tree):
                self.assertFalse(_imports_reactor(statement), f"{path}:{statement.lineno}")


def _is_reactor(name: str) -> bool:
    return name == "twisted.internet.reactor" or name.startswith("twisted.internet.reactor.")


def _imports_reactor(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return any(_is_reactor(alias.name) for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return any(_is_reactor(f"{node.module}.{alias.name}") for alias in node.names)
    return False


def _at_module_level(tree: ast.AST) -> Iterator[ast.stmt]:
    """The statements that run at import: those outside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.stmt):
            yield node
        yield from _at_module_level(node)


@cache
def _only_for_types(path: Path, name: str) -> bool:
    """Whether every import of ``name`` stands under ``if TYPE_CHECKING``."""
    tree = ast.parse(path.read_text("utf-8"))
    guarded = [
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in node.body
    ]
    wanted = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom) and _mentions(node, name)
    ]
    return bool(wanted) and all(node in guarded for node in wanted)


def _mentions(node: ast.Import | ast.ImportFrom, name: str) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name == name for alias in node.names)
    names = {f"{node.module}.{alias.name}" for alias in node.names}
    return node.module == name or name in names

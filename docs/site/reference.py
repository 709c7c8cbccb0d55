"""The API reference, made of the source itself: a page for each package, and on it all public names of its modules.

Nothing is imported, so that no optional package is needed and a build takes seconds (`sphinx.ext.autodoc` imports torch
and took minutes). Docstrings here are plain text, and that is how they are set: paragraphs, the
sections of Google's style, and what is indented or a table just as it stands.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
ITEM = re.compile(r"([\w*][\w*., ]*): (.*)")
KINDS = {ast.ClassDef: "class", ast.FunctionDef: "function"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def plain(text: str) -> str:
    """Text in which nothing means anything to reStructuredText but `code`."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return re.sub(r"([\\*|_`])", r"\\\1", text)
    for i, part in enumerate(parts):
        parts[i] = f"``{part}``\\ " if i % 2 and part.strip() == part and part else re.sub(r"([\\*|_])", r"\\\1", part)
    return "".join(parts)


def rendered(docstring: str) -> Iterator[str]:
    """The lines of a docstring."""
    for block in filter(None, re.split(r"\n\s*\n", inspect.cleandoc(docstring))):
        lines = block.splitlines()
        if SECTION.match(lines[0]):
            yield from section(lines[0][:-1], lines[1:])
        elif any(line[:1] in (" ", "|") for line in lines):
            yield from ["::", "", *(f"   {line}" for line in lines), ""]
        else:
            yield from [plain(" ".join(lines)), ""]


def section(title: str, lines: list[str]) -> Iterator[str]:
    """A section of Google's style: items by name, or text."""
    yield from [f"**{title}**", ""]
    items: list[str] = []
    for line in inspect.cleandoc("\n" + "\n".join(lines)).splitlines():
        if line.startswith(" ") or not items or (title in ("Returns", "Yields") and items):
            items = [*items[:-1], f"{items[-1]} {line.strip()}"] if items else [line]
        else:
            items.append(line)
    for item in items:
        named = ITEM.match(item)
        known = named is not None and title not in ("Returns", "Yields")
        yield f"- ``{named[1]}``: {plain(named[2])}" if named is not None and known else f"- {plain(item)}"
    yield ""


def indented(lines: Iterator[str]) -> Iterator[str]:
    """Lines inside a directive."""
    return (f"   {line}" if line else "" for line in lines)


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool) -> str:
    """What stands between the name and the colon."""
    arguments = node.args
    bound = method and not any(ast.unparse(d) == "staticmethod" for d in node.decorator_list)
    if bound and arguments.posonlyargs + arguments.args:
        (arguments.posonlyargs or arguments.args).pop(0)
    result = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    return f"({ast.unparse(arguments)}){result}"


def public(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt, str]]:
    """Names that do not begin with an underscore, where they are defined, and of values the text below."""
    seen = set()
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [t.id for t in targets if isinstance(t, ast.Name)]
        names += [e.id for t in targets if isinstance(t, ast.Tuple) for e in t.elts if isinstance(e, ast.Name)]
        if isinstance(node, Definition):
            names = [node.name]
        elif not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        text = after.value.value if is_text and isinstance(after.value.value, str) else ""  # type: ignore[attr-defined]
        for name in names:
            if not name.startswith("_") and name not in seen:
                seen.add(name)
                yield name, node, text


def described(name: str, node: ast.stmt, text: str, *, inside: bool = False) -> Iterator[str]:
    """One name as a directive of Sphinx's Python domain, in a module or `inside` a class."""
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        yield from [f".. py:class:: {name}", ""]
        yield from [f"   Bases: ``{bases}``", ""] if bases else []
        yield from indented(rendered(ast.get_docstring(node) or ""))
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if init is not None:
            yield from [f"   Made by ``{name}{signature(init, method=True).removesuffix(' -> None')}``.", ""]
        for member, found, below in public(node.body):
            yield from indented(described(member, found, below, inside=True))
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        decorators = {ast.unparse(d) for d in node.decorator_list}
        if {"property", "cached_property", "functools.cached_property"} & decorators:
            yield f".. py:property:: {name}"
            yield from [f"   :type: {ast.unparse(node.returns)}"] if node.returns is not None else []
        else:
            yield f".. py:{'method' if inside else 'function'}:: {name}{signature(node, method=inside)}"
            yield from [
                f"   :{d}:" for d in ("abstractmethod", "classmethod", "staticmethod") if inside and d in decorators
            ]
        yield ""
        yield from indented(rendered(ast.get_docstring(node) or ""))
    else:
        yield f".. py:{'attribute' if inside else 'data'}:: {name}"
        yield from [f"   :type: {ast.unparse(node.annotation)}"] if isinstance(node, ast.AnnAssign) else []
        yield ""
        yield from indented(rendered(text))


def brought(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """The names of a package's `__all__` that come from its modules: where from, and what they are called there."""
    listed: set[str] = set()
    imports = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == ["__all__"]:
            listed = set(ast.literal_eval(node.value))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyro_vrnn"):
            imports |= {a.asname or a.name: (str(node.module), a.name) for a in node.names}
    return {name: imports[name] for name in sorted(listed & imports.keys())}


class Qualified(ast.NodeTransformer):
    """Names in annotations as whole paths, which Sphinx finds without a guess, and shows by their last part."""

    def __init__(self, paths: dict[str, str]) -> None:
        self.paths = paths

    def visit_Name(self, node: ast.Name) -> ast.AST:
        path = self.paths.get(node.id)
        return node if path is None else ast.parse(path, mode="eval").body

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node


def parsed(root: Path, module: str) -> ast.Module:
    """The source of a module or package; the package's own names in annotations are whole paths."""
    path = root.joinpath(*module.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))
    paths = {node.name: f"{module}.{node.name}" for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyro_vrnn"):
            paths |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    qualified = Qualified({name: path for name, path in paths.items() if not name.startswith("_")})
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, qualified.visit(getattr(node, field)))
    return tree


def of_module(root: Path, module: str) -> Iterator[str]:
    """A module: its docstring, and its names."""
    tree = parsed(root, module)
    yield from [f".. py:module:: {module}", ""]
    yield from rendered(ast.get_docstring(tree) or "")
    for name, (origin, called) in brought(tree).items():
        if root.joinpath(*module.split("."), f"{name}.py").exists():
            continue  # a module has the name already, on this very page
        found = {n: (node, text) for n, node, text in public(parsed(root, origin).body)}.get(called)
        kind = KINDS.get(type(found[0]) if found is not None else None, "data")
        if found is not None and module == "pyro_vrnn":  # what users call: here in full
            yield from described(name, *found)
        else:
            yield from [f".. py:{kind}:: {name}", "", f"   This is :py:obj:`{origin}.{called}`.", ""]
    for name, node, text in public(tree.body):
        yield from described(name, node, text)


def pages(root: Path) -> Iterator[tuple[str, str]]:
    """The name of each package and its page in reStructuredText; `root` is the folder that holds pyro_vrnn."""
    for init in sorted((root / "pyro_vrnn").rglob("__init__.py")):
        package = ".".join(init.parent.relative_to(root).parts)
        lines = [f"``{package}``", "=" * 80, "", *of_module(root, package)]
        for path in sorted(init.parent.glob("[!_]*.py")):
            module = f"{package}.{path.stem}"
            lines += ["", f"``{module}``", "-" * 80, "", *of_module(root, module)]
        yield package, "\n".join(lines) + "\n"

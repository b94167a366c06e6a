"""A structure of mappings, lists and scalars in which every value knows its place, out of YAML or out of Python."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml

MAX_DEPTH = 20  # a scenario needs 5
MAX_LENGTH = 1_000_000  # characters; reading takes a second or two by then


class Where:
    """A value and its place: line and column in a file, or a path like `hosts.router` in a Python structure."""

    __slots__ = ("_inside", "inner_place", "key", "mark", "path", "value")

    def __init__(
        self,
        value: Any,
        path: str = "",
        mark: tuple[int, int] | None = None,
        inside: "dict[Any, Where] | None" = None,
    ) -> None:
        self.value = value
        self.path = path
        self.mark = mark
        self.key = mark
        self.inner_place: tuple[int, int] | None = None
        """Line and column where text in a literal block (`|`) begins: from there on its lines are the file's."""
        self._inside = inside

    @property
    def place(self) -> str:
        """`:3:7` for a file, ` at hosts.router` for a structure, empty at the top of one."""
        return self._place(self.mark)

    @property
    def place_of_key(self) -> str:
        """The same for the key in front of it."""
        return self._place(self.key)

    def _place(self, mark: tuple[int, int] | None) -> str:
        if mark:
            return f":{mark[0]}:{mark[1]}"
        return f" at {self.path}" if self.path else ""

    @property
    def shown(self) -> str:
        """The value as an error message quotes it."""
        if isinstance(self.value, Mapping):
            return "a mapping"
        if isinstance(self.value, list | tuple):
            return "a list"
        return repr(self.value) if self.value not in (None, "") else "nothing"

    def items(self) -> "dict[str, Where]":
        """What a mapping holds."""
        if self._inside is not None:
            return self._inside
        return {str(key): Where(value, f"{self.path}.{key}".lstrip(".")) for key, value in self.value.items()}

    def elements(self) -> "list[Where]":
        """What a list holds."""
        if self._inside is not None:
            return list(self._inside.values())
        return [Where(value, f"{self.path}[{place}]") for place, value in enumerate(self.value)]


def read_yaml(text: str, name: str, problem: type[Exception]) -> Where:
    """The YAML document in that text, every scalar as text.

    Duplicate keys, aliases, keys that are no text and several documents are refused.

    Raises:
        problem: with a message of one line that begins with `name:line:column`.
    """
    import yaml

    if len(text) > MAX_LENGTH:
        raise problem(f"{name}: {len(text)} characters, more than the {MAX_LENGTH} that a scenario may have")
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        what = error.problem or error.context or ""
        if "<block end>, but found '<block" in what:
            what = "the line is indented neither like the ones above nor deeper under a key of its own"
        raise problem(f"{name}{where}: this is not YAML: {what}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise problem(f"{name}: this is not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise problem(f"{name}: nested too deeply for a scenario") from None
    if node is None:
        raise problem(f"{name}:1:1: the file is empty")
    return _Reader(name, problem, text.splitlines()).read(node, 0)


class _Reader:
    def __init__(self, name: str, problem: type[Exception], lines: list[str]) -> None:
        self.name = name
        self.problem = problem
        self.lines = lines
        self.seen: set[int] = set()

    def read(self, node: "yaml.Node", depth: int) -> Where:
        import yaml

        mark = _mark(node)
        if isinstance(node, yaml.ScalarNode):
            where = Where(node.value, mark=mark)
            if node.style == "|":
                where.inner_place = self._inner_place(node.value, mark[0])
            return where
        if id(node) in self.seen:
            raise self._fail(mark, "aliases are not supported, write it out")
        if depth > MAX_DEPTH:
            raise self._fail(mark, "nested too deeply for a scenario")
        self.seen.add(id(node))
        inside: dict[Any, Where] = {}
        if isinstance(node, yaml.SequenceNode):
            for place, element in enumerate(node.value):
                inside[place] = self.read(element, depth + 1)
            return Where([item.value for item in inside.values()], mark=mark, inside=inside)
        assert isinstance(node, yaml.MappingNode)
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._fail(_mark(key), "a key must be text")
            if key.value in inside:
                raise self._fail(_mark(key), f"the key {key.value!r} is here twice")
            inside[key.value] = item = self.read(value, depth + 1)
            item.key = _mark(key)
        return Where({key: item.value for key, item in inside.items()}, mark=mark, inside=inside)

    def _inner_place(self, text: str, line: int) -> tuple[int, int]:
        """Where the text of a literal block begins: below the line with the `|`, behind what indents it."""
        inside = next((one for one in text.splitlines() if one.strip()), "")
        written = next((one for one in self.lines[line:] if one.strip()), "")
        return line + 1, len(written) - len(inside) + 1

    def _fail(self, mark: tuple[int, int], text: str) -> Exception:
        return self.problem(f"{self.name}:{mark[0]}:{mark[1]}: {text}")


def _mark(node: "yaml.Node") -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1

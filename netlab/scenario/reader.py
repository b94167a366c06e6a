"""The whole file: read, and held against the schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netlab.addresses import format_address
from netlab.scenario.hosts import HostReader
from netlab.scenario.model import HostSpec, Scenario, ScenarioError
from netlab.scenario.schema import Schema
from netlab.scenario.steps import End, StepReader
from netlab.yaml_text import Where, read_yaml


def load(file: Path | str) -> Scenario:
    """The scenario in that YAML file.

    Raises:
        ScenarioError: it cannot be read, is not YAML, or is no scenario; the message names file, line and column.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not UTF-8 text"
        raise ScenarioError(f"{path}: {why}") from None
    return loads(text, str(path))


def loads(text: str, name: str = "scenario") -> Scenario:
    """The scenario in that YAML text; `name` is what errors call it.

    Raises:
        ScenarioError: as for `load`.
    """
    if not isinstance(text, str):
        raise ScenarioError(f"{name}: a scenario is YAML text, and not {type(text).__name__}")
    return _Reader(name).scenario(read_yaml(text, name, ScenarioError))


def from_dict(structure: Mapping[str, Any], name: str = "scenario") -> Scenario:
    """The scenario in that structure of dicts, lists and scalars: numbers may be numbers here.

    Raises:
        ScenarioError: it is no scenario; the message names the place, like `hosts.router.sysctls`.
    """
    return _Reader(name).scenario(Where(structure))


class _Reader(Schema):
    def scenario(self, where: Where) -> Scenario:
        top = self.mapping(where, ("hosts", "links", "steps"))
        if "hosts" not in top:
            raise self.fail(where, "a scenario needs the key 'hosts'")
        read = HostReader(self.name)
        hosts = {name: read.host(name, item) for name, item in self.mapping(top["hosts"]).items()}
        if not hosts:
            raise self.fail(top["hosts"], "a scenario needs at least one host")
        self._refuse_shared_addresses(top["hosts"], hosts)
        links = self.links(top["links"], hosts) if "links" in top else ()
        steps = StepReader(self.name, hosts, {end for link in links for end in link}, self.interface)
        items = self.sequence(top["steps"]) if "steps" in top else []
        return Scenario(hosts, links, tuple(map(steps.step, items)), self.name)

    def links(self, where: Where, hosts: Mapping[str, HostSpec]) -> tuple[tuple[End, End], ...]:
        links = []
        taken: set[End] = set()
        for item in self.sequence(where):
            ends = self.sequence(item)
            if len(ends) != 2:
                raise self.fail(item, f"a link has two ends, not {len(ends)}")
            pair = []
            for end in ends:
                place = self.interface(end, hosts)
                if place in taken:
                    raise self.fail(end, f"{':'.join(place)} is on a link already")
                taken.add(place)
                pair.append(place)
            links.append((pair[0], pair[1]))
        return tuple(links)

    def interface(self, where: Where, hosts: Mapping[str, HostSpec]) -> End:
        """`router:eth0` as an interface that exists."""
        text = self.text(where)
        host, colon, dev = text.partition(":")
        if not colon:
            raise self.fail(where, f"{text!r} is not HOST:INTERFACE")
        self.known_host(where, host, hosts)
        if dev not in hosts[host].interfaces:
            known = ", ".join(hosts[host].interfaces) or "none"
            raise self.fail(where, f"unknown interface {dev!r} of host {host} (it has {known})")
        return host, dev

    def _refuse_shared_addresses(self, where: Where, hosts: Mapping[str, HostSpec]) -> None:
        owners: dict[int, str] = {}
        places = self.mapping(where)
        for host in hosts.values():
            for dev, addresses in host.interfaces.items():
                for one in addresses:
                    owner = owners.setdefault(one.address, f"{host.name}:{dev}")
                    if owner != f"{host.name}:{dev}" or addresses.count(one) > 1:
                        place = places[host.name].items()["interfaces"].items()[dev]
                        raise self.fail(place, f"{format_address(one.address)} is an address of {owner} already")

"""From a scenario on which the worlds disagree to a smallest one, and that one as a file."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from netlab.scenario import AdvanceStep, HostSpec, PacketStep, RunStep, Scenario


def shrink(scenario: Scenario, differs: Callable[[Scenario], bool], *, seconds: float = 20.0) -> Scenario:
    """Takes away what the disagreement does not need, as long as `differs` says that it is still there.

    After so many seconds it gives back the smallest scenario found by then.
    """
    deadline = time.monotonic() + seconds
    smallest, found = scenario, True
    while found:
        found = False
        for candidate in _smaller(smallest):
            if time.monotonic() > deadline:
                return smallest
            if differs(candidate):
                smallest, found = candidate, True
                break
    return smallest


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios with something missing, the largest cuts first."""
    steps = scenario.steps
    size = len(steps) // 2
    while size:
        for start in range(0, len(steps), size):
            yield replace(scenario, steps=steps[:start] + steps[start + size :])
        size //= 2
    needed = {(step.host, step.dev) for step in steps if isinstance(step, PacketStep)}
    needed |= {end for link in scenario.links for end in link}
    for name, spec in scenario.hosts.items():
        for smaller in _smaller_hosts(spec, {dev for host, dev in needed if host == name}):
            yield replace(scenario, hosts=scenario.hosts | {name: smaller})


def _smaller_hosts(spec: HostSpec, used: set[str | None]) -> Iterator[HostSpec]:
    for field in ("rules", "routes", "listen"):
        items = getattr(spec, field)
        for n in range(len(items)):
            yield replace(spec, **{field: items[:n] + items[n + 1 :]})
    for name in spec.sysctls:
        yield replace(spec, sysctls={key: value for key, value in spec.sysctls.items() if key != name})
    for dev in spec.mtu:
        yield replace(spec, mtu={key: value for key, value in spec.mtu.items() if key != dev})
    for dev, addresses in spec.interfaces.items():
        if dev not in used:
            interfaces = {key: value for key, value in spec.interfaces.items() if key != dev}
            sysctls = {key: value for key, value in spec.sysctls.items() if f".{dev}." not in key}
            yield replace(
                spec, interfaces=interfaces, sysctls=sysctls, mtu={k: v for k, v in spec.mtu.items() if k != dev}
            )
        for n in range(len(addresses)):
            yield replace(spec, interfaces=spec.interfaces | {dev: addresses[:n] + addresses[n + 1 :]})


def to_yaml(scenario: Scenario) -> str:
    """The scenario as a file; packets as hex, with what they are beside them."""
    lines = ["hosts:"]
    for spec in scenario.hosts.values():
        interfaces = {dev: [str(one) for one in ones] for dev, ones in spec.interfaces.items()}
        lines += [f"  {spec.name}:", "    interfaces:" if interfaces else "    interfaces: {}"]
        lines += [f"      {dev}: {json.dumps(addresses)}" for dev, addresses in interfaces.items()]
        for key in ("routes", "rules"):
            if getattr(spec, key):
                lines.append(f"    {key}: {json.dumps(list(getattr(spec, key)))}")
        if spec.sysctls:
            lines.append("    sysctls:")
            lines += [f"      {name}: {value}" for name, value in spec.sysctls.items()]
        if spec.listen:
            lines.append(f"    listen: {json.dumps([f'{proto}/{port}' for proto, port in spec.listen])}")
        if spec.conntrack != "auto":
            lines.append(f"    conntrack: {spec.conntrack}")
        for key in ("ipsets", "iptables"):
            if text := getattr(spec, key):
                lines += [f"    {key}: |", *(f"      {line}" if line else "" for line in text.splitlines())]
        if spec.queues:
            lines.append(f"    queues: {json.dumps({number: str(answer) for number, answer in spec.queues.items()})}")
        if spec.mtu:
            lines.append(f"    mtu: {json.dumps(spec.mtu)}")
    if scenario.links:
        links = [[":".join(one), ":".join(other)] for one, other in scenario.links]
        lines.append(f"links: {json.dumps(links)}")
    lines.append("steps:")
    for step in scenario.steps:
        if isinstance(step, AdvanceStep):
            lines.append(f"  - advance: {step.seconds:g}")
        elif isinstance(step, RunStep):
            lines.append(f"  - run: {{host: {step.host}, command: {json.dumps(step.command)}}}")
        else:
            way = f'into: "{step.host}:{step.dev}"' if step.dev else f"from: {step.host}"
            lines += [f"  # {step.title}", f'  - packet: {{{way}, hex: "{step.data.hex()}"}}']
    return "\n".join(lines) + "\n"

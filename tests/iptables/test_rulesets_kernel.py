"""The recorded rule sets are loaded by the real iptables, both kinds, and come back as they are."""

from pathlib import Path

import pytest

from netlab.datasets import DATASETS
from netlab.kernel.namespaces import KernelUnavailable
from tests.iptables import record

pytestmark = [pytest.mark.kernel, pytest.mark.needs("iptables", "iptables-nft", "iptables-legacy", "ipset")]

RULESETS = DATASETS / "rulesets"
NAMES = ("fail2ban", "firewalld", "libvirt", "shorewall", "ufw")


def tables(text: str) -> dict[str, list[str]]:
    """The lines of every table that says anything, without comments."""
    found: dict[str, list[str]] = {}
    for part in text.split("*")[1:]:
        name, *lines = [line for line in part.splitlines() if not line.startswith("#")]
        if any(line.startswith("-A") for line in lines):
            found[name] = lines
    return found


def files(variant: str) -> list[Path]:
    return [RULESETS / f"{name}{'' if variant == 'nft' else '.legacy'}.rules" for name in NAMES]


def test_all_of_them_are_known_here() -> None:
    assert {path.name.partition(".")[0] for path in RULESETS.glob("*.rules")} == set(NAMES)


@pytest.mark.parametrize("variant", record.VARIANTS)
def test_rulesets_come_back_the_same(variant: str) -> None:
    for path in files(variant):
        text, sets = path.read_text(encoding="utf-8"), RULESETS / f"{path.name.partition('.')[0]}.sets"
        try:
            with record.fresh_namespace():
                if sets.exists():
                    assert record.run(variant, ["ipset", "restore"], sets.read_text(encoding="utf-8")).status == 0
                loaded = record.run(variant, ["iptables-restore"], text)
                assert (loaded.status, loaded.stderr) == (0, ""), path.name
                printed = record.run(variant, ["iptables-save"]).stdout
        except KernelUnavailable as error:
            pytest.skip(str(error))
        assert len(tables(text)) > 0
        assert tables(printed) == tables(text), path.name

"""What the doctor says of this machine, and of ones that lack something."""

import os
import sys
from pathlib import Path

import pytest

from netlab.__main__ import main
from netlab.commands import doctor


def findings() -> dict[str, doctor.Finding]:
    return {finding.part: finding for check in doctor.CHECKS for finding in check()}


@pytest.mark.kernel
@pytest.mark.needs("nft")
def test_this_machine() -> None:
    found = findings()
    assert found["Python"].works
    assert found["ip"].works
    assert found["namespaces"].works == ("scenarios run on" in found["namespaces"].what)
    if found["namespaces"].works:
        for name in ("iptables-nft", "iptables-legacy", "ipset"):
            assert found[name].works or found[name].advice.startswith("apt install"), found[name]
    assert found["drop reasons"].works or os.geteuid()
    assert not found["LOG rules"].wanted


def test_what_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "SBIN", str(tmp_path))
    monkeypatch.setattr(doctor, "CHECKS", (doctor._browser, doctor._sandbox))
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "missing  browser" in said
    assert "apt install chromium" in said
    if sys.platform == "linux":
        assert "apt install bubblewrap" in said


def test_without_linux_it_says_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    (finding,) = doctor._kernel()
    assert not finding.works
    assert "simulator" in finding.advice


def test_a_note_is_no_complaint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    note = doctor.Finding("thing", False, "off", "leave it", wanted=False)
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([note]),))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "note     thing: off\n         leave it\n"

"""The benchmark of connection tracking runs, and its figures are what they have to be."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.conntrack import ALLOWED, BYTES_AN_ENTRY, measure

ROOT = Path(__file__).resolve().parent.parent


def test_the_benchmark_prints_a_row_for_each_size() -> None:
    command = [sys.executable, "-m", "benchmarks.conntrack", "--sizes", "100", "300", "--sample", "50"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = [line.split() for line in ran.stdout.splitlines()]
    assert [row[0] for row in rows[1:3]] == ["100", "300"]
    assert all(float(number) > 0 for row in rows[1:3] for number in row[1:3])
    assert "times the smallest size's" in ran.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_packet_costs_the_same_in_a_large_table_and_an_entry_is_small() -> None:
    first, last = measure([5_000, 200_000], 10_000)
    assert last.old <= ALLOWED * first.old and last.new <= ALLOWED * first.new
    assert last.octets <= BYTES_AN_ENTRY

"""Holes are told for exactly the versions that have them."""

import pytest

from keyring.advisories import ADVISORIES, Version, open_advisories, told


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ((2, 2, 35), "CVE-2022-34903 CVE-2025-30258 CVE-2025-68973"),
        ((2, 2, 40), "CVE-2025-30258 CVE-2025-68973"),
        ((2, 2, 51), "CVE-2025-30258"),
        ((2, 3, 6), "CVE-2022-34903 CVE-2025-30258 CVE-2025-68973"),
        ((2, 3, 7), "CVE-2025-30258 CVE-2025-68973"),
        ((2, 4, 7), "CVE-2025-30258 CVE-2025-68973"),
        ((2, 4, 8), "CVE-2025-68973"),
        ((2, 4, 9), ""),
        ((2, 5, 5), "CVE-2025-68973"),
        ((2, 5, 16), ""),
        ((2, 6, 0), ""),
    ],
)
def test_a_version_has_the_holes_that_its_branch_has_not_mended(version: Version, names: str) -> None:
    assert " ".join(each.name for each in open_advisories(version)) == names


def test_status_names_them_and_says_nothing_of_none() -> None:
    assert "known holes" in told((2, 2, 40))
    assert "CVE-2025-68973" in told((2, 2, 40))
    assert told((2, 6, 0)) == "2.6.0"
    assert len({each.name for each in ADVISORIES}) == len(ADVISORIES)

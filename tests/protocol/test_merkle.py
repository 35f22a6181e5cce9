"""The log's hashes and proofs are those of RFC 9162, and no proof passes for anything else."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import merkle

SIZES = st.integers(1, 130)
# The first eight leaves and roots of the test log that certificate transparency implementations share.
LEAVES = tuple(
    bytes.fromhex(item)
    for item in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
)
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def direct(leaves: tuple[bytes, ...]) -> bytes:
    """The definition of section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + direct(leaves[:split]) + direct(leaves[split:])).digest()


def reader(leaves: tuple[bytes, ...]) -> merkle.NodeReader:
    return lambda level, position: direct(leaves[position << level : position + 1 << level])


def numbered(size: int) -> tuple[bytes, ...]:
    return tuple(str(place).encode() for place in range(size))


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_agree_with_published_vectors(size: int) -> None:
    assert merkle.root_hash(size, reader(LEAVES)).hex() == ROOTS[size]
    assert direct(LEAVES[:size]).hex() == ROOTS[size]


def test_published_inclusion_and_consistency_paths() -> None:
    node = reader(LEAVES)
    assert [item.hex()[:8] for item in merkle.inclusion_path(5, 8, node)] == ["bc1a0643", "ca854ea1", "d37ee418"]
    assert [item.hex()[:8] for item in merkle.inclusion_path(2, 3, node)] == ["fac54203"]
    assert [item.hex()[:8] for item in merkle.consistency_path(6, 8, node)] == ["0ebc5d34", "ca854ea1", "d37ee418"]
    assert merkle.consistency_path(0, 8, node) == merkle.consistency_path(8, 8, node) == ()


@given(st.data(), SIZES)
def test_every_leaf_is_proved(data: st.DataObject, size: int) -> None:
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_path(index, size, reader(leaves))
    assert merkle.verify_inclusion(merkle.leaf_hash(leaves[index]), index, size, path, direct(leaves))


@given(st.data(), SIZES)
def test_every_prefix_is_proved(data: st.DataObject, size: int) -> None:
    leaves = numbered(size)
    older = data.draw(st.integers(0, size))
    path = merkle.consistency_path(older, size, reader(leaves))
    assert merkle.verify_consistency(older, size, direct(leaves[:older]), direct(leaves), path)


@given(st.data(), SIZES)
def test_trial_45_a_changed_inclusion_proof_fails(data: st.DataObject, size: int) -> None:
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_path(index, size, reader(leaves))
    leaf, root = merkle.leaf_hash(leaves[index]), direct(leaves)
    other = data.draw(st.integers(-1, size + 1).filter(lambda place: place != index))
    wrong = [
        (leaf, other, size, path, root),
        (leaf, index, size, (*path, leaf), root),
        (leaf, index, size, (*path, leaf), merkle.node_hash(leaf, root)),  # a path that goes on above the root
        (leaf, index, size, (*path, leaf), merkle.node_hash(root, leaf)),
        (leaves[index], index, size, path, root),
        (leaf, index, size, path, merkle.leaf_hash(root)),
    ]
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        wrong += [
            (leaf, index, size, path[:-1], root),
            (leaf, index, size, (*path[:place], merkle.leaf_hash(b"x"), *path[place + 1 :]), root),
            (path[0], index, size, (leaf, *path[1:]), root),  # leaf and sibling swapped
        ]
    for arguments in wrong:
        assert not merkle.verify_inclusion(*arguments)


@given(st.data(), SIZES)
def test_trial_46_a_changed_consistency_proof_fails(data: st.DataObject, size: int) -> None:
    leaves = numbered(size)
    older = data.draw(st.integers(1, size))
    path = merkle.consistency_path(older, size, reader(leaves))
    old, new = direct(leaves[:older]), direct(leaves)
    rewritten = direct((b"another", *leaves[1:older]))
    assert not merkle.verify_consistency(older, size, rewritten, new, path)
    assert not merkle.verify_consistency(older, size, old, merkle.leaf_hash(new), path)
    assert not merkle.verify_consistency(older, size, old, new, (*path, new))
    assert not merkle.verify_consistency(size + 1, size, old, new, path)
    if path:
        assert not merkle.verify_consistency(older, size, old, new, path[:-1])
        assert not merkle.verify_consistency(older, size, old, new, (merkle.leaf_hash(b"x"), *path[1:]))


def test_what_is_not_in_the_tree_has_no_path() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(IndexError):
            merkle.inclusion_path(index, size, reader(LEAVES))
    with pytest.raises(IndexError):
        merkle.consistency_path(4, 3, reader(LEAVES))

"""Counts and checksums of the published fold lists, without the lists themselves.

The lists come with STAViS's data and are under a different licence than this package, so users provide them; these
numbers show whether they are the same. Counts of frames are those of the lists. (The survey counts 78,167 frames
for DIEM and 52,744 for ETMD, which no list and no reader yields.)

The checksum of a set is the exclusive or of the SHA-256 digests of its names. Unlike a digest of the joined names it
does not depend on an order, and the checksums of two sets differ by exactly the digests of the videos that only one of
them has: `differing` finds these.
"""

import functools
import hashlib
import operator
from collections.abc import Iterable
from dataclasses import dataclass

# With n known names, a wrong result of `differing` has probability 2^(n - 256).
_MOST_NAMES = 160


@dataclass(frozen=True)
class Canonical:
    """A published set of videos.

    Attributes:
        videos: number of videos.
        frames: the sum of the numbers of frames that the list gives.
        checksum: of the names, 64 hexadecimal digits.
    """

    videos: int
    frames: int
    checksum: str


def checksum(names: Iterable[str]) -> str:
    """Computes the checksum of a set of different names."""
    return f"{functools.reduce(operator.xor, map(_digest, names), 0):064x}"


def differing(names: Iterable[str], canonical: Canonical, others: Iterable[str] = ()) -> frozenset[str] | None:
    """Finds the videos that only one of two sets has, by linear algebra over bits.

    Args:
        names: one set.
        canonical: the other set.
        others: known names outside the first set that may be in the other.

    Returns:
        The videos, both those of `names` and those that it lacks; None if one of them is not among the given names (or
        there are too many names to be certain).
    """
    names = list(names)
    at_hand = list(dict.fromkeys([*names, *others]))
    rest = int(checksum(names), 16) ^ int(canonical.checksum, 16)
    if rest and len(at_hand) > _MOST_NAMES:
        return None
    # Digests are reduced to rows with different leading bits; each row stores, as bits, which names it sums.
    rows: dict[int, tuple[int, int]] = {}
    for index, name in enumerate(at_hand):
        vector, members = _reduce(_digest(name), rows)
        if vector:
            rows[vector.bit_length()] = (vector, members ^ (1 << index))
    rest, members = _reduce(rest, rows)
    return None if rest else frozenset(name for index, name in enumerate(at_hand) if members >> index & 1)


def _reduce(vector: int, rows: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Returns the remainder of a vector after reduction by rows (none has its leading bit), and the summed names."""
    members = 0
    while vector and vector.bit_length() in rows:
        row, summed = rows[vector.bit_length()]
        vector ^= row
        members ^= summed
    return vector, members


@functools.cache
def _digest(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big")


# DIEM has one split, the others three.
CANONICAL = {
    "diem": {
        "train": Canonical(64, 209_045, "fd80986e16419e2b2adfa27246a2a71d7bacba3c03f1b4cfb7829f4710ce546d"),
        "test": Canonical(17, 27_414, "5b62bcaef14f63037879cff22e95366d920fe243a701368bef71016a45803c46"),
        "all": Canonical(81, 236_459, "a6e224c0e70efd2852a66d8068379170e9a3587fa4f0824458f39e2d554e682b"),
    },
    "avad": {
        "train_1": Canonical(30, 6_428, "07e7acefc2a904b02308d593e945b3c5c81f4b1c6b4e3bd6da856b379c6740b4"),
        "test_1": Canonical(15, 3_161, "ce3b6f6bcde4e5aee71e6e7b766d2e6f553286507b6baa5d5df9ae40c465ea46"),
        "train_2": Canonical(30, 6_369, "07ab91fe9a3c69f7386335d72cb856b671ede53704b8e31d8f1ea1da656e086a"),
        "test_2": Canonical(15, 3_220, "ce77527a957188e9fc758e3fb390cb1cecc0287b149d7296086264ad3d6ca298"),
        "train_3": Canonical(30, 6_509, "c1eb308c83ddc25710b40174b065aecc9f5f8206d4cfcb30eafc4f313ac3490e"),
        "test_3": Canonical(15, 3_080, "0837f3088c902349d4a2ba9c2f4d336602724f4ac4ea5abb6d808a4662c1e3fc"),
        "all": Canonical(45, 9_589, "c9dcc3840f4de11ec416bbe89f289daa9d2dcd4c1025918b877cc5775802aaf2"),
    },
    "coutrot1": {
        "train_1": Canonical(40, 16_913, "88c7f19c7d1e7c80f4a7fac9673c576c93b56168c471ff008b09929d9d54bb0b"),
        "test_1": Canonical(20, 8_279, "f9ed0333a92b6ca9ebfc4981e0aad76824d8da17b2440680a2a1d9d06aabaf0c"),
        "train_2": Canonical(40, 16_643, "f3456303a0a40295c51201d9d669deb401ebcdd1920b9dc04534a630acafcda1"),
        "test_2": Canonical(20, 8_549, "826f91ac749112bcda49b29151ff5eb0b68676aee43e64406c9ced7d5b50d9a6"),
        "train_3": Canonical(40, 16_828, "7b82929fddba7e1531b5fb10b15589d8925eacb9567a62c0ce3d34ad31fb76aa"),
        "test_3": Canonical(20, 8_364, "0aa86030098f6e3c2eee485836c309dc253317c6204f9b40e7957fe0c60462ad"),
        "all": Canonical(60, 25_192, "712af2afd43510291f5bb34887968004b76dbb7f7635f98029a84b4df7ff1407"),
    },
    "coutrot2": {
        "train_1": Canonical(10, 11_645, "3d1588c8b73fc111847bffe5f2bb108d9ffe69bf41dc1f2ea59042cd8f3b777b"),
        "test_1": Canonical(5, 5_338, "98375b8d562bb4bbe65a5f7cf03d15e77878bd3f8da579369774f5521bbaa4d7"),
        "train_2": Canonical(10, 11_545, "8673b3fff7d44cf6d6599ca37d342740d8dbf00d4b985144ff605a44615ecedb"),
        "test_2": Canonical(5, 5_438, "235160ba16c0395cb4783c3a7fb2222a3f5d248d87e1375ccd84eddbf5df1d77"),
        "train_3": Canonical(10, 10_776, "bb663b3740eb8de7522263468f8f37cd472599b20a444e6a5af01889ee65b9a0"),
        "test_3": Canonical(5, 6_207, "1e44e872a1fff84d3003c3df8d0932a7a0a34d32c63d28726814af167ae46a0c"),
        "all": Canonical(15, 16_983, "a522d345e11475aa6221a0990286056ae786d480cc79661832e4b79f9481d3ac"),
    },
    "summe": {
        "train_1": Canonical(17, 71_188, "fd007514875c68258ba1c6d2544512e73c985aed13114ce4eea1add0b4523cfe"),
        "test_1": Canonical(8, 38_600, "6f37ee684079a8747d3c60bdee178f8fb5c388f568b750cee25b3c7c871f9f14"),
        "train_2": Canonical(17, 73_871, "bd7c133734f255316523b30b5c6a924a4a077e7be58ca9c1265b16d116cbdf6b"),
        "test_2": Canonical(7, 34_167, "37ed5069303e92caff5f4a409143d2e8fe43c2c56e747751da4c3e35d48375db"),
        "train_3": Canonical(16, 74_517, "407c6623b3ae3d14ee8275d9082f80ad769f2496f69de525c8fabb01a299e395"),
        "test_3": Canonical(8, 33_051, "8638c6ec6672d3a714913bd3936c12995f4c81ecb4f8ba99cf7bc4aa1a492c64"),
        "all": Canonical(25, 109_788, "92379b7cc725c051f69da66fba529d68895bd2187ba61c2a0cfa91ac334da3ea"),
    },
    "etmd": {
        "train_1": Canonical(8, 40_727, "52381e3dc0dad2df32ccd73f8ef1762e9c3273fe86cd0fb1043bd3224e9b6016"),
        "test_1": Canonical(4, 20_941, "aa722c0d294bf238e99d0c97d27ce3579aa6c314c78692f2330bb8b860b1199e"),
        "train_2": Canonical(8, 41_265, "d6c8da305bba2944b0ab6673196f2fa59bec92d1af147337949d0b118b581d71"),
        "test_2": Canonical(4, 20_403, "2e82e800b22b09a36bfabddb45e2badc9d78223bee5fee74a3ad608ba57264f9"),
        "train_3": Canonical(8, 41_344, "84f0c40d9b60fb9b8267b14c979e598b07dee12f29d97c8690a6d833c5c37d67"),
        "test_3": Canonical(4, 20_324, "7cbaf63d72f1db7c59366ae4cb13ccf2014a51c56892e1c5a796b3a9ebe904ef"),
        "all": Canonical(12, 61_668, "f84a3230e99120e7db51dba85c8d95790694b0ea414b9d4337306b9a2e2a7988"),
    },
}

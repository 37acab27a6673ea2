"""PLINK files: every call is right, and broken files are refused before they do harm."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from chunkstore.errors import ChunkStoreError, InvalidArgumentError, MissingExtraError, StoreError
from dask_integration.plink import from_plink, open_plink, read_band

pytest.importorskip("bed_reader", reason="needs bed-reader")

CODE_OF_CALL = {2: 0b00, -1: 0b01, 1: 0b10, 0: 0b11}


def write_plink(stem: Path, calls: np.ndarray) -> None:
    """Write calls (variants, samples) as the three files, straight from the format's text."""
    n_variants, n_samples = calls.shape
    codes = np.full((n_variants, -(-n_samples // 4) * 4), 0, np.uint8)
    for call, code in CODE_OF_CALL.items():
        codes[:, :n_samples][calls == call] = code
    quads = codes.reshape(n_variants, -1, 4) << np.array([0, 2, 4, 6], np.uint8)
    packed = np.bitwise_or.reduce(quads, axis=2)
    stem.with_suffix(".bed").write_bytes(b"\x6c\x1b\x01" + packed.tobytes())
    stem.with_suffix(".fam").write_text(
        "".join(f"f{i // 2} s{i} 0 0 {i % 3} -9\n" for i in range(n_samples))
    )
    stem.with_suffix(".bim").write_text(
        "".join(f"{1 + i // 5}\trs{i}\t0.5\t{100 * i}\tA\tG\n" for i in range(n_variants))
    )


def random_calls(n_variants: int, n_samples: int) -> np.ndarray:
    rng = np.random.default_rng(n_variants + n_samples)
    return rng.choice(np.array([-1, 0, 1, 2], np.int8), size=(n_variants, n_samples))


@pytest.fixture
def fileset(tmp_path: Path) -> Path:
    """A small set of files, under a name with a dot."""
    stem = tmp_path / "study.v1.x"
    write_plink(stem, random_calls(23, 10))
    return stem.with_suffix("")


@pytest.mark.parametrize("n_samples", [1, 4, 5, 6, 7, 957])
@pytest.mark.parametrize("variants_per_block", [1, 7, 100])
def test_every_call_is_read(tmp_path: Path, n_samples: int, variants_per_block: int) -> None:
    """Blocks of any height hold the calls that were packed, for every padding of a line."""
    calls = random_calls(23, n_samples)
    write_plink(tmp_path / "x", calls)
    x = from_plink(open_plink(tmp_path / "x"), variants_per_block=variants_per_block)
    assert x.dtype == np.int8
    assert x.chunks[0][0] == min(variants_per_block, 23)
    np.testing.assert_array_equal(x.compute(scheduler="sync"), calls)


def test_tables_hold_the_columns(fileset: Path) -> None:
    """Sample and variant columns come in the order of their lines."""
    files = open_plink(fileset)
    assert (files.n_variants, files.n_samples) == (23, 10)
    assert files.family_id[:3] == ("f0", "f0", "f1")
    assert files.sample_id[-1] == "s9"
    assert files.variant_id[:2] == ("rs0", "rs1")
    assert files.chromosome[4:6] == ("1", "2")
    assert files.position.tolist()[:3] == [0, 100, 200]
    assert files.position.dtype == np.int32
    assert (files.allele_1[0], files.allele_2[0]) == ("A", "G")


def test_the_name_of_the_bed_file_is_taken_too(fileset: Path) -> None:
    """A user may complete the name in the shell down to ``.bed``."""
    assert open_plink(f"{fileset}.bed").bed == open_plink(fileset).bed


def test_a_band_is_contiguous_for_the_writer(fileset: Path) -> None:
    """A band comes in C order, so that encoding it copies nothing."""
    band = read_band(f"{fileset}.bed", (23, 10), 3, stop=9)
    assert band.shape == (6, 10)
    assert band.flags.c_contiguous


def test_real_files_agree_with_the_format(shared_data: Path) -> None:
    """HapMap's calls equal those unpacked here by the format's own table."""
    files = open_plink(shared_data / "hapmap3" / "hapmap3")
    packed = np.fromfile(files.bed, np.uint8)[3:].reshape(files.n_variants, -1)
    table = np.array([2, -1, 1, 0], np.int8)
    codes = (packed[:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    expected = table[codes.reshape(files.n_variants, -1)[:, : files.n_samples]]
    x = from_plink(files, variants_per_block=5000)
    np.testing.assert_array_equal(x.compute(scheduler="sync"), expected)
    assert (files.n_variants, files.n_samples) == (14389, 957)


@pytest.mark.parametrize("suffix", ["bed", "bim", "fam"])
def test_a_missing_file_is_named(fileset: Path, suffix: str) -> None:
    """The one file that is not there is in the message."""
    Path(f"{fileset}.{suffix}").unlink()
    with pytest.raises(StoreError, match=rf"\.{suffix} does not exist"):
        open_plink(fileset)


def test_a_wrong_prefix_is_told_as_such(tmp_path: Path) -> None:
    """With none of the three files, the message explains what a prefix is."""
    with pytest.raises(StoreError, match="common start of the three names"):
        open_plink(tmp_path / "nothing")


def test_plink_2_files_get_the_command_that_converts_them(tmp_path: Path) -> None:
    """A ``.pgen`` file under the prefix is recognised."""
    (tmp_path / "new.pgen").touch()
    with pytest.raises(StoreError, match=r"plink2 --pfile .*new --make-bed"):
        open_plink(tmp_path / "new")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b"\x00" + b[1:], "not a PLINK 1 .bed file.*6c 1b.*00 1b"),
        (lambda b: b"", "an empty file"),
        (lambda b: b[:2] + b"\x00" + b[3:], "variant-major.*--make-bed"),
        (lambda b: b[:-1], "truncated.*take 72 bytes, got 71"),
        (lambda b: b + b"\x00", "too long.*take 72 bytes, got 73"),
    ],
    ids=["magic", "empty", "individual-major", "truncated", "too long"],
)
def test_a_broken_bed_file_is_refused(fileset: Path, damage: object, message: str) -> None:
    """Header and length are checked before any call is read."""
    bed = Path(f"{fileset}.bed")
    bed.write_bytes(damage(bed.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InvalidArgumentError, match=message):
        open_plink(fileset)


@pytest.mark.parametrize(
    ("suffix", "line", "text", "message"),
    [
        ("bim", 4, "1 rs3 0 300 A", "bim, line 4: expected 6 columns, got 5"),
        ("bim", 2, "1 rs1 0 1e6 A G", "bim, line 2: expected a whole number.*'1e6'"),
        ("bim", 2, "1 rs1 0 3000000000 A G", "bim, line 2: base-pair position 3000000000"),
        ("fam", 10, "f s", "fam, line 10: expected 6 columns, got 2"),
        ("fam", 1, "", "fam, line 1: expected 6 columns, got 0"),
    ],
)
def test_a_broken_line_is_named(
    fileset: Path, suffix: str, line: int, text: str, message: str
) -> None:
    """A table that breaks its format is refused with the number of the line."""
    path = Path(f"{fileset}.{suffix}")
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidArgumentError, match=message):
        open_plink(fileset)


@pytest.mark.parametrize("suffix", ["bim", "fam"])
def test_a_lost_line_does_not_shift_the_calls(fileset: Path, suffix: str) -> None:
    """Tables that do not fit the calls are refused, never cut to fit."""
    path = Path(f"{fileset}.{suffix}")
    # Five samples fewer change the bytes of a line; one might hide in its padding.
    path.write_text("\n".join(path.read_text().splitlines()[:-5]))
    with pytest.raises(InvalidArgumentError, match=r"belongs to other \.bim and \.fam files"):
        open_plink(fileset)


@pytest.mark.parametrize(("suffix", "what"), [("bim", "variants"), ("fam", "samples")])
def test_an_empty_table_is_refused(fileset: Path, suffix: str, what: str) -> None:
    """There is no array without samples or variants."""
    Path(f"{fileset}.{suffix}").write_text("")
    with pytest.raises(InvalidArgumentError, match=f"lists no {what}"):
        open_plink(fileset)


def test_text_in_another_encoding_is_refused(fileset: Path) -> None:
    """Names are never mended by guessing an encoding."""
    Path(f"{fileset}.fam").write_bytes("f é 0 0 1 1\n".encode("latin-1"))
    with pytest.raises(InvalidArgumentError, match="UTF-8"):
        open_plink(fileset)


@pytest.mark.parametrize("change", ["cut", "remove"])
def test_a_file_that_changes_under_the_reader_is_an_error(fileset: Path, change: str) -> None:
    """A task that finds less than was promised fails; it never gives made-up calls."""
    x = from_plink(open_plink(fileset), variants_per_block=5)
    bed = Path(f"{fileset}.bed")
    if change == "cut":
        bed.write_bytes(bed.read_bytes()[:30])
    else:
        bed.unlink()
    with pytest.raises(StoreError, match=r"cannot read variants .*study\.v1\.bed"):
        x.compute(scheduler="sync")


def test_without_bed_reader_the_pip_command_is_named(
    fileset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing extra is told before any task runs."""
    monkeypatch.setitem(sys.modules, "bed_reader", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'chunkstore\[plink\]'"):
        from_plink(open_plink(fileset), variants_per_block=5)


def test_errors_are_chunkstore_errors() -> None:
    """The command line prints them without a traceback."""
    with pytest.raises(ChunkStoreError):
        open_plink("no/such/place")

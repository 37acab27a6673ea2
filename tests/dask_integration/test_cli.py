"""The job commands, from the arguments to what stands on disk and on the terminal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import cli
from dask_integration import pca_job
from dask_integration.genotypes import from_simulation, row_counts, write_genotypes
from dask_integration.simulate import Simulation, genotype_band

pytest.importorskip("rich", reason="needs rich")
pytest.importorskip("matplotlib", reason="needs matplotlib")

COMMANDS = [
    EntryPoint(name, f"dask_integration.cli:{name}_command", "chunkstore.commands")
    for name in ("import", "pca", "simulate")
]
"""As `pyproject.toml` declares them; the tests also run where nothing is installed."""

SIMULATED = ("--variants", "900", "--samples", "60", "--seed", "4", "--chunk-variants", "128")
SIMULATION = Simulation(n_variants=900, n_samples=60, missing_rate=0.01, seed=4)

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in an empty folder; gives the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "entry_points", lambda group: COMMANDS)
    return lambda *arguments: cli.main([str(argument) for argument in arguments])


@pytest.fixture
def simulated(run: Run) -> Path:
    """A store of simulated genotypes, with labels beside it."""
    code = run("simulate", "genotypes", "s.zarr", *SIMULATED, "--labels-out", "s.tsv", "--quiet")
    assert code == 0
    return Path("s.zarr")


def standardised(calls: np.ndarray, scale: str = "patterson") -> np.ndarray:
    """Standardise with numpy alone, row by row; a row without spread is 0."""
    known = calls != -1
    n = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, calls, 0).sum(axis=1, keepdims=True) / n
    centred = np.where(known, calls - mean, 0)
    spread = {
        "patterson": np.sqrt(mean / 2 * (1 - mean / 2)),
        "std": np.sqrt((centred**2).sum(axis=1, keepdims=True) / n),
        "none": np.ones_like(mean),
    }[scale]
    return centred / np.where(spread > 0, spread, np.inf)


def contents(folder: Path = Path()) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def errors(capsys: pytest.CaptureFixture[str]) -> str:
    """Give what was written to standard error, which is no traceback."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


# --- simulate and import ------------------------------------------------------------------------


def test_simulated_genotypes_are_stored_as_they_are(simulated: Path) -> None:
    """Values, chunks, names and the declared missing value are those of the layout."""
    group = cs.open_group(simulated, mode="r")
    genotypes = group["genotypes"]
    np.testing.assert_array_equal(genotypes[...], genotype_band(SIMULATION, 0, 900))
    assert genotypes.dtype == np.int8
    assert genotypes.chunks == (128, 60)
    assert genotypes.fill_value == -1
    assert genotypes.attrs["missing_value"] == -1
    assert genotypes.dimension_names == ("variants", "samples")
    assert group["sample_id"][:2].tolist() == ["S1", "S2"]
    assert group["variant_id"].shape == group["position"].shape == (900,)
    assert group["population"][[0, 59]].tolist() == ["P1", "P3"]
    assert group.attrs["seed"] == 4
    lines = Path("s.tsv").read_text().splitlines()
    assert lines[:2] == ["sample\tpopulation", "S1\tP1"]
    assert len(lines) == 61


def test_plink_files_become_a_group(run: Run, shared_data: Path) -> None:
    """Every name and a sample of the calls are those of the files; other programs read them."""
    prefix = shared_data / "hapmap3" / "hapmap3"
    assert run("import", "plink", prefix, "h.zarr", "--chunk-variants", "4096") == 0
    group = cs.open_group("h.zarr", mode="r")
    fam = [line.split() for line in Path(f"{prefix}.fam").read_text().splitlines()]
    bim = [line.split() for line in Path(f"{prefix}.bim").read_text().splitlines()]
    assert group["family_id"][...].tolist() == [row[0] for row in fam]
    assert group["sample_id"][...].tolist() == [row[1] for row in fam]
    for column, name in enumerate(("chromosome", "variant_id", None, None, "allele_1", "allele_2")):
        if name:
            assert group[name][...].tolist() == [row[column] for row in bim]
    assert group["position"][...].tolist() == [int(row[3]) for row in bim]
    genotypes = group["genotypes"]
    assert genotypes.shape == (14389, 957)
    assert genotypes.chunks == (4096, 957)
    assert genotypes.attrs["counted_allele"] == "allele_1"
    values, counts = np.unique(genotypes[...], return_counts=True)
    # Counted from the files with plink's own meaning of the two bits.
    expected = {-1: 21221, 0: 4771673, 1: 6131675, 2: 2845704}
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == expected


def test_other_programs_read_the_genotypes(simulated: Path) -> None:
    """zarr-python sees the same numbers, text and attributes."""
    zarr = pytest.importorskip("zarr", reason="needs zarr-python")
    group = zarr.open_group(str(simulated), mode="r")
    np.testing.assert_array_equal(group["genotypes"][...], genotype_band(SIMULATION, 0, 900))
    assert group["genotypes"].attrs["missing_value"] == -1
    assert [str(name) for name in group["sample_id"][:2]] == ["S1", "S2"]


def test_an_import_that_cannot_be_done_leaves_nothing(
    run: Run, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A truncated file is refused before anything is written."""
    prefix = shared_data / "hapmap3" / "hapmap3"
    for suffix in ("fam", "bim"):
        Path(f"h.{suffix}").write_bytes(Path(f"{prefix}.{suffix}").read_bytes())
    Path("h.bed").write_bytes(Path(f"{prefix}.bed").read_bytes()[:-1000])
    before = contents()
    assert run("import", "plink", "h", "h.zarr") == 1
    assert "h.bed: it is truncated" in errors(capsys)
    assert contents() == before


def test_a_nested_place_makes_the_groups_above_it(run: Run) -> None:
    """Every folder from the root of the hierarchy down is a group; the folder around it is not."""
    assert run("simulate", "genotypes", "a.zarr/b/c", *SIMULATED, "--quiet") == 0
    assert [name for name, _ in cs.open_group("a.zarr", mode="r").groups()] == ["b"]
    assert "c/genotypes" in cs.open_group("a.zarr/b", mode="r")
    assert not Path("zarr.json").exists()
    assert run("pca", "a.zarr/b/c", "a.zarr/b/pca", "--components", "2", "--quiet") == 0
    assert Path("a-b-pca.png").exists()
    assert not list(Path("a.zarr").rglob("*.png"))


# --- pca ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["patterson", "std", "none"])
def test_components_are_those_of_numpy(run: Run, simulated: Path, scale: str) -> None:
    """All that is written agrees with a dense decomposition of the same matrix."""
    assert run("pca", simulated, "out.zarr", "--components", "5", "--scale", scale) == 0
    y = standardised(genotype_band(SIMULATION, 0, 900), scale)
    u, s, v = np.linalg.svd(y, full_matrices=False)
    out = cs.open_group("out.zarr", mode="r")
    scores, loadings = out["scores"][...], out["loadings"][...]
    np.testing.assert_allclose(out["singular_values"][...], s[:5], rtol=1e-5)
    ratio = s[:5] ** 2 / (s**2).sum()
    np.testing.assert_allclose(out["explained_variance_ratio"][...], ratio, rtol=1e-5)
    assert (out["residuals"][...] < 1e-6).all()
    # Two populations more than one axis tell apart: the first two components are well defined.
    for i in range(2):
        sign = np.sign(scores[:, i] @ v[i])
        np.testing.assert_allclose(sign * scores[:, i], s[i] * v[i], atol=1e-4 * s[i])
        np.testing.assert_allclose(sign * loadings[:, i], u[:, i], atol=1e-4)
    np.testing.assert_allclose(loadings.T @ loadings, np.eye(5), atol=1e-5)


def test_the_result_tells_how_it_was_made(run: Run, simulated: Path) -> None:
    """Parameters are attributes, axes have names, samples keep theirs."""
    assert run("pca", simulated, "out.zarr", "--components", "2", "--no-plot") == 0
    out = cs.open_group("out.zarr", mode="r")
    attributes = out.attrs.asdict()
    assert attributes.pop("finished")
    assert attributes.pop("versions")["chunkstore"] == cs.__version__
    assert attributes == {
        "job": "pca",
        "source": "s.zarr",
        "array": "/genotypes",
        "samples_axis": 1,
        "n_samples": 60,
        "n_variants": 900,
        "components": 2,
        "scale": "patterson",
        "scaling": {
            "axis": 1,
            "center": True,
            "scale": "patterson",
            "ddof": 0,
            "ploidy": 2,
            "missing": -1,
            "impute": "mean",
        },
        "convention": "scikit-allel",
        "method": "gram",
        "tol": 1e-4,
        "passes": 1,
        "missing_value": -1,
    }
    assert out["mean"].shape == out["factor"].shape == (900,)
    assert out["scores"].dimension_names == ("samples", "components")
    assert out["loadings"].dimension_names == ("variants", "components")
    assert out["sample_id"][...].tolist() == [f"S{n}" for n in range(1, 61)]
    assert not Path("out.png").exists()


def test_either_axis_may_be_the_samples(run: Run, simulated: Path) -> None:
    """The transposed array gives the same components, whichever way its axis is named."""
    calls = genotype_band(SIMULATION, 0, 900)
    for place, names in (("t.zarr", ("samples", "variants")), ("u.zarr", None)):
        cs.create_array(place, data=calls.T, chunks=(60, 100), dimension_names=names)
    options = ("--components", "3", "--missing", "-1", "--no-plot", "--quiet")
    assert run("pca", simulated, "s-out", *options) == 0
    assert run("pca", "t.zarr", "t-out", *options) == 0
    assert run("pca", "t.zarr", "n-out", *options, "--samples-axis", "samples") == 0
    assert run("pca", "u.zarr", "u-out", *options, "--samples-axis", "0") == 0
    expected = cs.open_group("s-out", mode="r")
    for place in ("t-out", "n-out", "u-out"):
        got = cs.open_group(place, mode="r")
        assert got["scores"].shape == (60, 3)
        assert got["loadings"].shape == (900, 3)
        for name in ("singular_values", "explained_variance_ratio"):
            np.testing.assert_allclose(got[name][...], expected[name][...], rtol=1e-5)


def test_an_axis_that_is_not_clear_is_asked_for(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which axis is the samples is never guessed from the shape."""
    cs.create_array("x", data=np.zeros((4, 9)), dimension_names=("row", "column"))
    assert run("pca", "x", "out", "--components", "2") == 1
    assert "0 (row, 4 long) and 1 (column, 9 long)" in errors(capsys)
    assert run("pca", "x", "out", "--components", "2", "--samples-axis", "height") == 1
    assert "no axis 'height'" in errors(capsys)
    assert not Path("out").exists()


def test_constant_variants_do_no_harm(run: Run) -> None:
    """A variant without spread, or without any call, adds nothing and spreads no NaN."""
    calls = genotype_band(SIMULATION, 0, 900)
    calls[10:20] = 2
    calls[20:30] = -1
    names = ("variants", "samples")
    cs.create_array("x", data=calls, chunks=(100, 60), dimension_names=names)
    assert run("pca", "x", "out", "--components", "4", "--missing", "-1", "--quiet") == 0
    out = cs.open_group("out", mode="r")
    s = np.linalg.svd(standardised(calls), compute_uv=False)[:4]
    np.testing.assert_allclose(out["singular_values"][...], s, rtol=1e-5)
    assert (out["loadings"][10:30] == 0).all()
    assert np.isfinite(out["scores"][...]).all()


def test_the_table_and_the_paths_are_printed(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output has the table and what was written; a pipe gets no moving bar."""
    capsys.readouterr()
    assert run("pca", simulated, "out.zarr", "--components", "3", "--labels", "s.tsv") == 0
    captured = capsys.readouterr()
    assert captured.out.count("%") == 6
    for text in ("singular value", "residual", "results  out.zarr", "picture  out.png"):
        assert text in captured.out
    passes, loadings = captured.err.splitlines()
    assert re.fullmatch(r"pass 1, gram: \d+ tasks in \S+ s, \d+ MB/s, residual \S+", passes)
    assert re.fullmatch(r"loadings: \d+ tasks in \S+ s, \d+ MB/s", loadings)
    assert "\x1b" not in captured.out + captured.err
    assert Path("out.png").read_bytes().startswith(b"\x89PNG")


def test_components_that_have_not_converged_are_told(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where passes are too few, noise is not passed off as structure."""
    options = ("--components", "3", "--quiet", "--no-plot")
    assert run("pca", simulated, "out", *options, "--method", "krylov", "--max-passes", "3") == 0
    residuals = cs.open_array("out/residuals", mode="r")[...]
    rough = [str(number) for number, value in enumerate(residuals, 1) if value > 1e-4]
    assert "3" in rough
    assert f"above 0.0001 and are only approximate: {', '.join(rough)}. More" in errors(capsys)
    assert run("pca", simulated, "found", *options, "--method", "krylov") == 0
    assert (cs.open_array("found/residuals", mode="r")[...] <= 1e-4).all()
    assert errors(capsys) == ""
    assert cs.open_group("found", mode="r").attrs["passes"] > 3


def test_quiet_prints_nothing(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither to standard output nor to standard error."""
    capsys.readouterr()
    assert run("pca", simulated, "out", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("cluster", ["local"])
def test_a_cluster_gives_the_same_result(run: Run, simulated: Path, cluster: str) -> None:
    """Processes instead of threads change nothing that is stored."""
    options = ("--components", "3", "--no-plot", "--quiet")
    assert run("pca", simulated, "threads", *options) == 0
    assert run("pca", simulated, "cluster", *options, "--cluster", cluster) == 0
    threads, processes = (cs.open_group(place, mode="r") for place in ("threads", "cluster"))
    for name, array in threads.arrays():
        if name == "sample_id":
            assert (array[...] == processes[name][...]).all()
        else:
            np.testing.assert_allclose(array[...], processes[name][...], rtol=1e-5, atol=1e-5)


def test_each_chunk_is_read_twice(
    run: Run, simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for the singular values, once for the loadings, statistics and residuals together."""
    rows: Counter[int] = Counter()
    read = cs.Array.read

    def counting(array: cs.Array, selection: Any = ..., **options: Any) -> Any:
        if array.path == "genotypes":
            rows.update(range(*selection[0].indices(900)))
        return read(array, selection, **options)

    monkeypatch.setattr(cs.Array, "read", counting)
    # Several blocks, as there are of data that is worth the name.
    monkeypatch.setattr(pca_job, "from_store", partial(pca_job.from_store, chunks="storage"))
    assert run("pca", simulated, "out", "--components", "2", "--quiet") == 0
    assert sorted(rows) == list(range(900))
    assert set(rows.values()) == {2}


# --- labels and the picture ---------------------------------------------------------------------


def test_samples_without_a_label_are_told(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A warning counts both kinds of mismatch; the picture is drawn all the same."""
    Path("half.tsv").write_text("sample\tpopulation\nS1\tA\nS2\tB\nX\tC\n")
    assert run("pca", simulated, "out", "--labels", "half.tsv") == 0
    text = errors(capsys)
    assert "58 of 60 samples have no label" in text
    assert "1 labels belong to none" in text
    assert Path("out.png").exists()


def test_labels_need_sample_names(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels are matched by name, never by order."""
    cs.create_array("x", data=np.eye(5), dimension_names=("variants", "samples"))
    assert run("pca", "x", "out", "--components", "2", "--labels", "s.tsv") == 1
    assert "no array sample_id" in errors(capsys)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        ("matplotlib.figure", (), "or pass --no-plot"),
        ("rich.table", (), "or pass --quiet"),
    ],
)
def test_missing_extras_are_told_before_the_work(
    run: Run,
    simulated: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str,
    options: tuple[str, ...],
    message: str,
) -> None:
    """The message names the pip command, and a way to do without."""
    monkeypatch.setitem(sys.modules, module, None)
    assert run("pca", simulated, "out", *options) == 1
    text = errors(capsys)
    assert "pip install 'chunkstore[cli]'" in text
    assert message in text
    assert not Path("out").exists()
    assert run("pca", simulated, "out", "--quiet", "--no-plot") == 0


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", "out"), "cannot open nothing: it does not exist"),
        (("s.tsv", "out"), "cannot open s.tsv: it is a file"),
        ((".", "out"), "Did you mean one inside it: s.zarr?"),
        (("s.zarr/position", "out"), "expected an array of two axes"),
        (("s.zarr", "out", "--components", "61"), "has at most 60. Ask for 1 to 60"),
        (("s.zarr", "out", "--components", "0"), "Ask for 1 to 60"),
        (("s.zarr", "s.zarr"), "the input s.zarr is that place"),
        (("s.zarr/genotypes", "s.zarr", "--overwrite"), "is inside it"),
        (("s.zarr", "s.zarr/genotypes/pca"), "is an array, and an array has no members"),
        (("s.zarr", "s.zarr/sample_id", "--overwrite"), "cannot overwrite s.zarr/sample_id"),
        (("s.zarr", "out", "--labels", "absent.tsv"), "cannot read labels absent.tsv"),
        (("s.zarr", "out", "--plot", "no/where.png"), "there is no folder no"),
        (("s.zarr", "out", "--plot", "s.tsv"), "cannot write s.tsv: it exists"),
        (("s.zarr", "out", "--components", "1", "--plot", "x.png"), "a picture takes two"),
        (("s.zarr", "out", "--missing", "none"), "expected diploid dosages from 0 to 2, got -1"),
        (("s.zarr", "out", "--memory", "1 MB"), "Allow as much, compute with fewer threads"),
        (("s.zarr", "out", "--tol", "0"), "tol=0.0: expected between 0 and 1"),
        (("s.zarr", "out", "--max-passes", "0"), "max_passes=0: expected 1 or more"),
        (("s.zarr", "out", "--cluster", "nowhere"), "expected none, local or the address"),
        (("s.zarr", "out", "--workers", "0"), "cannot start 0 workers"),
        (("s3://bucket/s.zarr", "out"), "jobs work on folders, not on s3://"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_touched(
    run: Run,
    simulated: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """Each refusal says what is wrong, and leaves every file as it was."""
    before = contents()
    assert run("pca", *arguments) == 1
    assert message in errors(capsys)
    assert contents() == before


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ('{"zarr_format": 4, "node_type": "array"}', "newer than this version"),
        ('{"zarr_format": 3', "not JSON"),
    ],
)
def test_a_broken_store_is_told_with_its_document(
    run: Run,
    simulated: Path,
    capsys: pytest.CaptureFixture[str],
    document: str,
    message: str,
) -> None:
    """A store of a newer format, or a damaged one, is named by the document at fault."""
    (simulated / "genotypes" / "zarr.json").write_text(document)
    assert run("pca", simulated, "out") == 1
    text = errors(capsys)
    assert message in text
    assert "genotypes/zarr.json" in text


@pytest.mark.parametrize("cluster", ["none", "local"])
def test_a_corrupt_chunk_is_named_and_leaves_nothing(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str], cluster: str
) -> None:
    """The key of the chunk is in the message, wherever the task ran."""
    chunk = simulated / "genotypes" / "c" / "3" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    before = contents()
    assert run("pca", simulated, "out", "--cluster", cluster) == 1
    assert "'genotypes/c/3/0'" in errors(capsys)
    assert contents() == before


def test_a_lost_chunk_is_not_taken_for_missing_calls(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A chunk that is not there is an error, unless the user says what it means."""
    (simulated / "genotypes" / "c" / "3" / "0").unlink()
    assert run("pca", simulated, "out") == 1
    text = errors(capsys)
    assert "'genotypes/c/3/0'" in text
    assert "--missing-chunks fill" in text
    assert run("pca", simulated, "out", "--missing-chunks", "fill") == 0
    assert (cs.open_array("out/loadings", mode="r")[3 * 128 : 4 * 128] == 0).all()


def test_a_chunk_without_any_call_is_not_lost(run: Run) -> None:
    """What the commands write stores every chunk, also one that is all fill value."""
    options = ("--variants", "256", "--samples", "5", "--chunk-variants", "64")
    assert run("simulate", "genotypes", "s.zarr", *options, "--missing-rate", "0.9999") == 0
    assert run("pca", "s.zarr", "out", "--components", "2", "--quiet") == 0


# --- what is there already ----------------------------------------------------------------------


def test_an_existing_result_is_only_replaced_when_asked(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --overwrite nothing happens; with it, the new result takes the place."""
    assert run("pca", simulated, "out", "--components", "2") == 0
    before = contents()
    assert run("pca", simulated, "out", "--components", "3") == 1
    assert "--overwrite" in errors(capsys)
    assert run("simulate", "genotypes", "s.zarr", "--samples", "5") == 1
    assert contents() == before
    assert run("pca", simulated, "out", "--components", "3", "--overwrite") == 0
    assert cs.open_array("out/scores", mode="r").shape == (60, 3)


def test_a_failed_job_keeps_the_older_result(run: Run, simulated: Path) -> None:
    """What was there stays, to the byte, when the job that was to replace it fails."""
    assert run("pca", simulated, "out", "--components", "2") == 0
    chunk = simulated / "genotypes" / "c" / "5" / "0"
    chunk.write_bytes(b"damaged")
    before = contents()
    assert run("pca", simulated, "out", "--overwrite") == 1
    assert contents() == before


def test_a_group_that_holds_more_is_not_replaced(
    run: Run, simulated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--overwrite deletes results of the same kind and nothing else."""
    assert run("pca", simulated, "out", "--components", "2", "--quiet") == 0
    cs.create_array("out/mine", data=np.arange(3))
    before = contents()
    assert run("pca", simulated, "out", "--overwrite") == 1
    assert "it would delete mine" in errors(capsys)
    assert run("pca", "out", "s.zarr", "--overwrite", "--samples-axis", "0") == 1
    assert contents() == before


# --- interrupts ---------------------------------------------------------------------------------

SCRIPT = """
import sys
from importlib.metadata import EntryPoint
from chunkstore import cli
cli.entry_points = lambda group: [
    EntryPoint(name, f"dask_integration.cli:{name}_command", group)
    for name in ("import", "pca", "simulate")
]
if __name__ == "__main__":
    sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose components take some seconds to find."""
    folder = tmp_path_factory.mktemp("large")
    simulation = Simulation(n_variants=60_000, n_samples=600, missing_rate=0.01)
    per_chunk, per_block = row_counts(60_000, 600)
    write_genotypes(
        folder,
        from_simulation(simulation, variants_per_block=per_block),
        variants_per_chunk=per_chunk,
        columns={},
        attributes={},
    )
    return folder


@pytest.fixture
def running(run: Run, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command as a process of its own, and wait until it works on its result."""
    Path("command.py").write_text(SCRIPT)
    root = Path(__file__).resolve().parents[2]
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "command.py", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        while process.poll() is None and not list(Path().glob("__chunkstore-partial-*")):
            time.sleep(0.01)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("cluster", ["none", "local"])
def test_ctrl_c_leaves_nothing_behind(
    large: Path, running: Callable[..., subprocess.Popen[str]], cluster: str
) -> None:
    """An interrupt ends with code 130; on disk are only the passes that were complete, if any."""
    before = contents()
    process = running("pca", large, "out", "--cluster", cluster)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    # The lines before it are those of passes that were complete.
    assert err.splitlines()[-1].startswith("interrupted")
    assert without_passes() == before


def test_a_job_that_is_told_to_end_leaves_nothing_behind(
    large: Path, running: Callable[..., subprocess.Popen[str]]
) -> None:
    """A batch system that stops the job cleans up as Ctrl-C does."""
    before = contents()
    process = running("pca", large, "out")
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert out == ""
    assert "error" not in err
    assert without_passes() == before


def without_passes() -> dict[str, bytes]:
    """Give all files but those from which a later run may go on."""
    found = contents()
    return {name: value for name, value in found.items() if "__chunkstore-passes-" not in name}


def test_what_a_killed_job_leaves_is_no_result(
    run: Run,
    large: Path,
    running: Callable[..., subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After a kill nothing has the name of the result; the next run mentions the rest and works."""
    process = running("pca", large, "out")
    time.sleep(0.3)
    process.kill()
    process.wait()
    assert not Path("out").exists()
    (left,) = Path().glob("__chunkstore-partial-*")
    with pytest.raises(cs.errors.NodeNotFoundError):
        cs.open(left)
    # Whether a pass was complete by then is chance.
    shutil.rmtree("__chunkstore-passes-out", ignore_errors=True)
    capsys.readouterr()
    assert run("simulate", "genotypes", "small", *SIMULATED, "--quiet") == 0
    assert run("pca", "small", "out", "--components", "2", "--no-plot") == 0
    assert str(left) in errors(capsys)


def test_a_killed_job_goes_on_from_its_last_pass(
    run: Run,
    large: Path,
    running: Callable[..., subprocess.Popen[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After a kill -9 the passes that were complete are not made again; the result is the same."""
    options = ("--components", "3", "--method", "krylov", "--tol", "0.01", "--no-plot")
    process = running("pca", large, "out", *options)
    checkpoint = Path("__chunkstore-passes-out")
    document = checkpoint / "zarr.json"
    while process.poll() is None and not (document.is_file() and "pass" in document.read_text()):
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert run("pca", large, "out", *options) == 1
    assert "Pass --resume to go on from there, or delete it" in errors(capsys)
    assert run("pca", large, "out", *options, "--resume", "--components", "5") == 1
    assert "of a job with components 3" in errors(capsys)
    assert run("pca", large, "out", *options, "--resume") == 0
    assert "pass 1," not in errors(capsys)
    assert not checkpoint.exists()
    assert run("pca", large, "whole", *options, "--quiet") == 0
    resumed, whole = (cs.open_group(place, mode="r") for place in ("out", "whole"))
    assert resumed.attrs["passes"] == whole.attrs["passes"]
    for name in ("singular_values", "scores", "loadings"):
        np.testing.assert_array_equal(resumed[name][...], whole[name][...])

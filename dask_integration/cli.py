"""The job commands: ``chunkstore import``, ``simulate`` and ``pca``.

Floor 8. Loaded by ``chunkstore.cli`` through the entry-point group ``chunkstore.commands``. Only
what a person at a terminal needs is here: arguments, where to run, progress, the report. The jobs
are in their own modules. Each command settles all it can refuse before it starts anything, and
its result appears under its name only when it is complete (see ``staging``).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeAlias, get_args

from dask.utils import format_bytes, parse_bytes

from chunkstore.errors import (
    InvalidArgumentError,
    NodeExistsError,
    NodeNotFoundError,
)
from dask_integration import genotypes, pca_job
from dask_integration.clusters import connect, require_visible
from dask_integration.interrupts import ended_in_order
from dask_integration.labels import match_labels, read_labels, write_labels
from dask_integration.passes import Pass
from dask_integration.pca import Convention
from dask_integration.places import (
    check_parents,
    hierarchy_root,
    local_place,
    make_parent_groups,
)
from dask_integration.plink import from_plink, open_plink
from dask_integration.plot import require_plotting, scree_and_scatter
from dask_integration.progress import PhaseStarter, progress
from dask_integration.report import print_components, require_tables
from dask_integration.simulate import Simulation
from dask_integration.staging import (
    check_destination,
    check_file,
    checkpoint_place,
    keep_apart,
    leftovers,
    staged,
    staged_file,
)
from dask_integration.svd_plan import SVDMethod

__all__ = ["import_command", "pca_command", "simulate_command"]

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_PLACE = "a folder, or a path in the hierarchy of one: STORE or STORE/path"


def import_command(subparsers: Subparsers) -> None:
    """Add ``import`` with its formats to the commands."""
    what = "turn files of another format into a group of arrays"
    parser = subparsers.add_parser("import", help=what, description=f"{what.capitalize()}.")
    formats = parser.add_subparsers(title="formats", metavar="FORMAT", required=True)
    plink = formats.add_parser(
        "plink",
        help="PLINK 1 genotypes: PREFIX.bed, PREFIX.bim and PREFIX.fam",
        description="Import PLINK 1 genotypes (PREFIX.bed, PREFIX.bim, PREFIX.fam) as a group: "
        "the int8 array 'genotypes' (variants, samples) counts copies of allele 1, with -1 for a "
        "missing call; beside it are arrays of names and positions. The calls are read in bands, "
        "so the memory needed does not grow with the files.",
    )
    plink.add_argument("prefix", metavar="PREFIX", help="common start of the three file names")
    plink.add_argument("store", metavar="STORE", help=f"the group to make: {_PLACE}")
    _add_chunk_option(plink)
    _add_job_options(plink)
    plink.set_defaults(run=_import_plink)


def simulate_command(subparsers: Subparsers) -> None:
    """Add ``simulate`` with its kinds of data to the commands."""
    what = "make data of known structure, for trials and benchmarks"
    parser = subparsers.add_parser("simulate", help=what, description=f"{what.capitalize()}.")
    kinds = parser.add_subparsers(title="kinds of data", metavar="KIND", required=True)
    command = kinds.add_parser(
        "genotypes",
        help="genotypes of populations that drifted apart (Balding and Nichols 1995)",
        description="Simulate genotypes of populations that drifted apart (Balding and Nichols "
        "1995) as a group like the one that 'import plink' makes, with the population of each "
        "sample in addition. The same parameters always give the same data.",
    )
    command.add_argument("store", metavar="STORE", help=f"the group to make: {_PLACE}")
    add = command.add_argument
    add("--variants", type=int, default=10_000, metavar="N", help="default %(default)s")
    add("--samples", type=int, default=1_000, metavar="N", help="default %(default)s")
    add("--populations", type=int, default=3, metavar="N", help="default %(default)s")
    add("--fst", type=float, default=0.1, metavar="F",
        help="drift of each population from the common ancestor (default %(default)s)")  # fmt: skip
    add("--missing-rate", type=float, default=0.01, metavar="R",
        help="chance that a call is missing (default %(default)s)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="default %(default)s")
    add("--labels-out", metavar="FILE.tsv",
        help="also write each sample's population to a file for 'pca --labels'")  # fmt: skip
    _add_chunk_option(command)
    _add_job_options(command)
    command.set_defaults(run=_simulate_genotypes)


def pca_command(subparsers: Subparsers) -> None:
    """Add ``pca`` to the commands."""
    parser = subparsers.add_parser(
        "pca",
        help="principal components of an array larger than memory",
        description="Find the leading principal components of an array of two axes, such as "
        "genotypes, and write them as a group: scores, loadings, singular_values, "
        "explained_variance_ratio, residuals and what it takes to project further samples. Prints "
        "a table and draws the samples in the plane of the first two components. A run that was "
        "killed goes on from its last pass with --resume.",
    )
    add = parser.add_argument
    add("source", metavar="STORE", help="an array, or a group with one: STORE or STORE/path")
    add("out", metavar="OUT", help=f"the group to make: {_PLACE}")
    add("--components", type=int, default=20, metavar="K",
        help="components to find (default %(default)s)")  # fmt: skip
    add("--scale", choices=("patterson", "std", "none"), default="patterson",
        help="what the centred values of each variant are divided by: sqrt(p(1-p)) with p = "
        "mean/2, for genotypes; the standard deviation; nothing (default %(default)s)")  # fmt: skip
    add("--convention", choices=get_args(Convention), default="scikit-allel",
        help="whose explained variances and loadings to write (default %(default)s)")  # fmt: skip
    add("--method", choices=get_args(SVDMethod), default="auto",
        help="gram: exact, one pass, where a square matrix of the smaller side fits; krylov: as "
        "many passes as the tolerance takes (default %(default)s)")  # fmt: skip
    add("--tol", type=float, default=1e-4, metavar="T",
        help="residual at which a component counts as found (default %(default)s)")  # fmt: skip
    add("--max-passes", type=int, default=30, metavar="N",
        help="passes of krylov at most (default %(default)s)")  # fmt: skip
    add("--memory", type=_bytes, metavar="SIZE",
        help='what one process may take in all, such as "2 GB"; method and basis are chosen to '
        "fit (default: no limit)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N",
        help="start of krylov's random vectors (default %(default)s)")  # fmt: skip
    add("--resume", action="store_true",
        help="go on from the last pass of a run of the same job that was killed")  # fmt: skip
    add("--samples-axis", type=_axis, metavar="AXIS",
        help="name or number of the axis of samples (default: the one named samples)")  # fmt: skip
    add("--missing", type=_missing, default="declared", metavar="VALUE",
        help="value that stands for a missing one; none if there are none; or declared: the "
        "array's attribute missing_value (default %(default)s)")  # fmt: skip
    add("--missing-chunks", choices=("error", "fill"), default="error",
        help="a chunk that is not stored: was lost, or stands for the fill value (default "
        "%(default)s)")  # fmt: skip
    add("--labels", metavar="FILE.tsv",
        help="population of each sample, for the colours: a line of headings 'sample' and "
        "'population', separated by tabs")  # fmt: skip
    picture = parser.add_mutually_exclusive_group()
    picture.add_argument("--plot", metavar="FILE.png", help="the picture (default: beside OUT)")
    picture.add_argument("--no-plot", action="store_true", help="draw no picture")
    _add_job_options(parser)
    parser.set_defaults(run=_pca)


def _add_chunk_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--chunk-variants", type=int, metavar="N",
        help="variants in a chunk; all samples always are (default: chunks of up to 2 MiB)",
    )  # fmt: skip


def _add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add what all jobs understand."""
    add = parser.add_argument
    add("--overwrite", action="store_true",
        help="replace an older result, once the new one is complete")  # fmt: skip
    add("--cluster", default="none", metavar="WHERE",
        help="none: threads of this process; local: processes of this machine; or the address of "
        "a dask scheduler (default %(default)s)")  # fmt: skip
    add("--workers", type=int, metavar="N",
        help="threads or processes to use (default: one a processor)")  # fmt: skip
    add("--quiet", action="store_true", help="print nothing but errors and warnings")


def _axis(text: str) -> str | int:
    return int(text) if text in ("0", "1") else text


def _bytes(text: str) -> int:
    return int(parse_bytes(text))


def _missing(text: str) -> float | str | None:
    if text == "declared":
        return text
    return None if text == "none" else float(text)


# --- the jobs ---------------------------------------------------------------------------------


def _import_plink(arguments: argparse.Namespace) -> int:
    """Run ``import plink``."""
    started = time.monotonic()
    place = local_place(arguments.store)
    _check(place, arguments, genotypes.MEMBERS)
    files = open_plink(local_place(arguments.prefix))
    per_chunk, per_block = genotypes.row_counts(
        files.n_variants, files.n_samples, per_chunk=arguments.chunk_variants
    )
    calls = from_plink(files, variants_per_block=per_block)
    columns = {name: getattr(files, name) for name in genotypes.MEMBERS if hasattr(files, name)}
    job = _job(place, arguments, members=genotypes.MEMBERS, inputs=[Path(files.bed)])
    with job as (folder, phase), phase("import"):
        genotypes.write_genotypes(
            folder,
            calls,
            variants_per_chunk=per_chunk,
            columns=columns,
            attributes={"job": "import plink", "source": arguments.prefix},
        )
    _say_written(arguments, place, calls.shape, started)
    return 0


def _simulate_genotypes(arguments: argparse.Namespace) -> int:
    """Run ``simulate genotypes``."""
    started = time.monotonic()
    place = local_place(arguments.store)
    simulation = Simulation(
        n_variants=arguments.variants,
        n_samples=arguments.samples,
        n_populations=arguments.populations,
        fst=arguments.fst,
        missing_rate=arguments.missing_rate,
        seed=arguments.seed,
    )
    labels_out = local_place(arguments.labels_out) if arguments.labels_out else None
    _check(place, arguments, genotypes.MEMBERS)
    if labels_out is not None:
        check_file(labels_out, overwrite=arguments.overwrite)
    per_chunk, per_block = genotypes.row_counts(
        simulation.n_variants, simulation.n_samples, per_chunk=arguments.chunk_variants
    )
    calls = genotypes.from_simulation(simulation, variants_per_block=per_block)
    columns = genotypes.simulated_columns(simulation)
    with (
        _job(place, arguments, members=genotypes.MEMBERS) as (folder, phase),
        phase("simulate"),
    ):
        genotypes.write_genotypes(
            folder,
            calls,
            variants_per_chunk=per_chunk,
            columns=columns,
            attributes={"job": "simulate genotypes", **asdict(simulation)},
        )
    _say_written(arguments, place, calls.shape, started)
    if labels_out is not None:
        with staged_file(labels_out) as file:
            write_labels(file, zip(columns["sample_id"], columns["population"], strict=True))
        _say(arguments, f"labels   {labels_out}")
    return 0


def _pca(arguments: argparse.Namespace) -> int:
    """Run ``pca``."""
    started = time.monotonic()
    source, out = local_place(arguments.source), local_place(arguments.out)
    plan = pca_job.plan_pca(
        str(source),
        n_components=arguments.components,
        scale=None if arguments.scale == "none" else arguments.scale,
        samples_axis=arguments.samples_axis,
        missing=arguments.missing,
        missing_chunks=arguments.missing_chunks,
        convention=arguments.convention,
        options={
            name: getattr(arguments, name)
            for name in ("method", "tol", "max_passes", "memory", "seed")
        },
    )
    keep_apart(source, out)
    _check(out, arguments, pca_job.MEMBERS)
    checkpoint = _checkpoint(out, arguments)
    picture = _picture(out, arguments)
    if picture is not None:
        check_file(picture, overwrite=arguments.overwrite)
    labels = _labels(plan, arguments)
    with (
        _kept(checkpoint),
        _job(out, arguments, members=pca_job.MEMBERS, inputs=[source]) as (folder, phase),
    ):
        result = pca_job.run_pca(
            plan,
            folder,
            checkpoint=checkpoint,
            watch=partial(_watched, phase),
            writing=partial(phase, "loadings"),
        )
    shutil.rmtree(checkpoint, ignore_errors=True)
    what = f"{plan.n_samples:,} samples, {plan.n_variants:,} variants"
    if not arguments.quiet:
        print_components(result.singular_values, result.explained_variance_ratio, result.residuals)
    _warn_of_residuals(result.residuals.tolist(), tol=arguments.tol)
    _say(arguments, f"results  {out}  ({what}, {time.monotonic() - started:.1f} s)")
    if picture is not None:
        scree_and_scatter(
            picture,
            result.scores,
            explained=result.explained_variance_ratio.tolist(),
            labels=labels,
            title=f"{source.name}: {what}",
        )
        _say(arguments, f"picture  {picture}")
    return 0


@contextmanager
def _job(
    place: Path,
    arguments: argparse.Namespace,
    *,
    members: Collection[str],
    inputs: Sequence[Path] = (),
) -> Iterator[tuple[Path, PhaseStarter]]:
    """Give a folder that becomes `place` when the job is done, and the means to show progress.

    The cluster ends before the folder takes its name or goes: then no task writes to it any more.
    """
    with (
        ended_in_order(),
        staged(place, overwrite=arguments.overwrite, members=members) as folder,
        connect(arguments.cluster, n_workers=arguments.workers) as client,
        progress(client, quiet=arguments.quiet) as phase,
    ):
        for path in (*inputs, folder):
            require_visible(client, str(path))
        yield folder, phase
    make_parent_groups(place)


def _check(place: Path, arguments: argparse.Namespace, members: Collection[str]) -> None:
    """Refuse what can be refused before the work; mention what killed runs left."""
    if not arguments.quiet:
        require_tables()
    check_destination(place, overwrite=arguments.overwrite, members=members)
    check_parents(place)
    for left in leftovers(place):
        print(
            f"note: a run that was killed, or still goes on, left {left}; delete it if it is over",
            file=sys.stderr,
        )


def _picture(out: Path, arguments: argparse.Namespace) -> Path | None:
    """Choose where the picture goes: beside the hierarchy that OUT is in, never inside it."""
    if arguments.no_plot:
        return None
    if arguments.components < 2:
        if arguments.plot:
            raise InvalidArgumentError("cannot draw --components 1: a picture takes two")
        return None
    require_plotting()
    if arguments.plot:
        return local_place(arguments.plot)
    root = hierarchy_root(out)
    inside = out.absolute().relative_to(root.absolute()).parts
    return root.with_name("-".join((root.stem, *inside)) + ".png")


def _labels(plan: pca_job.PcaPlan, arguments: argparse.Namespace) -> tuple[str | None, ...] | None:
    """Read the labels and bring them into the order of the samples."""
    if arguments.labels is None:
        return None
    names = pca_job.sample_names(plan)
    if names is None:
        raise NodeNotFoundError(
            f"cannot use labels: beside the array of {plan.source} is no array sample_id with "
            f"the names of its {plan.n_samples} samples"
        )
    matched = match_labels(read_labels(local_place(arguments.labels)), names)
    if matched.n_unlabelled or matched.n_unused:
        print(
            f"warning: {matched.n_unlabelled} of {len(names)} samples have no label (drawn in "
            f"grey), and {matched.n_unused} labels belong to none of the samples",
            file=sys.stderr,
        )
    return matched.labels


def _checkpoint(out: Path, arguments: argparse.Namespace) -> Path:
    """Choose where passes are kept; refuse to lose those of an earlier run."""
    place = checkpoint_place(out)
    if place.exists() and not arguments.resume:
        raise NodeExistsError(
            f"cannot begin anew: {place} holds the passes of a run that was interrupted, or still "
            f"goes on. Pass --resume to go on from there, or delete it.",
            path=str(place),
        )
    if arguments.resume and not place.exists() and not arguments.quiet:
        print("note: no run left anything to resume; beginning anew", file=sys.stderr)
    return place


@contextmanager
def _kept(checkpoint: Path) -> Iterator[None]:
    """Say after an interrupt that passes were kept."""
    try:
        yield
    except BaseException:
        if checkpoint.exists():
            print(
                f"note: the passes that were complete are kept in {checkpoint}; the same command "
                "with --resume goes on from there",
                file=sys.stderr,
            )
        raise


@contextmanager
def _watched(
    phase: PhaseStarter, name: str, n_bytes: int
) -> Iterator[Callable[[Pass, int | None], None]]:
    """Show a pass as a phase."""
    with phase(name, n_bytes) as tell:
        yield lambda one, to_go: tell(one.describe(to_go))


def _warn_of_residuals(residuals: Sequence[float], *, tol: float) -> None:
    """Say which components the method has not found as exactly as asked for."""
    rough = [str(number) for number, value in enumerate(residuals, 1) if value > tol]
    if rough:
        print(
            f"warning: these components have a residual above {tol:g} and are only "
            f"approximate: {', '.join(rough)}. More passes with --max-passes may find them",
            file=sys.stderr,
        )


def _say(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.quiet:
        print(text)


def _say_written(
    arguments: argparse.Namespace, place: Path, shape: tuple[int, ...], started: float
) -> None:
    """Say what a command made."""
    n_variants, n_samples = shape
    stored = sum(file.stat().st_size for file in (place / genotypes.GENOTYPES).rglob("*"))
    in_memory = n_variants * n_samples
    _say(
        arguments,
        f"genotypes  {place}  ({n_variants:,} variants, {n_samples:,} samples; "
        f"{format_bytes(in_memory)} in {format_bytes(stored)}, {in_memory / stored:.1f} : 1; "
        f"{time.monotonic() - started:.1f} s)",
    )

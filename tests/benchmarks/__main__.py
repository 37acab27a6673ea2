"""The command line of the benchmarks; ``ci/bench`` runs it in an environment that has the peers."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.harness import Outcome, Scale, matches, measure, rows_of, topics

SCALES = {
    "full": {"n_bytes": 512 << 20, "rounds": 5, "row_s": 20.0},
    "quick": {"n_bytes": 32 << 20, "rounds": 3, "row_s": 2.0},
    "tiny": {"n_bytes": 1 << 18, "rounds": 1, "row_s": 0.0},
}


def parser() -> argparse.ArgumentParser:
    """Give the parser of the arguments."""
    parser = argparse.ArgumentParser(
        prog="ci/bench",
        description="Measures chunkstore beside its peers: the same work on the same data, in "
        "turns, each in a process of its own.",
        epilog="Exit status 1 if any contender failed or gave a wrong result.",
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(topics())}")
    parser.add_argument(
        "--quick", dest="scale", action="store_const", const="quick",
        help="a sixteenth of the data and three rounds: shows gross changes alone",
    )  # fmt: skip
    parser.add_argument("--scale", choices=SCALES, help=argparse.SUPPRESS)
    parser.add_argument(
        "--only", metavar="PATTERN", default="",
        help='rows whose "topic: name" contains this; * stands for anything',
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name the rows and measure nothing")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", default=Path("bench-output"),
        help="where the results go: JSON, a Markdown table, a picture (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER",
        help="a folder for the arrays, on the file system to measure; kept, and used again by "
        "the next run (default: a temporary one, removed)",
    )  # fmt: skip
    parser.set_defaults(scale="full")
    return parser


def main() -> int:
    """Run what the arguments ask for; gives the exit status."""
    options = parser().parse_args()
    # Ended from outside it still ends its workers and removes its data.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    unknown = sorted(name for name in {*options.topics} - {*topics()} if "." not in name)
    if unknown:
        print(f"no topic {', '.join(unknown)}; there are {', '.join(topics())}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="chunkstore-bench-") as temporary:
        folder = (options.data or Path(temporary)).resolve() / options.scale
        folder.mkdir(parents=True, exist_ok=True)
        scale = Scale(folder, **SCALES[options.scale])
        chosen = [
            (topic, row)
            for topic in options.topics or topics()
            for row in rows_of(topic, scale)
            if matches(options.only, topic, row)
        ]
        if not chosen:
            print(f"no row contains {options.only!r}; see --list", file=sys.stderr)
            return 2
        if options.list:
            print("\n".join(f"{topic}: {row.name}" for topic, row in chosen))
            return 0
        run = report.Run.begun(options.scale, folder)
        print(run.headline(), flush=True)
        try:
            for topic, row in chosen:
                run.add(measure(topic, row, scale))
                report.show(report.details(run.outcomes[-1]))
        finally:
            # What was measured before an interruption counts.
            if run.outcomes:
                _conclude(run, options.out)
    return _status(run.outcomes)


def _conclude(run: report.Run, out: Path) -> None:
    """Print the summary and write the files."""
    report.show(report.summary(run.outcomes))
    print(run.noise_line())
    for path in run.write(out):
        print(f"written: {path}")


def _status(outcomes: list[Outcome]) -> int:
    failures = [failure for outcome in outcomes for failure in outcome.failures()]
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Write the arrays that `cases.py` describes, each with the library it is named after.

Each file beside this one holds, for every case, the stored keys and values as base64, and what the
library itself reads back. Run from the root of the checkout under an interpreter that has it::

    python -m tests.data.codecs.generate zarr-python-2   zarr==2.18.7 numcodecs==0.15.1 zfpy==1.0.1
                                                         pcodec==0.3.6 crc32c==2.9.post0
    python -m tests.data.codecs.generate zarr-python     zarr==3.4.2 numcodecs==0.17.1 zfpy==1.0.1
                                                         pcodec==1.1.0 cast-value-rs==0.5.1
    python -m tests.data.codecs.generate zarrs           zarrs==0.2.3 zarr==3.4.2
"""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.data.codecs.cases import WRITERS, Case
from tests.data.codecs.writers import WRITERS as LIBRARIES

HERE = Path(__file__).parent


def generate(writer: str) -> None:
    """Write all arrays of one library."""
    library = LIBRARIES[writer]()
    found: dict[str, object] = {}
    for name, case in WRITERS[writer].items():
        needed = next((n for n in ("pcodec", "zfpy") if n in name), None)
        if needed is not None and importlib.util.find_spec(needed) is None:
            print(f"{name} left out: {needed} is not installed")
            continue
        found[name] = _written(library, case)
    (HERE / f"{writer}.json").write_text(json.dumps(found, indent=1) + "\n")


def _written(library: object, case: Case) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library.write(case, folder)  # type: ignore[attr-defined]
        read = library.read(case, folder)  # type: ignore[attr-defined]
        values = np.ascontiguousarray(read, np.dtype(case.dtype).newbyteorder("<"))
        return {
            "values": base64.b64encode(values.tobytes()).decode(),
            "store": {
                path.relative_to(folder).as_posix(): base64.b64encode(path.read_bytes()).decode()
                for path in sorted(folder.rglob("*"))
                if path.is_file() and path.name != ".zattrs"
            },
        }


if __name__ == "__main__":
    generate(sys.argv[1])

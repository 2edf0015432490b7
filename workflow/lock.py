"""Write requirements.lock: the versions that pip chooses for pyproject.toml's ranges, all of them, in a new environment.

    python3 workflow/lock.py

A local build tag (`torch==2.13.0+cpu`) is cut off, so that a machine with a GPU gets the build for it from the same pin.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Resolve, and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--upgrade", "pip"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"{ROOT}[dev]"], check=True)
        frozen = subprocess.run(
            [python, "-m", "pip", "freeze", "--exclude", "kinemacolor"], check=True, capture_output=True, text=True
        ).stdout
    lines = [re.sub(r"\+.*", "", line) for line in frozen.splitlines() if "==" in line]
    head = "# Written by `make lock`: every version that kinemacolor is tested with.\n"
    (ROOT / "requirements.lock").write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"requirements.lock: {len(lines)} packages", file=sys.stderr)


if __name__ == "__main__":
    main()

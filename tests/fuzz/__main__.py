"""Runs a fuzzer on one target: ``python -m tests.fuzz TARGET SECONDS [SEED]``.

With a seed the run is the same each time, if PYTHONHASHSEED is set and addresses are not random
(``setarch -R``): a number of inputs in place of seconds, from the committed corpus alone. Without,
what is found to be of interest stays in ``build/fuzz``. Exit status: 0 when all is well, 69 where
the fuzzer is not installed, anything else for a crash, whose input is then in ``build/fuzz``.
"""

import importlib
import io
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path

UNAVAILABLE = 69
CORPUS = Path(__file__).parent / "corpus"
KEPT = Path("build") / "fuzz"
# How many inputs of each take about a second, so that a seeded run takes about its time.
A_SECOND = {"edge": 600, "replies": 2500, "settings": 70}


def arguments(target: str, seconds: int, seed: str, kept: str) -> list[str]:
    """What libFuzzer is told."""
    bounds = [f"-max_total_time={seconds}"]
    if seed:
        bounds = [f"-seed={seed}", f"-runs={seconds * A_SECOND[target]}"]
    return [
        *("fuzz", *bounds, "-timeout=20", "-max_len=12000", "-rss_limit_mb=1024"),
        *("-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={KEPT}/{target}-"),
        *(kept, str(CORPUS / target)),
    ]


def main(argv: Sequence[str]) -> int:
    """Run until a fault is found, or the time is over."""
    target, seconds, seed = argv[0], int(argv[1]), argv[2] if len(argv) > 2 else ""
    try:
        import atheris  # an extra; no other command needs it
    except ImportError:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        print(
            f"atheris is not installed: its wheels are for Linux and certain versions of Python;"
            f" this is {version} on {sys.platform}. Try: pip install 'smtpforward[fuzz]'",
            file=sys.stderr,
        )
        return UNAVAILABLE
    with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["smtpforward"]):
        # Only what is imported in here is watched by the fuzzer, which names each module.
        module = importlib.import_module(f"tests.fuzz.targets.{target}")
    kept = KEPT / target
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as fresh:
        atheris.Setup(arguments(target, seconds, seed, fresh if seed else str(kept)), module.one)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""atheris takes over the process that it fuzzes in, so each target has a process of its own.

``python -m tests.fuzz.worker FAMILY TARGET [options and folders of libFuzzer]``, started by :mod:`tests.fuzz.runner`.
"""

import gc
import logging
import sys
from importlib import import_module

PACKAGES = ("protocol", "keyring", "ca", "bank", "customer")


def main(arguments: list[str]) -> None:
    """Instrument our packages, then run one target until libFuzzer has had enough; does not return."""
    import atheris

    program, family, name, *options = arguments
    with atheris.instrument_imports(include=[*PACKAGES, "tests.fuzz"], enable_loader_override=False):
        # Only what this target reads with; to instrument everything would take as long as many a run.
        target = getattr(import_module(f"tests.fuzz.{family}"), name)
    from tests.fuzz.properties import run

    logging.disable(logging.CRITICAL)
    gc.freeze()
    atheris.Setup([program, *options], lambda data: run(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)

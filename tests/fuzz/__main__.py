"""`python -m tests.fuzz` is the command of tests/fuzz/command.py."""

from tests.fuzz.command import main

if __name__ == "__main__":
    main(prog_name="python -m tests.fuzz")

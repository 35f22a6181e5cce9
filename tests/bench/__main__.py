"""`python -m tests.bench` is the command of tests/bench/command.py.

To profile the server under load: `python -m tests.bench --profile 8` prints the server's process id,
then attach to it (`perf top -p PID`, `strace -f -c -p PID`). A first run makes 64 customers and 50,000 signed orders
(some minutes), which later runs find in build/bench.
"""

from tests.bench.command import main

if __name__ == "__main__":
    main(prog_name="python -m tests.bench")

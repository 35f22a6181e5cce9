"""The real `bank serve`, killed by SIGKILL at a step of its pipeline, with no chance to tidy up.

Usage: python dying_bank.py STEP COUNT STRUCK serve … where STEP is a name of crash_steps.py, "-" for a life without an
end, or "*" for one in which all steps are noted; STRUCK is a file that is written just before the kill, or the notes.
"""

import sys
from pathlib import Path

from bank.cli import main
from tests.trials.durability.crash_steps import named, note_all, strike_at

if __name__ == "__main__":
    step, count, struck = sys.argv[1:4]
    sys.argv[1:4] = []
    if step == "*":
        note_all(Path(struck))
    elif step != "-":
        strike_at(named(step), int(count), Path(struck))
    main()

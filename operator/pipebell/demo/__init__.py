"""The whole of Pipebell on one machine, for everybody to watch: `pipebell demo`, and the stage that it plays on.

    stage ─ process, files          what runs: API server, operator, mail server, Slack
    scenario ─ cast, evidence       what happens, and what was seen of it
    claims                          whether it is what we promise
    show                            how people see it

Tests that need an operator as users have it (its own process, account and rights) use `Stage` as well.
"""

from pipebell.demo.process import OperatorProcess
from pipebell.demo.stage import Stage, StageError

__all__ = ["OperatorProcess", "Stage", "StageError"]

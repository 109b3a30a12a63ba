"""Run a file of Python in which `await` may stand at the top, as documents show it."""

import ast
import asyncio
import inspect
import sys
from pathlib import Path

path = Path(sys.argv[1])
code = compile(path.read_text(encoding="utf-8"), str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
running = eval(code, {"__name__": "__main__"})
if inspect.iscoroutine(running):
    asyncio.run(running)

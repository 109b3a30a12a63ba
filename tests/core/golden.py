"""Files that hold a rendering letter by letter. `PIPEBELL_WRITE_GOLDEN=1 pytest …` writes them anew: read the diff."""

import os


def compare(file, text):
    if os.environ.get("PIPEBELL_WRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    name = f"{file.parent.name}/{file.name}"
    assert file.is_file(), f"there is no {name}: PIPEBELL_WRITE_GOLDEN=1 pytest {file.parents[2]} writes it; read it"
    assert text == file.read_text(encoding="utf-8")

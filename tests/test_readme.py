from __future__ import annotations

import pathlib
import re

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def test_the_first_example_runs_and_is_six_lines(capsys):
    example = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "import models" in block)
    assert len([line for line in example.splitlines() if line]) == 6
    exec(compile(example, "README.md", "exec"), {})
    assert "True" in capsys.readouterr().out


def test_every_link_to_a_file_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (pathlib.Path(__file__).parents[1] / target).exists(), target

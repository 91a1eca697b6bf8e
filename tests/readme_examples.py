"""Runs the plan, predict and validate examples of README.md again and writes what they print in their place."""
import pathlib
import re
import subprocess

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"
PROMPT = "$ build/release/bin/trainwright "


def again(block: re.Match) -> str:
    lines = block.group(1).split("\n")
    end = next(i for i, line in enumerate(lines) if not line.endswith("\\")) + 1
    verb = lines[0][len(PROMPT):].split(" ")[0]
    if not lines[0].startswith(PROMPT) or verb in ("calibrate", "confirm"):  # what those print is this machine's
        return block.group(0)
    command = " ".join(line.rstrip("\\") for line in lines[:end])[2:]
    said = subprocess.run(command, shell=True, check=True, capture_output=True, text=True, cwd=README.parent).stdout
    said_lines = said.rstrip("\n").split("\n")
    shown = lines[end:]
    if "..." in shown:  # a beginning alone is shown
        said_lines = said_lines[: shown.index("...")] + ["..."]
    return "```\n" + "\n".join(lines[:end] + said_lines) + "\n```"


README.write_text(re.sub(r"```\n(\$ .*?)\n```", again, README.read_text(), flags=re.S))

"""A tap for tests, in the standard library only: writes the lines of the file that its config names.

`lines`: a file with the lines of a run, written as they are; `resumed`: another, for a state with a bookmark `last`.
`table`: a JSON file {id: record} read as a full table, with ACTIVATE_VERSION at both ends as SQL taps do. `catalog`:
what `--discover` prints. `seen`: a file that notes how it was started.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, cast


def main(arguments: list[str]) -> int:
    config = read(arguments, "--config")
    if "--discover" in arguments:
        sys.stdout.write(json.dumps(config["catalog"]))
        return 0
    state = read(arguments, "--state")
    if "seen" in config:
        with Path(config["seen"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"arguments": arguments, "state": state or None}) + "\n")
    if "lines" in config:
        is_resumed = any(isinstance(one, dict) and "last" in one for one in state.get("bookmarks", {}).values())
        return say(Path(config["resumed" if is_resumed else "lines"]))
    write_table(config["stream"], config["schema"], json.loads(Path(config["table"]).read_bytes()))
    return 0


def read(arguments: list[str], option: str) -> dict[str, Any]:
    found = json.loads(Path(arguments[arguments.index(option) + 1]).read_bytes()) if option in arguments else {}
    return cast("dict[str, Any]", found)


def say(lines: Path) -> int:
    out = sys.stdout.buffer
    for line in lines.read_bytes().splitlines(keepends=True):
        command, _, rest = line.partition(b" ")
        if command in (b"#sleep", b"#exit"):
            out.flush()
        if command == b"#sleep":
            time.sleep(float(rest))
        elif command == b"#stderr":
            sys.stderr.write(rest.decode())
            sys.stderr.flush()
        elif command == b"#exit":
            return int(rest)
        else:
            out.write(line)
    out.flush()
    return 0


def write_table(stream: str, schema: object, table: dict[str, dict[str, object]]) -> None:
    version = time.time_ns() // 1000
    messages: list[object] = [{"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": ["id"]}]
    messages += [{"type": "ACTIVATE_VERSION", "stream": stream, "version": version}]
    messages += [
        {"type": "RECORD", "stream": stream, "record": {"id": id, **record}, "version": version}
        for id, record in table.items()
    ]
    messages += [{"type": "ACTIVATE_VERSION", "stream": stream, "version": version}]
    messages += [{"type": "STATE", "value": {"bookmarks": {stream: {"version": version}}}}]
    sys.stdout.write("".join(json.dumps(message) + "\n" for message in messages))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Compiles sorbus/native/codec.c into the wheel where there is a C compiler; without one, Sorbus installs as well."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the compiled module beside its source, where an editable install finds it too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's interface
        folder = Path(self.root, "sorbus", "native")
        made = folder / f"_codec{sysconfig.get_config_var('EXT_SUFFIX')}"
        made.unlink(missing_ok=True)
        if os.environ.get("SORBUS_NO_EXTENSION"):
            return
        if problem := compile_codec(folder / "codec.c", made):
            self.app.display_warning(f"sorbus.native isn't compiled, and Python does its work slower: {problem}")
            return
        build_data["artifacts"].append(f"/sorbus/native/{made.name}")
        build_data["pure_python"], build_data["infer_tag"] = False, True


def compile_codec(source: Path, made: Path, *options: str) -> str | None:
    """Compiles `source` into the extension module `made`; what went wrong, if anything."""
    linker = shlex.split(sysconfig.get_config_var("LDSHARED") or "cc -shared")
    if shutil.which(linker[0]) is None:
        linker[0] = "cc"  # Python was built by a compiler of another name
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        out = Path(folder, made.name)
        include = sysconfig.get_path("include")
        command = [*linker, "-O2", "-fPIC", *options, f"-I{include}", str(source), "-o", str(out)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"{command[0]}: {error.strerror}"
        if done.returncode:
            return f"{shlex.join(command)}\n{done.stderr.strip()[-1000:]}"
        out.replace(made)  # whole or not at all: a process may be loading it
    return None

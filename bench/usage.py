"""The command line of a bench: its help is its module's docstring."""

import argparse


def parser(command: str, docstring: str | None) -> argparse.ArgumentParser:
    """For `python -m COMMAND`; the docstring begins with `` `python -m COMMAND`: what it does``."""
    about, _, more = (docstring or "").partition("\n\n")
    return argparse.ArgumentParser(
        prog=f"python -m {command}",
        description=about.partition(": ")[2],
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

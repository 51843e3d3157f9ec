"""What the SQLSTATE of a failed write is about: the record, another record, the load, or the system.

All of PostgreSQL's codes (documentation, appendix A) are classified here, by class and, in mixed classes, by code.
The target owner's triggers, rules and policies may raise any of them for a single record: if a code is inconclusive
(`EITHER`), the writer finds out by writing the records one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from sorbus.write_fault import About

_CLASSES: Mapping[str, About] = {
    "00": About.EITHER, "01": About.EITHER, "02": About.EITHER, "03": About.EITHER, "08": About.SYSTEM,
    "09": About.EITHER, "0A": About.EITHER, "0B": About.EITHER, "0F": About.EITHER, "0L": About.EITHER,
    "0P": About.EITHER, "0Z": About.EITHER, "10": About.RECORD, "20": About.EITHER, "21": About.EITHER,
    "22": About.RECORD, "23": About.RECORD, "24": About.EITHER, "25": About.EITHER, "26": About.EITHER,
    "27": About.RECORD, "28": About.ACCESS, "2B": About.EITHER, "2D": About.EITHER, "2F": About.EITHER,
    "34": About.EITHER, "38": About.EITHER, "39": About.EITHER, "3B": About.EITHER, "3D": About.ACCESS,
    "3F": About.EITHER, "40": About.SYSTEM, "42": About.EITHER, "44": About.RECORD, "53": About.SYSTEM,
    "54": About.EITHER, "55": About.EITHER, "57": About.SYSTEM, "58": About.SYSTEM, "72": About.SYSTEM,
    "F0": About.SYSTEM, "HV": About.EITHER, "P0": About.RECORD, "XX": About.EITHER,
}  # fmt: skip

_CODES: Mapping[str, About] = {
    "23001": About.REFERENCE,  # restrict_violation: a delete whose record others still refer to
    "23503": About.REFERENCE,
    "23505": About.COLLISION,
    "23P01": About.COLLISION,
    "25006": About.SYSTEM,  # read only: a standby, or default_transaction_read_only
    "25P02": About.SYSTEM,
    "25P03": About.LOAD,  # idle_in_transaction_session_timeout ends the session
    "25P04": About.LOAD,  # so does transaction_timeout
    "53200": About.LOAD,
    "53400": About.LOAD,  # temp_file_limit
    "54000": About.RECORD,  # a row too large for its table or index
    "55006": About.SYSTEM,
    "55P03": About.LOAD,  # a locked row; where no row is named (`of_error`), the table
    "57014": About.LOAD,  # statement_timeout, or a person who cancels
    "58P01": About.EITHER,  # a function that reads a file
    "58P02": About.EITHER,
    "58P03": About.EITHER,
    "HV001": About.LOAD,
    "HV00N": About.SYSTEM,  # a foreign server out of reach
}


def about(state: str | None) -> About:
    """What a SQLSTATE is about. None: there was no answer. Unclassified codes come from the owner's own code."""
    if state is None:
        return About.SYSTEM
    return _CODES.get(state) or _CLASSES.get(state[:2], About.EITHER)


def is_decided(state: str) -> bool:
    """Whether the tables name the code or its class."""
    return state in _CODES or state[:2] in _CLASSES


def of_error(error: psycopg.Error) -> About:
    """What an error is about; a lock that isn't on one row is the table's."""
    found = about(error.sqlstate)
    return About.SYSTEM if error.sqlstate == "55P03" and not error.diag.context else found

"""Parts of an answer that can't be taken as they are written."""

from __future__ import annotations


class InvalidValue(str):
    """A part of an answer that can't be represented, in its original text: 1e999999, NaN, a number of 5,000 digits.

    The rest of the answer is still read; only a record with a field that needs this value is rejected. `why`: the end
    of a sentence about it, with the fix, where it is something else that is wrong with the value.
    """

    why = ""


class RepeatedValue(InvalidValue):
    """The values of a name that an object has several times, of which each parser takes another (RFC 8259, section 4).

    Its text is their JSON, as a list.
    """

    why = "are several values of one field of one object; which one counts is unclear: correct what writes the JSON"

"""Names and filters survive whatever people write in them; OpenLDAP's own tool is the judge."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sorbus.ldap.distinguished_name import (
    DistinguishedName,
    escape_filter,
    escape_value,
    fill_template,
    template_names,
)
from tests.ldap.slapd import MISSING, SLAPD

VALUES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=12)
AWKWARD = [
    "Müller, Anna", "a+b", "#1", " leading", "trailing ", "  ", " ", "a\\b", 'say "hi"', "<x>", "a;b", "a=b", "O'Hara",
    "100%", "日本語", "(*)", "line\nbreak", "\\2C", "x,ou=admins,dc=example,dc=test", "🙂",
]  # fmt: skip


@given(VALUES, VALUES)
@example("x,dc=evil", "#")
@example(" ", "\\ ")
def test_a_name_that_was_written_is_read_as_it_was(one: str, other: str) -> None:
    name = DistinguishedName(((("cn", one),), (("ou", other), ("l", one)), (("dc", "test"),)))
    assert DistinguishedName.parse(str(name)) == name


@given(VALUES)
@example("x,ou=admins,{base}")
@example("{uid}")
def test_a_value_in_a_template_is_one_value(value: str) -> None:
    made = fill_template("uid={uid},ou=people,{base}", "dc=example,dc=test", {"uid": value})
    assert made.rdn == (("uid", value),)
    assert made.parent == DistinguishedName.parse("ou=people,dc=example,dc=test")


@given(st.text('cn=,+;\\"# <>2Cü', max_size=20))
def test_any_text_is_a_name_or_is_said_not_to_be_one(text: str) -> None:
    with suppress(ValueError):
        made = DistinguishedName.parse(text)
        assert DistinguishedName.parse(str(made)) == made


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=Smith\\, John,OU=People,DC=example,DC=test", "cn=smith\\2C john, ou=people , dc=EXAMPLE,dc=test"),
        ("cn=a+uid=b,dc=x", "UID=b + CN=a,dc=x"),
        ('cn="Smith, John",dc=x', "cn=Smith\\, John,dc=x"),
        ("cn=two  blanks,dc=x", "cn=two blanks,dc=x"),
        ("cn=M\\C3\\BCller,dc=x", "cn=Müller,dc=x"),
    ],
)
def test_names_that_directories_take_for_one_are_one(one: str, other: str) -> None:
    assert DistinguishedName.parse(one).normal() == DistinguishedName.parse(other).normal()


def test_below_counts_whole_names() -> None:
    base = DistinguishedName.parse("dc=example,dc=test")
    assert DistinguishedName.parse("ou=a,DC=Example, DC=test").is_below(base)
    assert base.is_below(base)
    assert not DistinguishedName.parse("dc=myexample,dc=test").is_below(DistinguishedName.parse("dc=example,dc=test"))


def test_a_template_names_its_attributes() -> None:
    assert template_names("cn={cn}+uid={uid},ou={departmentNumber},{base}") == ["cn", "uid", "departmentNumber"]


@given(st.text(max_size=10) | st.binary(max_size=10))
@example("*)(uid=*")
def test_a_value_in_a_filter_ends_where_it_ends(value: str | bytes) -> None:
    text = escape_filter(value)
    assert not set(text) & set("*()\0")
    data, at = bytearray(), 0
    while at < len(text):
        if text[at] == "\\":
            data.append(int(text[at + 1 : at + 3], 16))
            at += 3
        else:
            data += text[at].encode()
            at += 1
    assert bytes(data) == (value.encode(errors="surrogatepass") if isinstance(value, str) else value)


def test_openldap_reads_names_as_we_do(tmp_path: Path) -> None:
    if SLAPD is None or shutil.which("slapdn", path="/usr/sbin:/usr/bin") is None:
        pytest.skip(MISSING)
    conf = tmp_path / "slapd.conf"
    conf.write_text("include /etc/ldap/schema/core.schema\n")
    values = [one for one in AWKWARD if "\n" not in one]  # slapdn prints line breaks as they are
    names = [f"cn={escape_value(one)},ou=x+l={escape_value(one)},dc=test" for one in values]
    done = subprocess.run(
        ["/usr/sbin/slapdn", "-f", str(conf), "-N", *names], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = done.stdout.strip().split("\n")
    assert [DistinguishedName.parse(one).normal() for one in theirs] == [
        DistinguishedName.parse(one).normal() for one in names
    ]

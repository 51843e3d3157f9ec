"""A directory's attribute types and object classes, from its subschema (RFC 4512); or, offline, the usual ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from sorbus.ldap.active_directory import FILETIMES, GUIDS, SIDS

Syntax = Literal[
    "text", "boolean", "integer", "moment", "name", "binary", "postal", "uuid", "guid", "sid", "filetime", "secret"
]
_SYNTAXES: Mapping[str, Syntax] = {
    "1.3.6.1.4.1.1466.115.121.1.7": "boolean",
    "1.3.6.1.4.1.1466.115.121.1.27": "integer",
    "1.2.840.113556.1.4.906": "integer",
    "1.3.6.1.4.1.1466.115.121.1.24": "moment",
    "1.3.6.1.4.1.1466.115.121.1.12": "name",
    "1.2.840.113556.1.4.903": "binary",
    "1.2.840.113556.1.4.907": "binary",
    "1.3.6.1.4.1.1466.115.121.1.5": "binary",
    "1.3.6.1.4.1.1466.115.121.1.8": "binary",
    "1.3.6.1.4.1.1466.115.121.1.9": "binary",
    "1.3.6.1.4.1.1466.115.121.1.28": "binary",
    "1.3.6.1.4.1.1466.115.121.1.40": "binary",
    "1.3.6.1.4.1.1466.115.121.1.41": "postal",
    "1.3.6.1.1.16.1": "uuid",
}
_SECRETS = frozenset(
    {
        "userpassword", "authpassword", "pwdhistory", "passwordhistory", "encryptedpassword", "userpkcs12",
        # Active Directory
        "unicodepwd", "dbcspwd", "ntpwdhistory", "lmpwdhistory", "supplementalcredentials", "unixuserpassword",
        "mssfu30password", "ms-mcs-admpwd", "msds-managedpassword", "msds-executescriptpassword", "peklist",
        "mskds-rootkeydata", "mspkiaccountcredentials", "mspkidpapimasterkeys", "mstpm-ownerinformation",
        "currentvalue", "priorvalue", "initialauthincoming", "initialauthoutgoing", "trustauthincoming",
        "trustauthoutgoing",
        # FreeIPA, MIT Kerberos
        "krbprincipalkey", "krbextradata", "krbpwdhistory", "krbmkey", "ipanthash", "ipanttrustauthincoming",
        "ipanttrustauthoutgoing", "ipatokenotpkey", "ipatokenradiussecret", "ipaidpclientsecret", "ipaprivatekey",
        "ipasecretkey",
        # 389 Directory Server
        "nsds5replicacredentials", "nsds5replicabootstrapcredentials", "nsmultiplexorcredentials", "nssymmetrickey",
        "nsslapd-rootpw", "unhashed#user#password",
        # OpenLDAP: its configuration has logins of other servers in it
        "olcrootpw", "rootpw", "olcsyncrepl", "olctlscertificatekey", "olcdbaclbind", "olcdbaclpasswd",
        "olcdbidassertbind", "olcdbidassertpasswd", "oathsecret",
        # Samba, FreeRADIUS, ISC DHCP, eDirectory
        "sambantpassword", "sambalmpassword", "sambapasswordhistory", "sambacleartextpassword",
        "sambapreviouscleartextpassword", "radiustunnelpassword", "dhcpkeysecret", "privatekey", "nspmpassword",
        "nspmdistributionpassword", "nspmpasswordhistory",
    }
)  # fmt: skip
_SECRET_PREFIXES = ("mslaps-", "msfve-recoverypassword", "msfve-keypackage")
_NO_SECRETS = frozenset({"mslaps-passwordexpirationtime", "mslaps-currentpasswordversion"})
_OFFLINE = ("slapd24", "ad2012R2", "ds389")


@dataclass(frozen=True, slots=True)
class AttributeType:
    """What the schema says of an attribute. `is_matched`: single values can be named, to remove or to add them."""

    name: str
    names: tuple[str, ...]
    syntax: Syntax
    is_single: bool = False
    is_matched: bool = True
    read_only: bool = False
    oid: str = ""


@dataclass(frozen=True, slots=True)
class EntryClass:
    """An object class, with what its superiors require and allow."""

    name: str
    superiors: tuple[str, ...]
    required: frozenset[str]
    allowed: frozenset[str]
    is_auxiliary: bool = False


@dataclass(slots=True)
class DirectorySchema:
    """Types and classes by their names in lower case, under each of their names and OIDs."""

    types: dict[str, AttributeType] = field(default_factory=dict)
    classes: dict[str, EntryClass] = field(default_factory=dict)
    _spellings: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def type_of(self, description: str) -> AttributeType:
        """The type of an attribute, with or without options; text where it isn't known."""
        base, _, options = description.partition(";")
        found = self.types.get(base.lower())
        if found is None:
            return AttributeType(base, (base,), _by_name(base, "text"))
        if "binary" in options.lower().split(";"):
            return AttributeType(found.name, found.names, "binary", found.is_single, is_matched=False)
        return found

    def knows(self, description: str) -> bool:
        """Whether the schema has the attribute; an empty schema has every one."""
        return not self.types or description.partition(";")[0].lower() in self.types

    def spellings(self, description: str) -> tuple[str, ...]:
        """Under which keys an answer may hold the attribute, in lower case, options included."""
        found = self._spellings.get(description)
        if found is None:
            base, semicolon, options = description.partition(";")
            names = (base, *self.type_of(base).names)
            found = tuple(dict.fromkeys(f"{name}{semicolon}{options}".lower() for name in names))
            self._spellings[description] = found
        return found

    def chain(self, names: Iterable[str]) -> list[str]:
        """Object classes with all their superiors, each once, the most general first."""
        found: dict[str, str] = {}

        def add(name: str) -> None:
            known = self.classes.get(name.lower())
            for superior in known.superiors if known else ():
                if superior.lower() not in found:
                    add(superior)
            found.setdefault(name.lower(), known.name if known else name)

        for name in names:
            add(name)
        return list(found.values())

    def attributes(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """What these classes require, and what else they allow; without objectClass."""
        required: dict[str, None] = {}
        allowed: dict[str, None] = {}
        for name in self.chain(names):
            if (known := self.classes.get(name.lower())) is not None:
                required |= dict.fromkeys(sorted(known.required))
                allowed |= dict.fromkeys(sorted(known.allowed))
        musts = [self.type_of(name).name for name in required if name.lower() != "objectclass"]
        mays = [self.type_of(name).name for name in allowed if name.lower() != "objectclass" and name not in required]
        return musts, [name for name in mays if name not in musts]


def is_secret(description: str) -> bool:
    """Whether an attribute holds a password or a key: Sorbus neither reads nor writes it."""
    name = description.partition(";")[0].lower()
    return name in _SECRETS or (name.startswith(_SECRET_PREFIXES) and name not in _NO_SECRETS)


def schema_of(attribute_types: Iterable[str], object_classes: Iterable[str]) -> DirectorySchema:
    """From a subschema's definitions (RFC 4512, section 4.1). Definitions that can't be parsed are left out."""
    from ldap3.protocol.rfc4512 import AttributeTypeInfo, ObjectClassInfo

    types = _parsed(AttributeTypeInfo, attribute_types)
    return _schema(types, _parsed(ObjectClassInfo, object_classes))


@cache
def usual_schema() -> DirectorySchema:
    """What OpenLDAP, Active Directory and 389 DS come with, for maps that are checked without a connection."""
    import importlib

    from ldap3.protocol.rfc4512 import SchemaInfo

    made = DirectorySchema()
    for name in _OFFLINE:
        module = importlib.import_module(f"ldap3.protocol.schemas.{name}")
        text = next(value for key, value in vars(module).items() if key.endswith("_schema"))
        info = SchemaInfo.from_json(text)
        found = _schema(dict(info.attribute_types).values(), dict(info.object_classes).values())
        made.types = {**found.types, **made.types}
        made.classes = {**found.classes, **made.classes}
    return made


def _parsed(kind: object, definitions: Iterable[str]) -> Iterator[object]:
    for text in definitions:
        try:
            found = kind.from_definition([text])  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001, S112 - a vendor's own way to write one must not hide all others
            continue
        yield from dict(found).values()


def _schema(attribute_types: Iterable[object], object_classes: Iterable[object]) -> DirectorySchema:
    made = DirectorySchema()
    given = {key: one for one in attribute_types for key in _keys(one)}
    for one in dict.fromkeys(given.values()):
        found = _attribute_type(one, given)
        made.types |= dict.fromkeys(_keys(one), found)
    for one in object_classes:
        keys = _keys(one)
        names = getattr(one, "name", None) or [getattr(one, "oid", "")]
        made.classes |= dict.fromkeys(
            keys,
            EntryClass(
                names[0],
                tuple(getattr(one, "superior", None) or ()),
                frozenset(getattr(one, "must_contain", None) or ()),
                frozenset(getattr(one, "may_contain", None) or ()),
                getattr(one, "kind", "") in ("Auxiliary", "AUXILIARY"),
            ),
        )
    return made


def _keys(one: object) -> list[str]:
    names = getattr(one, "name", None) or []
    return [name.lower() for name in (*names, str(getattr(one, "oid", "")))]


def _attribute_type(one: object, given: Mapping[str, object]) -> AttributeType:
    names = tuple(getattr(one, "name", None) or [str(getattr(one, "oid", ""))])
    syntax = _inherited(one, given, "syntax") or ""
    syntax = str(syntax).partition("{")[0].strip("'")
    has_equality = bool(_inherited(one, given, "equality")) or _SYNTAXES.get(syntax) == "name"
    kind = _by_name(names[0], _SYNTAXES.get(syntax, "text"))
    return AttributeType(
        names[0],
        names,
        kind,
        bool(getattr(one, "single_value", False)),
        has_equality,
        bool(getattr(one, "no_user_modification", False)),
        str(getattr(one, "oid", "")),
    )


def _inherited(one: object, given: Mapping[str, object], name: str) -> object:
    """A property of a type, or of the one that it is derived from."""
    for _ in range(20):
        found = getattr(one, name, None)
        if found:
            return found[0] if isinstance(found, list) else found
        superior = getattr(one, "superior", None)
        if not superior or str(superior[0]).lower() not in given:
            return None
        one = given[str(superior[0]).lower()]
    return None


def _by_name(name: str, otherwise: Syntax) -> Syntax:
    known = name.lower()
    if is_secret(name):
        return "secret"
    if known in GUIDS:
        return "guid"
    if known in SIDS:
        return "sid"
    return "filetime" if known in FILETIMES else otherwise

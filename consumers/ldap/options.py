"""A flow's `target:` when the target is a directory."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sorbus.consumers.http.options import HttpTarget


class LdapTarget(BaseModel):
    """Which entries take a data type, what they are called, and what is done in doubt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: str = Field(min_length=1, description="The structural object class of its entries: inetOrgPerson.")
    dn: str = Field(
        min_length=1,
        description="The name of a new entry, from its attributes: uid={uid},ou=people,{base}; {base} is the"
        " connection's.",
    )
    object_classes: tuple[str, ...] = Field(
        default=(), description="Auxiliary object classes that its entries need, too: posixAccount."
    )
    base: str = Field(default="", description="The entry below which they are looked for; default: the connection's.")
    scope: Literal["subtree", "one"] = Field(
        default="subtree", description="Whether entries count at any depth below base, or right below it."
    )
    filter: str = Field(default="", description="Which entries, besides their class: (employeeType=staff).")
    references: dict[str, str] = Field(
        default={},
        description="Attribute that holds DNs -> the data type whose ids the record has: manager: employee. That data"
        " type has to be delivered to the directory, too.",
    )
    multi_valued: tuple[str, ...] = Field(
        default=(), description="Attributes whose rules give lists; a list field is one in any case."
    )
    marker: str = Field(default="", description="The attribute that holds our own id of the record: employeeNumber.")
    on_missing: Literal["recreate", "refuse"] = Field(
        default="recreate", description="When an entry that we added or linked was deleted by hand in the directory."
    )
    deleted: dict[str, JsonValue] = Field(
        default={},
        description="With soft deletes: the attributes that say that an entry is disabled, and their values.",
    )
    shared: bool = Field(
        default=False,
        description="Whether its entries may be another data type's, too: this flow then only adds attributes to them.",
    )
    indexed: int = Field(
        default=50_000,
        ge=0,
        description="Most entries to read in order to match by an attribute that the directory can't search by.",
    )

    def delivered(self) -> HttpTarget:
        """What of it concerns matching and delivering."""
        return HttpTarget(
            resource=self.resource,
            marker=self.marker,
            on_missing=self.on_missing,
            deleted=self.deleted,
            shared=self.shared,
            indexed=self.indexed,
        )

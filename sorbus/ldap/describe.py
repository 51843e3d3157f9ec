"""A directory as a description, so that what polls APIs and delivers to them serves it, too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sorbus.http_api.description import ApiField, ApiResource, Description, Listing, Operation, Pagination, Search
from sorbus.ldap.connection import LdapConnection
from sorbus.ldap.entry_set import EntrySet

_ENTRY = Operation(path="entry", partial=True)


def described(
    system: str,
    options: LdapConnection,
    entries: EntrySet,
    fields: Mapping[str, ApiField],
    *,
    overlap: timedelta = timedelta(minutes=2),
    marker: str = "",
) -> Description:
    """The entries as the only resource. `fields`: those that are known; the others are as the directory gives them."""
    paging = Pagination(style="cursor", size=options.page_size)
    resource = ApiResource(
        id=entries.key,
        updated=(entries.modified,),
        overlap=overlap,
        list=Listing(path="entries", pagination=paging),
        changes=Listing(path="entries", pagination=paging, since_format="iso-seconds"),
        get=_ENTRY,
        create=_ENTRY,
        update=_ENTRY,
        delete=_ENTRY,
        search={name: Search(path="entries") for name in fields},
        fields=dict(fields),
        marker=marker,
    )
    return Description(api="ldap", title=system, resources={entries.name: resource})

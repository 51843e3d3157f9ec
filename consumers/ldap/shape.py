"""How a canonical record becomes an entry's attributes: as for any API, and ids of other records become references."""

from __future__ import annotations

from sorbus.connector import BoundFlow, Delivery
from sorbus.consumers.http.shape import Shape, Wanted
from sorbus.http_api.description import Description
from sorbus.http_api.interface import Json
from sorbus.mapping.id_lookup import id_in_target


class EntryShape(Shape):
    """A flow's attributes. `referring`: attribute in lower case -> the data type that its ids belong to."""

    def __init__(self, flow: BoundFlow, description: Description, referring: dict[str, str]) -> None:
        super().__init__(flow, description)
        self._referring = referring
        self.references = self.references | frozenset((data_type, "") for data_type in referring.values())

    def __call__(self, delivery: Delivery) -> Wanted:
        """MustWait for a record that isn't in the directory yet; errors as `Shape`'s."""
        wanted = super().__call__(delivery)
        for name, value in wanted.fields.items():
            data_type = self._referring.get(name.lower())
            if data_type is not None and value not in (None, "", []):
                wanted.fields[name] = _referred(data_type, value)
        return wanted


def _referred(data_type: str, value: Json) -> Json:
    if isinstance(value, list):
        return sorted({str(id_in_target(data_type, one, "")) for one in value if one not in (None, "")})
    return str(id_in_target(data_type, value, ""))

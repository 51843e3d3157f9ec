"""The words that the demo company's people, customers and products are made of; invented, with the usual accents."""

from __future__ import annotations

from typing import NamedTuple


class Town(NamedTuple):
    """A place, as the CRM writes it: the country by name."""

    name: str
    postcode: str
    county: str | None
    country: str
    currency: str
    language: str
    dial: str


TOWNS = (
    Town("Dresden", "01067", "Sachsen", "Germany", "EUR", "de", "+49 351"),
    Town("München", "80331", "Bayern", "Germany", "EUR", "de", "+49 89"),
    Town("Graz", "8010", "Steiermark", "Austria", "EUR", "de", "+43 316"),
    Town("Zürich", "8001", None, "Switzerland", "CHF", "de", "+41 44"),
    Town("Besançon", "25000", None, "France", "EUR", "fr", "+33 3 81"),
    Town("Liège", "4000", None, "Belgium", "EUR", "fr", "+32 4"),
    Town("León", "24001", "Castilla y León", "Spain", "EUR", "es", "+34 987"),
    Town("Évora", "7000-001", None, "Portugal", "EUR", "pt", "+351 266"),
    Town("Forlì", "47121", "FC", "Italy", "EUR", "it", "+39 0543"),
    Town("Łódź", "90-001", None, "Poland", "PLN", "pl", "+48 42"),
    Town("Brno", "602 00", None, "Czechia", "CZK", "cs", "+420 5"),
    Town("Ålesund", "6002", None, "Norway", "NOK", "no", "+47 70"),
    Town("Malmö", "211 18", None, "Sweden", "SEK", "sv", "+46 40"),
    Town("Århus", "8000", None, "Denmark", "DKK", "da", "+45 86"),
    Town("Jyväskylä", "40100", None, "Finland", "EUR", "fi", "+358 14"),
    Town("Leeds", "LS1 4AP", "West Yorkshire", "UK", "GBP", "en", "+44 113"),
    Town("Galway", "H91 E4X9", None, "Ireland", "EUR", "en", "+353 91"),
    Town("Portland", "97204", "OR", "United States", "USD", "en", "+1 503"),
)
STREETS = (
    "Lindenweg", "Hafenstraße", "Rue du Four", "Calle Mayor", "Via Roma", "ul. Długa", "Storgata", "Kongevej",
    "Mill Lane", "Station Road", "Havenkaai", "Rua das Flores", "Náměstí Svobody", "Kauppakatu", "Quai Ouest",
)  # fmt: skip
GIVEN_NAMES = (
    "Anna", "Björn", "Chloé", "Dmitri", "Eszter", "Farid", "Grażyna", "Håkon", "Inés", "João", "Katalin", "Léa",
    "Małgorzata", "Nuno", "Ólafur", "Petra", "Quentin", "Ruta", "Søren", "Tereza", "Ulla", "Vlasta", "William", "Zoë",
)  # fmt: skip
FAMILY_NAMES = (
    "Ahlström", "Bažant", "Costa", "de la Fuente", "Eriksen", "Fabre", "Gómez", "Horák", "Iversen", "Jansen",
    "Kowalski", "Lefèvre", "Müller", "Novák", "O'Brien", "Pešek", "Quist", "Rossi", "Şahin", "Tóth", "van den Berg",
    "Wójcik", "Yılmaz", "Zając",
)  # fmt: skip
TRADES = ("Bakery", "Boatyard", "Cycles", "Dental", "Foods", "Garage", "Hotel", "Joinery", "Print", "Roofing", "Tools")
ROLES = ("Owner", "Buyer", "Bookkeeper", "Site manager", "Office manager", None)
LABELS = ("key account", "trade fair", "slow payer", "wholesale", "newsletter", "public sector")
TEAMS = ("Sales", "Field sales", "Purchasing", "Warehouse", "Finance", "Service")
SITES = ("Leeds", "Dresden", "Malmö")
JOBS = ("Assistant", "Clerk", "Specialist", "Team lead", "Engineer")
FAMILIES = ("Fasteners", "Adhesives", "Hand tools", "Power tools", "Safety", "Packaging", "Services")
THINGS = ("Screw", "Clamp", "Drill bit", "Glove", "Tape", "Sealant", "Sander", "Ladder", "Helmet", "Carton", "Blade")
FINISHES = ("zinc", "brass", "steel", "oak", "matt black", "yellow", "clear", "heavy duty")
CHANNELS = ("phone", "web", "e-mail", "trade fair")
CARRIERS = ("Own van", "Parcel post", "Freight forwarder", None)
TERMS = ("prepaid", "net 14", "net 30", "net 60")
REMARKS = (
    "Ring before delivery.", "Leave with the neighbour at number 7.", "Pallet exchange; two empty ones to take back.",
    "Customer asked for split delivery.", None, None, None,
)  # fmt: skip

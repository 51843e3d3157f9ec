"""Common words of error messages, which identify nobody even if they are part of a name or address."""

from __future__ import annotations

_WORDS = """
    abuse admin administrator anonymous blacklisted blocked disposable emoji guest hostname html http https inside
    javascript keyword keywords maintenance newline newlines padding placeholder remain remaining remains script
    slash spam whitespace webhook www
    a access account accounts active address addresses allowed already an and any archived are array as at
    attribute available bad be been before between blank boolean by can cannot card change changed character
    characters check city code codes collection column combination company conflict constraint contact contacts
    contain contains content conversion convert could count country create created currency custom customer
    customers data database date dates decimal default delete deleted denied description did digit digits
    disabled do document does domain double duplicate during element else email empty enabled entity entry enum
    error errors exactly exceeded exist exists expected expired external failed failure false family field
    fields file first for forbidden foreign format found from full given greater greeting group has have header
    holds identifier if ignored in input integer into invalid invoice invoices is isn it item items its json key
    keys label last least length less letters like limit line lines link list locale locked long longer longest
    lower mail match matches maximum may message method minimum missing mobile model more most must name names
    negative no none not null number numbers numeric object of on one only option or order orders organisation
    organization other out over owner page parameter parent part password pattern payload permission person
    phone picklist please positive postal price primary product project property protected quantity query range
    read record records reference refused region regular relation request required reserved resource restricted
    result retry role row rows rule same save schema search sequence server service setting short shorter should
    sign since size source space spaces special state status street string subject such supported symbol symbols
    syntax system table tag task tax team telephone temporary test text than that the their them then there
    these they this those time timeout timestamp title to token too total true try two type undefined under
    unexpected unique unit unknown unprocessable unsupported until up update updated upper uppercase url use
    used user username users valid validation value values version was web website were what when where whether
    which while who with within without word words would write wrong year you your zero zip
"""
ORDINARY = frozenset(_WORDS.split())

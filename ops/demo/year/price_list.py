"""What product management does with the price list, a workbook on a share."""

from __future__ import annotations

from decimal import Decimal

import openpyxl

from sorbus.ops.demo.year.workplace import Workplace


class PriceList:
    """Its column of prices has the header `Net price`, until it is renamed."""

    def __init__(self, at: Workplace) -> None:
        self.at, self._column = at, "Net price"

    def week(self) -> None:
        """Two prices change, and the file is saved."""
        for product in self.at.chance.sample(list(self.at.ledger.products.values()), 2):
            product.price = (product.price * Decimal(self.at.chance.randrange(95, 108)) / 100).quantize(Decimal("0.01"))
            self.at.did("share: price changed")
        self.save()

    def save(self) -> None:
        """As programs save: whole, in place of the old file."""
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.title = "Prices"
        sheet.append(["SKU", "Article", self._column, "VAT"])
        for one in self.at.ledger.products.values():
            sheet.append([one.sku, one.name, one.price, one.vat])
            sheet.cell(sheet.max_row, 3).number_format = "0.00"
            sheet.cell(sheet.max_row, 4).number_format = "0%"
        self.at.prices.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.at.prices.with_name("saving.tmp")
        book.save(temporary)
        temporary.replace(self.at.prices)

    def rename_column(self, name: str) -> None:
        """The price list's header is another from now on."""
        self._column = name
        self.save()

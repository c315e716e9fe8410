"""What receipts, invoices and forms call their fields, in the languages they are met in. Facts of
language, no code: labels are compared case-folded, without their colon and number sign."""

from __future__ import annotations

from typing import Final

Words = frozenset[str]


def _words(text: str) -> Words:
    return frozenset(word.strip() for word in text.split("|"))


SUBTOTAL: Final = _words(
    "subtotal|sub total|sub-total|net total|total net|net amount|total excl|total excl. tax"
    "|total excluding tax|total before tax|amount before tax|zwischensumme|nettobetrag|netto"
    "|summe netto|gesamt netto|sous-total|sous total|total ht|montant ht|subtotal neto"
    "|base imponible|imponibile|subtotale|totale parziale|subtotaal|промежуточный итог"
    "|сумма без ндс|итого без ндс|подытог|小计|小計|未税金额|税前|소계|공급가액|税抜"
)
TAX: Final = _words(
    "tax|sales tax|vat|gst|hst|pst|qst|tax amount|total tax|total vat|service tax|taxes"
    "|incl. tax|mwst|mwst.|ust|ust.|umsatzsteuer|mehrwertsteuer|enthaltene mwst|inkl. mwst"
    "|zzgl. mwst|steuer|tva|montant tva|total tva|taxe|iva|impuesto|impuestos|imposta|btw"
    "|moms|ндс|в т.ч. ндс|в том числе ндс|сумма ндс|налог|税|税额|税額|增值税|消費税|内消費税"
    "|외세|부가세|부가가치세|세금"
)
TOTAL: Final = _words(
    "total|total amount|total price|invoice total|total incl|total incl. tax|total incl. vat"
    "|total including tax|total sum|sum total|sum|summe|gesamt|gesamtsumme|endsumme"
    "|gesamtpreis|summe brutto|brutto|total ttc|montant total|montant ttc|importe total"
    "|totale|totaal|итог|итого|всего|сумма|合计|合計|总计|總計|总额|總額|金额合计|합계|총액"
    "|총합계|총 금액"
)
PAYABLE: Final = _words(
    "grand total|total due|amount due|balance due|total payable|amount payable|net payable"
    "|to pay|total to pay|balance to pay|please pay|gesamtbetrag|rechnungsbetrag|zu zahlen"
    "|zahlbetrag|endbetrag|rechnungssumme|net à payer|net a payer|à payer|total à payer"
    "|a pagar|total a pagar|da pagare|totale da pagare|te betalen|att betala|к оплате"
    "|всего к оплате|итого к оплате|итого с ндс|应付|应付金额|实付|实付金额|價稅合計|价税合计"
    "|お支払い|ご請求金額|결제금액|받을금액|청구금액"
)
"""What is to be paid in the end: it outranks a plain total."""

PAID: Final = _words(
    "cash|change|card|credit card|debit card|visa|mastercard|amex|paid|amount paid|payment"
    "|tendered|cash tendered|amount tendered|change due|balance|tip|gratuity|deposit|bar"
    "|gegeben|rückgeld|ec-karte|kartenzahlung|wechselgeld|espèces|especes|carte"
    "|carte bancaire|rendu|monnaie|efectivo|cambio|tarjeta|contanti|resto|наличные|наличными"
    "|сдача|карта|картой|безналичными|получено|现金|找零|找續|お預り|お釣り|おつり|현금"
    "|거스름돈|카드|신용카드"
)
DISCOUNT: Final = _words(
    "discount|savings|you saved|total savings|coupon|rabatt|ersparnis|remise|descuento|sconto"
    "|korting|скидка|优惠|折扣|割引|할인"
)
COUNTS: Final = _words(
    "items|item count|number of items|total items|items sold|total qty|total quantity|artikel"
    "|anzahl|articles|nombre d'articles|artículos|позиций|количество|件数|总数量|수량"
)

DATE: Final = _words(
    "date|invoice date|date of issue|issue date|issued|issued on|date issued|bill date"
    "|receipt date|order date|transaction date|datum|rechnungsdatum|ausstellungsdatum"
    "|belegdatum|date de facture|date de facturation|date d'émission|fecha|fecha de factura"
    "|fecha de emisión|data|data fattura|data da fatura|factuurdatum|дата|дата счета"
    "|дата счёта|от|日期|开票日期|開票日期|發票日期|日付|発行日|請求日|날짜|일자|발행일"
    "|작성일자|거래일시"
)
DUE_DATE: Final = _words(
    "due date|payment due|date due|due|pay by|payment due date|due by|pay before"
    "|fälligkeitsdatum|fällig am|fällig|zahlbar bis|fälligkeit|date d'échéance|échéance"
    "|fecha de vencimiento|vencimiento|scadenza|data di scadenza|vervaldatum|срок оплаты"
    "|оплатить до|到期日|付款期限|支払期限|お支払期限|납부기한|만기일|지급기한"
)
INVOICE_NUMBER: Final = _words(
    "invoice number|invoice no|invoice no.|invoice #|invoice|invoice id|invoice nr|inv no"
    "|inv no.|inv #|bill no|bill no.|bill number|reference|tax invoice no|rechnungsnummer"
    "|rechnungsnr|rechnungsnr.|rechnungs-nr|rechnungs-nr.|rechnung nr|rechnung nr."
    "|belegnummer|numéro de facture|facture n°|facture no|n° facture|n° de facture|facture"
    "|número de factura|factura n°|factura no|factura nº|nº factura|factura|numero fattura"
    "|fattura n.|fattura n|factuurnummer|номер счета|номер счёта|счет №|счёт №|счет-фактура №"
    "|счет на оплату №|счёт на оплату №|发票号码|發票號碼|发票号|发票编号|請求書番号"
    "|청구서 번호|송장 번호|인보이스 번호|계산서 번호"
)
VENDOR: Final = _words(
    "vendor|seller|supplier|from|sold by|issued by|company|merchant|verkäufer|lieferant|von"
    "|absender|vendeur|fournisseur|émetteur|de|vendedor|proveedor|emisor|venditore|fornitore"
    "|leverancier|продавец|поставщик|исполнитель|销售方|卖方|销方|供应商|発行元|판매자|공급자"
)
CUSTOMER: Final = _words(
    "bill to|billed to|billing to|invoice to|invoiced to|customer|client|buyer|sold to|to"
    "|recipient|customer name|client name|bill-to|kunde|rechnung an|rechnungsempfänger|käufer"
    "|empfänger|client|facturé à|facturer à|destinataire|acheteur|cliente|facturar a"
    "|comprador|intestatario|fatturare a|klant|factuur aan|покупатель|заказчик|плательщик"
    "|клиент|кому|购买方|买方|客户|購買方|請求先|お客様|구매자|고객|공급받는자|받는 사람"
)
SHIP_TO: Final = _words("ship to|shipped to|deliver to|delivery to|lieferadresse|livrer à|enviar a")

DESCRIPTION: Final = _words(
    "description|item|items|item description|product|service|services|details|particulars"
    "|article|name|goods|task|beschreibung|bezeichnung|artikel|leistung|position|désignation"
    "|designation|libellé|produit|descripción|concepto|producto|artículo|descrizione|prodotto"
    "|omschrijving|наименование|описание|товар|услуга|товары (работы, услуги)"
    "|наименование товара|品名|名称|项目|商品|货物或应税劳务、服务名称|摘要|내용|품목|품명"
    "|상품명"
)
QUANTITY: Final = _words(
    "qty|quantity|qty.|hours|hrs|units|count|pcs|no|menge|anzahl|stück|stk|std|quantité|qté"
    "|qte|nombre|cantidad|cant|cant.|quantità|q.tà|aantal|кол-во|количество|кол.|数量|件数"
    "|수량"
)
UNIT_PRICE: Final = _words(
    "unit price|price|rate|unit cost|cost|price/unit|price per unit|each|price each|unit"
    "|hourly rate|einzelpreis|stückpreis|preis|e-preis|ep|prix unitaire|prix|pu|p.u.|pu ht"
    "|prix unitaire ht|precio|precio unitario|p. unitario|prezzo|prezzo unitario|stukprijs"
    "|prijs|цена|цена за ед.|цена за единицу|单价|單價|単価|단가|가격"
)
AMOUNT: Final = _words(
    "amount|total|line total|total price|net amount|sum|extended price|ext. price|value"
    "|betrag|gesamt|gesamtpreis|summe|gesamtbetrag|montant|total ht|montant ht|importe|total"
    "|importo|totale|bedrag|totaal|сумма|стоимость|всего|итого|金额|金額|合计|합계|금액"
)

TITLES: Final = _words(
    "invoice|tax invoice|receipt|sales receipt|bill|cash receipt|official receipt|welcome"
    "|rechnung|quittung|kassenbon|beleg|facture|reçu|ticket|factura|recibo|fattura|ricevuta"
    "|scontrino|factuur|bon|счет|счёт|счет-фактура|счет на оплату|чек|кассовый чек"
    "|товарный чек|квитанция|发票|收据|小票|請求書|領収書|領収証|レシート|영수증|청구서"
    "|세금계산서|customer copy|merchant copy|copy|duplicate|original|thank you"
)
"""Words at the top of a page that name the paper, not who wrote it."""


TITLE_CHARACTERS_MAX: Final = 10


def plain(text: str) -> str:
    """A label as the tables have it."""
    return " ".join(text.casefold().split()).strip(" :：.*#-–—=|")


def begins(text: str, words: Words) -> str | None:
    """The longest of the words that the text begins with, as a whole word."""
    bare = plain(text)
    best: str | None = None
    for word in words:
        rest = bare[len(word) :]
        whole = not rest or not rest[0].isalpha() or not word[-1].isascii()
        if bare.startswith(word) and whole and (best is None or len(word) > len(best)):
            best = word
    return best


def is_title(text: str) -> bool:
    """The words name the paper, as "Tax invoice" does; in Chinese also with a word before that."""
    bare = plain(text)
    if bare in TITLES:
        return True
    return len(bare) <= TITLE_CHARACTERS_MAX and any(
        bare.endswith(word) for word in TITLES if not word.isascii()
    )

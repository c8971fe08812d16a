"""The Uzbek profiles: letters and their signs, both scripts, numbers in words."""

import pytest

from harken.text import normalize
from harken.text.normalizers.uzbek import cardinal, ordinal
from harken.text.normalizers.uzbek_scripts import to_cyrillic, to_latin

SIGNS = ["'", "`", "´", "ʹ", "ʻ", "ʼ", "ʽ", "ʾ", "ʿ", "ˈ", "ˊ", "ˋ", "‘", "’", "‛", "′", "‵", "＇"]

# Spelled as the two orthographies have it; each side gives the other.
PAIRS = """
kitob китоб, maktab мактаб, bola бола, qiz қиз, oʻgʻil ўғил, ona она, ota ота, aka ака, opa опа, uka ука,
singil сингил, uy уй, eshik эшик, deraza дераза, stol стол, non нон, suv сув, choy чой, goʻsht гўшт, osh ош,
shahar шаҳар, qishloq қишлоқ, koʻcha кўча, yoʻl йўл, bozor бозор, doʻkon дўкон, dengiz денгиз, daryo дарё, togʻ тоғ,
osmon осмон, quyosh қуёш, oy ой, yulduz юлдуз, yomgʻir ёмғир, qor қор, shamol шамол, bahor баҳор, yoz ёз, kuz куз,
qish қиш, yil йил, hafta ҳафта, kun кун, tun тун, soat соат, daqiqa дақиқа, bugun бугун, ertaga эртага, kecha кеча,
bir бир, ikki икки, uch уч, toʻrt тўрт, besh беш, olti олти, yetti етти, sakkiz саккиз, toʻqqiz тўққиз, oʻn ўн,
yigirma йигирма, oʻttiz ўттиз, qirq қирқ, ellik эллик, oltmish олтмиш, yetmish етмиш, sakson саксон, toʻqson тўқсон,
yuz юз, ming минг, million миллион, milliard миллиард, birinchi биринчи, ikkinchi иккинчи, yangi янги, eski эски,
katta катта, kichik кичик, yaxshi яхши, yomon ёмон, oq оқ, qora қора, qizil қизил, koʻk кўк, sariq сариқ, yashil яшил,
issiq иссиқ, sovuq совуқ, shirin ширин, achchiq аччиқ, men мен, sen сен, biz биз, siz сиз, ular улар, kim ким,
nima нима, qayer қаер, qachon қачон, nega нега, qanday қандай, ha ҳа, yoʻq йўқ, bor бор, kerak керак, mumkin мумкин,
kelmoq келмоқ, ketmoq кетмоқ, yozmoq ёзмоқ, oʻqimoq ўқимоқ, koʻrmoq кўрмоқ, bilmoq билмоқ, aytmoq айтмоқ,
yemoq емоқ, ichmoq ичмоқ, uxlamoq ухламоқ, ishlamoq ишламоқ, oʻynamoq ўйнамоқ, gapirmoq гапирмоқ, tushunmoq тушунмоқ,
oʻzbek ўзбек, oʻzbekiston ўзбекистон, toshkent тошкент, samarqand самарқанд, buxoro бухоро, xiva хива,
fargʻona фарғона, andijon андижон, namangan наманган, qashqadaryo қашқадарё, surxondaryo сурхондарё,
respublika республика, davlat давлат, xalq халқ, millat миллат, til тил, tarix тарих, ilm илм, fan фан, sanʼat санъат,
maʼno маъно, maʼlumot маълумот, eʼlon эълон, eʼtibor эътибор, sunʼiy сунъий, jurʼat журъат, qalʼa қалъа,
masʼul масъул, inʼom инъом, surʼat суръат, taʼlim таълим, daʼvo даъво, vaʼda ваъда, anʼana анъана, maʼyus маъюс,
tamaʼ тамаъ, isʼhoq исҳоқ, asʼhob асҳоб, hayot ҳаёт, dunyo дунё, ayol аёл, buyuk буюк, tuya туя, piyola пиёла, oyoq оёқ,
osiyo осиё, uyat уят, siyosat сиёсат, iqtisodiyot иқтисодиёт, madaniyat маданият, tabiat табиат, jamiyat жамият,
milliy миллий, tabiiy табиий, rasmiy расмий, adabiyot адабиёт, yer ер, poyezd поезд, poema поэма, aeroport аэропорт,
yetakchi етакчи, sayyora сайёра, ayyor айёр, quyi қуйи, yeyish ейиш, tuyoq туёқ, gʻalaba ғалаба, gʻoya ғоя, bogʻ боғ,
sogʻliq соғлиқ, togʻa тоға, oʻrmon ўрмон, koʻngil кўнгил, soʻz сўз, soʻm сўм, choʻl чўл, joʻja жўжа, moʻrt мўрт,
singan синган, tong тонг, dengizchi денгизчи, keng кенг, shoir шоир, shuhrat шуҳрат, choʻpon чўпон, jahon жаҳон,
ketsa кетса, aytsin айтсин, uyatsiz уятсиз, vaqtsizlik вақтсизлик, militsiya милиция, konstitutsiya конституция,
litsey лицей, dotsent доцент, protsent процент, aksiya акция, funksiya функция, konferensiya конференция, obyekt объект,
subyekt субъект, premyera премьера, karyera карьера, rayon район, mayor майор, film фильм, albom альбом,
kompyuter компьютер, yanvar январь, fevral февраль, mart март, aprel апрель, may май, iyun июнь, iyul июль,
avgust август, sentabr сентябрь, oktabr октябрь, noyabr ноябрь, dekabr декабрь, sentabrda сентябрда,
sirk цирк, sirka сирка,
universitet университет, telefon телефон, avtobus автобус, shofyor шофёр, aktyor актёр, byuro бюро, yubiley юбилей
"""
WORDS = [tuple(pair.split()) for pair in PAIRS.replace("\n", " ").split(",")]

# Latin writes these like words that mean something else, or drops a letter: Cyrillic cannot be read back.
LATIN_ONLY = """
цех sex, цемент sement, щука shuka, борщ borsh, выставка vistavka, альманах almanax, батальон batalyon, ёд yod, йод yod,
пицца pitsa, мэр mer, съезд syezd, адъютант adyutant, мўъжиза moʻjiza, бюджет budjet, подъезд podyezd, бульон bulyon
"""


def test_the_list_of_words_is_long_and_has_no_doubles() -> None:
    assert len(WORDS) == len(set(WORDS)) > 240


@pytest.mark.parametrize(("latin", "cyrillic"), WORDS)
def test_both_scripts_give_each_other(latin: str, cyrillic: str) -> None:
    assert to_latin(cyrillic) == latin
    assert to_cyrillic(latin) == cyrillic


@pytest.mark.parametrize("pair", LATIN_ONLY.replace("\n", " ").split(","))
def test_what_only_goes_into_latin(pair: str) -> None:
    cyrillic, latin = pair.split()
    assert to_latin(cyrillic) == latin


@pytest.mark.parametrize("sign", SIGNS)
def test_every_sign_becomes_the_letter_it_stands_for(sign: str) -> None:
    text = f"O{sign}zbek G{sign}alaba tog{sign} ma{sign}no Is{sign}hoq"
    assert normalize(text, "uzbek") == "oʻzbek gʻalaba togʻ maʼno isʼhoq"
    assert normalize(text, "uzbek-cyrillic") == "ўзбек ғалаба тоғ маъно исҳоқ"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" ... ", ""),
        ("‘salom’ 'dunyo' \"bog'\" «tog‘»", "salom dunyo bogʻ togʻ"),
        ("'kino' katta", "kino katta"),  # the quote was opened, so the second one closes it
        ("'tog''", "togʻ"),
        ("tamaʼ tama’", "tamaʼ tama"),  # a letter sign stays; a quote at the end of a word goes
        ("o''zbek Oʻʻzbek", "oʻzbek oʻzbek"),
        ("Ŏzbek õzbek Ózbek ŏzbek", "oʻzbek oʻzbek oʻzbek oʻzbek"),
        ("Ğalaba ǵalaba Şahar Çoy", "gʻalaba gʻalaba shahar choy"),
        ("о́на ЎЗБЕК, ЙЎҚ!", "о́на ўзбек йўқ"),
        ("ўзбек қиз ғоя ҳаёт", "ўзбек қиз ғоя ҳаёт"),
        ("asta-sekin, tez!", "asta sekin tez"),
        ("Aa\u200bʻ o\u00adʻzbek", "aaʼ oʻzbek"),
    ],
)
def test_uzbek_letters(text: str, expected: str) -> None:
    assert normalize(text, "uzbek") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("о́на Иблис", "ona iblis"),  # stress is no letter: о́ must not become oʻ
        ("сунъий Oʻzbek маънο", "sunʼiy oʻzbek maʼnο"),  # Greek ο is not ours
        ("ЪЪЪ", ""),
        ("объект, ҳокимият; июлда", "obyekt hokimiyat iyulda"),
    ],
)
def test_uzbek_latin(text: str, expected: str) -> None:
    assert normalize(text, "uzbek-latin") == expected


def test_text_in_either_script_becomes_the_same() -> None:
    latin = "2026-yil 1-sentabrda O'zbekistonda 5 ta yangi maktab ochildi, bu 10 % ko'p."
    cyrillic = "2026-йил 1-сентябрда Ўзбекистонда 5 та янги мактаб очилди, бу 10 % кўп."
    spoken = (
        "ikki ming yigirma oltinchi yil birinchi sentabrda oʻzbekistonda beshta yangi maktab ochildi bu oʻn foiz koʻp"
    )
    assert normalize(latin, "uzbek") == normalize(latin, "uzbek-latin") == normalize(cyrillic, "uzbek-latin") == spoken
    in_cyrillic = normalize(cyrillic, "uzbek")
    assert in_cyrillic == normalize(cyrillic, "uzbek-cyrillic") == normalize(latin, "uzbek-cyrillic")
    assert in_cyrillic.startswith("икки минг йигирма олтинчи йил биринчи сентябрда ўзбекистонда бешта")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "nol"),
        (7, "yetti"),
        (10, "oʻn"),
        (45, "qirq besh"),
        (100, "yuz"),
        (119, "bir yuz oʻn toʻqqiz"),
        (288, "ikki yuz sakson sakkiz"),
        (1000, "ming"),
        (1992, "bir ming toʻqqiz yuz toʻqson ikki"),
        (2026, "ikki ming yigirma olti"),
        (12_340, "oʻn ikki ming uch yuz qirq"),
        (100_000, "yuz ming"),
        (653_000, "olti yuz ellik uch ming"),
        (1_000_000, "bir million"),
        (23_437_219, "yigirma uch million toʻrt yuz oʻttiz yetti ming ikki yuz oʻn toʻqqiz"),
        (2_000_000_001, "ikki milliard bir"),
        (10**12, "bir trillion"),
    ],
)
def test_cardinals(number: int, words: str) -> None:
    assert cardinal(number) == words


def test_cardinals_can_be_read_back() -> None:
    """An independent reader: units add up, yuz multiplies by 100, the larger names close a group."""
    units = {cardinal(n): n for n in (*range(10), *range(10, 100, 10))}
    scales = {"ming": 10**3, "million": 10**6, "milliard": 10**9, "trillion": 10**12}
    for number in [*range(1, 12_000, 7), *(7**power % 10**15 for power in range(1, 200))]:
        total, group = 0, 0
        for word in cardinal(number).split():
            if word == "yuz":
                group = (group or 1) * 100
            elif word in scales:
                total, group = total + (group or 1) * scales[word], 0
            else:
                group += units[word]
        assert total + group == number


def test_ordinals() -> None:
    assert [ordinal(cardinal(n)) for n in (1, 2, 6, 8, 10, 20, 100)] == [
        "birinchi", "ikkinchi", "oltinchi", "sakkizinchi", "oʻninchi", "yigirmanchi", "yuzinchi",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5-chi 5-nchi 5-inchi 5nchi 3-chisi", "beshinchi beshinchi beshinchi beshinchi uchinchisi"),
        ("1991-yil 8-mart 5-“A” sinf", "bir ming toʻqqiz yuz toʻqson birinchi yil sakkizinchi mart beshinchi a sinf"),
        ("2020-2021-yillar", "ikki ming yigirma ikki ming yigirma birinchi yillar"),
        ("5ta 5 ta 1ta 21 tadan 5 tashkilot", "beshta beshta bitta yigirma bittadan besh tashkilot"),
        ("40ga 50ga 5ga 10dan 5 ga", "qirqqa ellikka beshga oʻndan besh ga"),
        ("10% 10 % 50%ga 3,5 %", "oʻn foiz oʻn foiz ellik foizga uch butun oʻndan besh foiz"),
        ("3,5 3.05 0,25", "uch butun oʻndan besh uch butun yuzdan besh nol butun yuzdan yigirma besh"),
        ("5 000 soʻm 1.500.000 2\u00a0000", "besh ming soʻm bir million besh yuz ming ikki ming"),
        ("-5 \u22125 5-6", "minus besh minus besh besh olti"),
        ("12:30 10.05.2026", "oʻn ikki oʻttiz oʻn nol besh ikki ming yigirma olti"),
        ("90 123 45 67", "toʻqson bir yuz yigirma uch qirq besh oltmish yetti"),
        ("007 1234567890123456", "nol nol yetti bir ikki uch toʻrt besh olti yetti sakkiz toʻqqiz nol bir ikki uch"
         " toʻrt besh olti"),
        ("5km COVID-19 ٥", "besh km covid oʻn toʻqqiz besh"),
        ("5-синф, 5та", "бешинчи синф бешта"),
    ],
)  # fmt: skip
def test_numbers_in_text(text: str, expected: str) -> None:
    assert normalize(text, "uzbek") == expected


def test_numbers_take_the_script_of_the_text() -> None:
    assert normalize("5 китоб", "uzbek") == "беш китоб"
    assert normalize("5 kitob", "uzbek") == "besh kitob"
    assert normalize("5", "uzbek") == "besh"
    assert normalize("5", "uzbek-cyrillic") == "беш"

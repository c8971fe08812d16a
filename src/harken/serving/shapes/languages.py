"""Languages by code, and their English names as OpenAI's API writes them.

The codes are those of ISO 639-1, with the three that Whisper knows beside it (haw, jw, yue); the names are those of
Unicode's CLDR in lower case.
"""

_TABLE = """
aa afar; ab abkhazian; ae avestan; af afrikaans; ak akan; am amharic; an aragonese; ar arabic; as assamese;
av avaric; ay aymara; az azerbaijani; ba bashkir; be belarusian; bg bulgarian; bi bislama; bm bambara; bn bengali;
bo tibetan; br breton; bs bosnian; ca catalan; ce chechen; ch chamorro; co corsican; cr cree; cs czech;
cu church slavic; cv chuvash; cy welsh; da danish; de german; dv divehi; dz dzongkha; ee ewe; el greek; en english;
eo esperanto; es spanish; et estonian; eu basque; fa persian; ff fula; fi finnish; fj fijian; fo faroese;
fr french; fy western frisian; ga irish; gd scottish gaelic; gl galician; gn guarani; gu gujarati; gv manx;
ha hausa; haw hawaiian; he hebrew; hi hindi; ho hiri motu; hr croatian; ht haitian creole; hu hungarian;
hy armenian; hz herero; ia interlingua; id indonesian; ie interlingue; ig igbo; ii sichuan yi; ik inupiaq; io ido;
is icelandic; it italian; iu inuktitut; ja japanese; jv javanese; jw javanese; ka georgian; kg kongo; ki kikuyu;
kj kuanyama; kk kazakh; kl kalaallisut; km khmer; kn kannada; ko korean; kr kanuri; ks kashmiri; ku kurdish;
kv komi; kw cornish; ky kyrgyz; la latin; lb luxembourgish; lg ganda; li limburgish; ln lingala; lo lao;
lt lithuanian; lu luba-katanga; lv latvian; mg malagasy; mh marshallese; mi maori; mk macedonian; ml malayalam;
mn mongolian; mr marathi; ms malay; mt maltese; my burmese; na nauru; nb norwegian bokmal; nd north ndebele;
ne nepali; ng ndonga; nl dutch; nn norwegian nynorsk; no norwegian; nr south ndebele; nv navajo; ny nyanja;
oc occitan; oj ojibwa; om oromo; or odia; os ossetic; pa punjabi; pi pali; pl polish; ps pashto; pt portuguese;
qu quechua; rm romansh; rn rundi; ro romanian; ru russian; rw kinyarwanda; sa sanskrit; sc sardinian; sd sindhi;
se northern sami; sg sango; si sinhala; sk slovak; sl slovenian; sm samoan; sn shona; so somali; sq albanian;
sr serbian; ss swati; st southern sotho; su sundanese; sv swedish; sw swahili; ta tamil; te telugu; tg tajik;
th thai; ti tigrinya; tk turkmen; tl tagalog; tn tswana; to tongan; tr turkish; ts tsonga; tt tatar; tw twi;
ty tahitian; ug uyghur; uk ukrainian; ur urdu; uz uzbek; ve venda; vi vietnamese; vo volapuk; wa walloon; wo wolof;
xh xhosa; yi yiddish; yo yoruba; yue cantonese; za zhuang; zh chinese; zu zulu
"""
LANGUAGE_NAMES = {
    code: name for code, _, name in (entry.strip().partition(" ") for entry in _TABLE.replace("\n", " ").split(";"))
}
UNKNOWN = "unknown"


def language_name(tag: str | None) -> str:
    """The English name of a BCP-47 tag's language, lower case; "unknown" for None, the tag itself where it is not in
    the table.
    """
    if tag is None:
        return UNKNOWN
    return LANGUAGE_NAMES.get(primary(tag), tag)


def primary(tag: str) -> str:
    """The language of a BCP-47 tag without its script, region and variants: "pt" of "pt-BR"."""
    return tag.replace("_", "-").partition("-")[0].lower()

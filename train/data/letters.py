"""How likely a text is in the languages that files come in: what an encoding is chosen by.

The weights are natural logarithms of rough shares, good enough to tell a word from what another encoding makes of its
bytes: letters of a language by how often they occur, Chinese characters by the rank that their own character sets give
them, and what no word of any language looks like (a capital inside a word, a sign between two letters).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from math import log

# Letters beyond ASCII of each language, each with its share per thousand of them.
LATIN: dict[str, dict[str, int]] = {
    "en": {"é": 300, "ï": 60, "ö": 60, "ü": 60, "ä": 40, "ñ": 60, "ç": 40, "á": 40, "í": 40, "ó": 40, "è": 40, "ô": 20},
    "de": {"ü": 340, "ä": 290, "ö": 180, "ß": 160, "é": 10},
    "fr": {"é": 570, "à": 140, "è": 100, "ê": 60, "ç": 35, "ô": 20, "û": 15, "î": 15, "â": 15, "ù": 15, "œ": 8, "ï": 4,
           "ë": 4},
    "es": {"ó": 290, "í": 200, "á": 190, "é": 130, "ñ": 80, "ú": 55, "¿": 30, "¡": 10, "ü": 5, "ª": 3, "º": 5},
    "pt": {"ã": 210, "ç": 160, "á": 130, "é": 130, "í": 80, "ó": 80, "ê": 70, "õ": 50, "ú": 40, "â": 30, "à": 25,
           "ô": 20, "º": 5, "ª": 5},
    "it": {"è": 340, "à": 250, "ù": 130, "ò": 130, "ì": 70, "é": 80},
    "nl": {"ë": 500, "é": 250, "ï": 150, "ö": 40, "ü": 40, "è": 20},
    "sv": {"ä": 400, "å": 290, "ö": 290, "é": 10},
    "da": {"ø": 330, "å": 340, "æ": 310, "é": 20},
    "fi": {"ä": 800, "ö": 180, "å": 10},
    "pl": {"ł": 210, "ę": 170, "ą": 160, "ó": 140, "ż": 120, "ś": 100, "ć": 50, "ń": 30, "ź": 10},
    "cs": {"í": 170, "á": 150, "ě": 110, "é": 90, "ý": 70, "ř": 80, "č": 80, "ž": 70, "š": 60, "ů": 50, "ú": 20,
           "ň": 10, "ť": 10, "ó": 8, "ď": 10},
    "sk": {"á": 180, "í": 120, "č": 100, "é": 90, "ý": 90, "ž": 90, "š": 80, "ú": 80, "ľ": 50, "ť": 60, "ô": 20,
           "ň": 20, "ď": 10, "ä": 10, "ó": 10},
    "hu": {"é": 280, "á": 300, "ö": 100, "ó": 90, "ő": 80, "ü": 50, "í": 50, "ú": 25, "ű": 15},
    "ro": {"ă": 300, "î": 150, "ș": 110, "ş": 110, "ț": 90, "ţ": 90, "â": 150},
    "hr": {"č": 300, "š": 280, "ž": 180, "ć": 180, "đ": 60},
    "tr": {"ı": 320, "ş": 120, "ü": 170, "ğ": 100, "ö": 70, "ç": 110, "İ": 80, "â": 5},
}  # fmt: skip
# Letters of other scripts, the most frequent first.
ALPHABETS = {
    "ru": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
    "uk": "оаинівретслкдумпзяьбгйчхцїюєжшщфґ",
    "el": "αοιετσνηυρπκμλςόωάίέδγήχύθφβώξζψϊΐ",
    "he": "יוהלאמרתבשםנעדקחפכצטגסזןךףץ",
    "ar": "اليمنوترهبعدسفةكقحجشصطخأزضثىغءذئظإآؤ،؟",
    "th": "านรอก่เงมยลว้ดทสตะปบคหแจพชีขใไัิูุโผธึซณศญษถฟฐภำืฉๆ",
}
HANS = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然"
    "家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把"
    "机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果"
    "加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔"
    "更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展"
    "马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共"
    "确传师观清今切院让识候带导争运付款退请提前日通知对方签续合同到期天多久七作办理申材料号码医药病患费证明"
)
HANT = (
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然"
    "家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日軍者意無力它與長把"
    "機十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果"
    "加西斯月話合回特代內信表化老給世位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾口認條平系氣題活爾"
    "更別打女變四神總何電數安少報才結反受目太量再感建務做接必場件計管期市直德資命山金指克許統區保至隊形社便空決治展"
    "馬科司五基眼書非則聽白卻界達光放強即像難且權思王象完設式色路記南品住告類求據程北邊死張該交規萬取拉格望覺術領共"
    "確傳師觀清今切院讓識候帶導爭運付款退請提前日通知對方簽續合約到期天多久七作辦理申材料號碼醫藥病患費證明需"
)
KANJI = (
    "日一国会人年大十二本中長出三同時政事自行社見月分議後前民生連五発間対上部東者党地合市業内相方四定今回新場金員九"
    "入選立開手米力学問高代明実円関決子動京全目表戦経通外最言氏現理調体化田当八六約主題下首意法不来作性的要用制治度"
    "務強気小七成期公野協取都和統以機平総加山思家話世受区領多県続進正安設保改数記院女初北午指権心界支第産結百派点教"
    "報済書府活原先共得解名交資予川向際査勝面委告軍文反元重近千考判認画海参売利組知案道信策集在件団別物側任引使求所"
    "次水半品昨論計死官増係感特情投示変打男基私各始島直両朝革価式確村提運終挙果西勢減台広容必応演電歳住争談能無再位"
    "置企真流格有疑口過局少放税検藤町常校料沢裁状工建語球営空職証土与急止送援供可役構木割聞身費付施切由説転食比難防"
    "補車優夫研収断井何南石足違消境神番規術護展態導鮮備宅害配副算視条幹独警宮究育席輸訪楽起万着乗店述残想線率病農州"
    "武声質念待試族象銀域助労例衛然早張映限親額監環験追審商葉義伝働形景落欧担好退準賞訴辺造英被株頭技低毎医復仕去姿"
    "返契絡"
)
HANGUL = (
    "이다는에의을를가고하지은로서기사대한도어나리시정인과자수일주전해상보아부제그성것있들만관라년공으요게구여연장유원면"
    "비세생적계교경신학국조동화합마소오용스미니진실내무안영중방개물분위결회양할통업까거모단선발되없우금습간명재않문음행"
    "등약당산심등차최입파권불후드건월민표반치말법민와려같러산때체식히번본출운김였했된며치트접받또님환얼만료갱십납급청"
)
_SETS = {"hans": frozenset(HANS), "hant": frozenset(HANT), "ja": frozenset(KANJI), "ko": frozenset(HANGUL)}
_SIGNS = frozenset("„“”‚‘’–—…«»‹›€£§°·•\u00a0№©®²³½×µ±™¼¾")  # in texts of any language
_WIDE = frozenset("，。？！、：；“”‘’（）《》「」『』—…～·【】　〜・ー")
LATINS, SCRIPTS, EAST_ASIAN = tuple(LATIN), tuple(ALPHABETS), ("hans", "hant", "ja", "ko")

ASCII, FOREIGN, ODD = -3.0, -9.0, -14.0
INSIDE = 5.0
"""What a capital, a sign or another script inside a word takes away."""


# Signs that programs put in of themselves, and that English has more often than any letter beyond ASCII.
_TYPED = "’‘“”–—…€°§"


def likelihood(text: str, language: str) -> float:
    """The logarithm of how likely a text is in a language."""
    total = 0.0
    before = " "
    for position, letter in enumerate(text):
        if letter < "\x80":
            total += ASCII if letter >= " " or letter in "\r\n\t" else ODD
        else:
            after = text[position + 1] if position + 1 < len(text) else " "
            total += _weight(letter, language) - _misplaced(before, letter, after)
        before = letter
    return total


@cache
def _weight(letter: str, language: str) -> float:
    if unicodedata.category(letter) in ("Cc", "Co", "Cn", "Cs"):
        return ODD
    if language in LATIN:
        return _of_latin(letter, LATIN[language])
    if language in ALPHABETS:
        return _of_alphabet(letter, ALPHABETS[language])
    return _of_east_asian(letter, language)


def _of_latin(letter: str, shares: dict[str, int]) -> float:
    share = shares.get(letter) or shares.get(letter.lower(), 0) / 12
    if share:
        return log(share / 1000) - 2
    return -3.0 if letter in _TYPED else -5.0 if letter in _SIGNS else FOREIGN


def _of_alphabet(letter: str, alphabet: str) -> float:
    rank = alphabet.find(letter)
    if rank < 0:
        rank = alphabet.find(unicodedata.normalize("NFC", letter.lower()))
        if rank < 0:
            return -5.0 if letter in _SIGNS else FOREIGN
        return log(0.1 * 0.92**rank) - 2.5
    return log(0.1 * 0.92**rank)


def _of_east_asian(letter: str, language: str) -> float:
    if letter in _WIDE:
        return -3.5
    if letter in _SETS[language]:
        return -5.5
    if language == "ja" and "぀" <= letter <= "ヿ":
        return -3.5 if letter < "゠" else -4.5
    if "０" <= letter <= "ｚ":
        return -7.0
    return _by_rank(letter, language)


def _by_rank(letter: str, language: str) -> float:
    """What the character sets themselves say: first the common characters, then the rare ones."""
    charset, first, rows = {
        "hans": ("gb2312", 0xB0, 0xD7), "hant": ("big5", 0xA4, 0xC6), "ja": ("euc_jp", 0xB0, 0xCF),
        "ko": ("euc_kr", 0xB0, 0xC8),
    }[language]  # fmt: skip
    try:
        row = letter.encode(charset)[0]
    except UnicodeEncodeError:
        return ODD
    if first <= row <= rows:
        return -9.0 if language != "ko" else -7.5
    return -12.0


def _misplaced(before: str, letter: str, after: str) -> float:
    """What is taken away for a letter that no word has at that place."""
    kind = unicodedata.category(letter)
    if kind[0] not in "LM":
        joins = letter in "’·‑\u00ad" or _wide(letter)
        return 0.0 if joins or not (before.isalpha() and after.isalpha()) else INSIDE
    if _wide(letter):
        return sum(INSIDE / 2 for each in (before, after) if each.isascii() and each.islower())
    taken = INSIDE if kind == "Lu" and before.islower() else 0.0
    if any(each.isalpha() and not _wide(each) and _latin(each) != _latin(letter) for each in (before, after)):
        taken += INSIDE
    return taken


@cache
def _latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(("LATIN", "FEMININE", "MASCULINE", "MICRO"))


def _wide(letter: str) -> bool:
    return letter >= "\u2e80" and not "\ufb00" <= letter <= "\ufdff"

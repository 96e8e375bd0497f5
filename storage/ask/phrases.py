"""Words of the grammar, as regular expressions over folded words with a space between."""

from muster.storage.ask.query import Unit

PHOTO = "(?:photo(?:graph)?|picture|pic|image|shot|snap|snapshot)"
PHOTOS = f"(?:{PHOTO}s?)"
SOME = "(?:(?:the|all|all of|my|our|any|a|an|some|these|those) )*"
A = "(?:(?:a|an|any|some) )?"

UNITS: dict[str, Unit] = {
    **dict.fromkeys(("people", "person", "persons"), "person"),
    **dict.fromkeys(("thing", "things", "object", "objects"), "thing"),
    **dict.fromkeys(("place", "places", "city", "cities", "town", "towns"), "place"),
    **dict.fromkeys(("country", "countries"), "country"),
    **dict.fromkeys(("region", "regions"), "region"),
    **dict.fromkeys(("day", "days"), "day"),
    **dict.fromkeys(("month", "months"), "month"),
    **dict.fromkeys(("year", "years"), "year"),
    **dict.fromkeys(("camera", "cameras"), "camera"),
    **dict.fromkeys(("album", "albums"), "album"),
    **dict.fromkeys(("keyword", "keywords"), "keyword"),
    **dict.fromkeys(("folder", "folders"), "folder"),
}
UNIT = f"(?P<unit>{'|'.join(sorted(UNITS, key=len, reverse=True))})"
PLACES, TIMES = ("place", "region", "country"), ("day", "month", "year")

NUMBERS = dict(
    zip(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), range(1, 11), strict=True)
)
_NUMBER = rf"\d{{1,4}}|{'|'.join(NUMBERS)}"
_EXACTLY, _MORE, _FEWER = "exactly|just|only", "more than|over", "fewer than|less than|under"
PEOPLE = "(?:people|persons?|humans?|faces?)"
NUMBER_OF_PEOPLE = rf"(?:(?P<how>{_EXACTLY}|{_MORE}|{_FEWER}|at least|at most) )?(?P<number>{_NUMBER}) (?P<of>{PEOPLE})"
NUMBER_OR_MORE = rf"(?P<number>{_NUMBER}) (?P<how>or more|or fewer|or less) (?P<of>{PEOPLE})"
ONLY = rf"(?:only|just)(?! (?:{_NUMBER}) )"
NOBODY = f"nobody|no one|noone|no {PEOPLE}"
SOMEBODY = f"{A}(?:people|persons?|humans?)|someone|somebody|anyone|anybody"

FIRST = ("first", "oldest", "earliest")
_EDGE = "(?P<edge>first|oldest|earliest|last|newest|latest|most recent)"
# "the three newest photos", "the last 3 photos", "my favourite pictures"
SHOTS = (
    rf"{SOME}(?:(?:(?P<number>{_NUMBER}) )?{_EDGE} (?:(?P<many>{_NUMBER}) )?)?"
    f"(?P<liked>(?:favou?rite|starred) )?(?P<noun>{PHOTOS})"
)
MOST_PHOTOS = f"(?:the )?(?P<photos>most|fewest|least)(?: of the)? {PHOTOS}"
MOST_OFTEN = "(?:the )?(?P<often>most|least)(?: (?:often|frequently|common|commonly))?"

COUNTED = (
    r"(?:(?:on|in|at|with) )?how many(?: different| of)?"
    r"|(?:what is )?(?:the )?(?:total )?number of(?: different)?|count(?: up)?"
)
LISTED = "(?:which|what)(?P<is> is| are| was| were)?|(?:show|find|give|get)(?: me)?|list|display"
WHAT = (
    "what(?: else)?(?: things?)? (?:is|are|was|were|can be seen|can i see|appears?)(?: (?:seen|shown|there))?"
    "|what did i (?:photograph|shoot)"
)
WAS = "was|were|has|have|had|did"
IS_ON = "can be seen|(?:is|are|was|were|has been|have been)(?: (?:photographed|seen|shown))?|appears?|appeared"
I_TAKE = f"(?:take|took|taken|make|made|shoot) (?:{MOST_PHOTOS}|{SOME}{PHOTOS})"
I_SEE = "photograph|photographed|shoot|capture|captured"
VISITED = "visit|visited|(?:go|went|travel|travelled|been|come|came) to"
WENT = "(?:go|went|travel|travelled|been|be|come|came)(?! (?:to|with) )"

SHOWING = (
    "(?:(?:that|which|who|and) )?"
    "(?:show|shows|showing|have|having|contain|contains|containing|feature|features|featuring|with|of|are of|is of)"
    "(?: both| either)?"
)
WITHOUT = (
    "(?:(?:and|but) (?:that )?|that |which )?(?:without|with no|not with|not of|not showing|do not show|does not show"
    "|do not have|does not have|have no|has no|show no|shows no|showing no|no|not)(?: (?:any|a|an))?"
)
LIKED = (
    r"(?:that |which )?(?:are|is) (?:a |my )?favou?rites?"
    r"|(?:that (?:are|were) )?marked as (?:a )?favou?rites?|(?:that are )?starred"
)
# What says nothing of which photos: every photo is there, was taken, and is in the collection
PADDING = (
    "(?:that |which )?(?:are there|is there|there are|there is|do i have|do we have|i have|we have"
    "|did i take|did we take|have i taken|have we taken|i took|we took|i have taken|i shot"
    "|(?:were|was|been) (?:taken|made|shot)|exist|please|altogether|in total|in all"
    "|(?:are|were)(?= on )|(?:are|were|is|was)(?= (?:in|at|from|before|after|since|between|during) )"
    f"|(?:in|of) (?:my|the|this|our) (?:library|collection)|in (?:my|our) {PHOTOS})"
)
SCENES = {
    "night": "at night|by night|during the night|in the night|at night time",
    "day": "during the day|in daylight|by daylight|in the daytime|at daytime",
}


def number(text: str) -> int:
    """Of what `_NUMBER` matches."""
    return NUMBERS.get(text) or int(text)


def bounds(how: str, many: int) -> tuple[int, int | None]:
    """At least and at most (None: any number) so many; ("", 2) are exactly two."""
    if how in ("at least", "or more"):
        return many, None
    if how in _MORE.split("|"):
        return many + 1, None
    if how in ("at most", "or fewer", "or less"):
        return 0, many
    return (0, many - 1) if how in _FEWER.split("|") else (many, many)

"""The project's own word lists.

Every word is one token of GPT-2's byte-pair vocabulary when a space stands before it, and
one token of the bundled model's word-level vocabulary. The lists' order is part of the
rule that separates training from test combinations: append, never reorder.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((first, second) for first, _, second in (item.partition("/") for item in text.split()))


NAMES = _words(
    "Mary John Alice Robert Susan David Laura Thomas Karen Daniel Emily Mark Hannah Paul Nancy Kevin "
    "Rachel George Helen Peter Anna Brian Martha Simon Julie Edward Claire Oliver Sarah James Lisa Michael "
    "Kate William Emma Henry Maria Jack Grace Adam Megan Eric Judith Patrick Olivia Scott Diane Frank "
    "Joan Nathan Linda Ryan Amanda Jacob Victoria Gary Jean Lucas Rebecca Kyle"
)
PLACES = _words(
    "store park school office garden market library station beach hospital restaurant museum church kitchen "
    "zoo farm hotel theater river harbor airport bank cafe lake"
)
OBJECTS = _words(
    "drink book ring letter ball watch key gift map flower card cup hat coin bottle basket camera guitar pen "
    "lamp ticket bag toy cake phone"
)
EVENTS = _words(
    "war trial voyage strike project festival siege lease drought journey expedition campaign reign treaty "
    "occupation contract dispute marriage construction exhibition tour mission famine conflict partnership "
    "restoration investigation rivalry plague renovation alliance career boycott truce crisis empire dynasty "
    "debate experiment friendship"
)
CENTURIES = (11, 12, 13, 14, 15, 16, 17)
# Years that GPT-2 does not split into century and two digits (" 1540" is one token, for
# example). Checked against its tokenizer by a test.
UNSPLIT_YEARS = {
    11: (*range(2, 10), 11, *range(13, 19), *range(20, 30), *range(51, 60), *range(90, 100)),
    12: (80,),
    13: tuple(range(2, 10)),
    14: (40,),
    15: tuple(range(2, 10)),
    16: (),
    17: (),
}
# Stereotypes found in text corpora, listed to study how a model represents them.
SHE_JOBS = _words(
    "nurse secretary dancer maid teacher counselor therapist model attendant tutor aide psychologist "
    "assistant singer novelist dentist"
)
HE_JOBS = _words(
    "engineer soldier mechanic pilot captain boss farmer sheriff butcher miner sailor firefighter programmer "
    "hunter surgeon wrestler"
)
SHE_PERSONS = _words("woman girl mother")
HE_PERSONS = _words("man boy father")
ACTIONS = _words(
    "smiled laughed slept cried shouted left ran waited stayed danced called sang jumped worked rested arrived "
    "hurried apologized paused returned listened walked worried won lost"
)
STATEMENTS = _words(
    "said hoped thought feared believed claimed knew learned noticed remembered forgot decided insisted "
    "explained admitted announced"
)
CAPITALS = _pairs(
    "Paris/France Berlin/Germany Rome/Italy Madrid/Spain London/England Moscow/Russia Tokyo/Japan "
    "Beijing/China Cairo/Egypt Athens/Greece Dublin/Ireland Oslo/Norway Stockholm/Sweden Copenhagen/Denmark "
    "Helsinki/Finland Warsaw/Poland Vienna/Austria Lisbon/Portugal Brussels/Belgium Budapest/Hungary "
    "Ottawa/Canada Canberra/Australia Islamabad/Pakistan Kabul/Afghanistan Tehran/Iran Baghdad/Iraq "
    "Damascus/Syria Beirut/Lebanon Ankara/Turkey Kiev/Ukraine Bern/Switzerland Jakarta/Indonesia "
    "Bangkok/Thailand Havana/Cuba Lima/Peru Santiago/Chile Tripoli/Libya Tunis/Tunisia Kingston/Jamaica "
    "Edinburgh/Scotland"
)
PEOPLE = _pairs(
    "teacher/teachers author/authors doctor/doctors farmer/farmers pilot/pilots student/students artist/artists "
    "manager/managers driver/drivers soldier/soldiers lawyer/lawyers singer/singers actor/actors worker/workers "
    "officer/officers neighbor/neighbors player/players writer/writers guard/guards banker/bankers chef/chefs "
    "tourist/tourists scientist/scientists engineer/engineers nurse/nurses hunter/hunters parent/parents "
    "customer/customers professor/professors senator/senators"
)
THINGS = _pairs(
    "book/books picture/pictures car/cars boat/boats machine/machines letter/letters house/houses table/tables "
    "door/doors clock/clocks song/songs story/stories camera/cameras report/reports game/games "
    "painting/paintings tree/trees window/windows bridge/bridges ship/ships"
)
RELATIVE_VERBS = _pairs(
    "likes/like knows/know sees/see helps/help follows/follow hates/hate loves/love meets/meet trusts/trust "
    "visits/visit"
)
VERBS = _pairs(
    "is/are was/were has/have does/do goes/go comes/come takes/take makes/make gives/give looks/look seems/seem "
    "works/work runs/run stands/stand falls/fall moves/move stays/stay appears/appear becomes/become "
    "remains/remain turns/turn brings/bring leaves/leave begins/begin needs/need keeps/keep grows/grow "
    "stops/stop waits/wait shows/show changes/change arrives/arrive"
)
# class answers: its members
KINDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("fruit", "fruits"): _words("apples bananas oranges grapes berries strawberries tomatoes"),
    ("animal", "animals"): _words(
        "dogs cats horses cows sheep pigs lions tigers bears wolves rabbits goats deer elephants monkeys"
    ),
    ("insect", "insects"): _words("ants bees flies beetles mosquitoes butterflies"),
    ("vehicle", "vehicles"): _words("cars trucks buses bicycles motorcycles vans trains taxis tanks bikes"),
    ("tool", "tools"): _words("drills scissors screws axes needles brushes nails"),
    ("weapon", "weapons"): _words("guns swords rifles bombs missiles spears pistols grenades cannons rockets"),
    ("metal", "metals"): _words("iron gold silver copper steel tin zinc aluminum nickel titanium bronze brass"),
    ("color", "colors"): _words("red blue green yellow purple orange pink brown white black gray violet"),
    ("sport", "sports"): _words(
        "football tennis hockey baseball basketball golf soccer rugby cricket boxing swimming skiing volleyball"
    ),
    ("vegetable", "vegetables"): _words(
        "potatoes carrots onions beans peas cabbage spinach lettuce corn broccoli peppers pumpkin garlic"
    ),
    ("relatives", "family"): _words("cousins brothers sisters parents grandparents daughters sons grandchildren"),
    ("disease", "diseases"): _words("cancer malaria diabetes influenza asthma measles tuberculosis polio leukemia"),
    ("drink", "drinks", "beverages"): _words("coffee tea beer wine juice milk vodka whiskey soda rum champagne gin"),
    ("building", "buildings"): _words(
        "houses schools churches hospitals hotels temples castles mosques towers factories museums"
    ),
    ("emotion", "emotions", "feelings"): _words(
        "anger fear joy sadness shame guilt happiness grief pride envy jealousy"
    ),
    ("language", "languages"): _words(
        "English French German Spanish Chinese Arabic Russian Italian Latin Greek Hebrew Japanese Portuguese Turkish"
    ),
    ("clothes", "clothing"): _words("shirts shoes hats jackets socks coats jeans dresses pants gloves boots skirts"),
    ("crime", "crimes"): _words("robbery theft fraud arson kidnapping burglary bribery treason piracy"),
}

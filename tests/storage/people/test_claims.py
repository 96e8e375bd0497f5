import re

from helpers.people import A, B, C, claim, face_ref, is_, is_not, said, scene, shows, who
from muster.storage.people import facts
from muster.storage.people.claims import claimed_id
from muster.storage.people.facts import FaceRef
from muster.storage.people.known import Known

FAR = (200.0, 200.0, 260.0, 260.0)


def test_a_claim_names_the_cluster_of_which_it_is() -> None:
    people = scene([A, A, B, None], [claim(0, "Anna")]).people(Known())
    anna = claimed_id(claim(0, "Anna"))
    assert people.faces["person_id"].to_pylist() == [anna, anna, B, None]
    assert (people.people[anna].name, people.people[anna].origin, people.people[anna].said) == ("Anna", "xmp", False)


def test_claims_of_a_name_that_users_gave_are_that_person() -> None:
    assert who([A, A, B, C], [facts.Named(A, "Zoë  Doe")], claims=[claim(2, "zoe\u0308 doe")]) == [A, A, A, C]


def test_no_claim_goes_before_what_users_said() -> None:
    bob = claimed_id(claim(0, "Bob"))
    named = [shows(A, 0, 1), facts.Named(A, "Anna")]
    assert who([A, A, B, B], named, claims=[claim(0, "Bob")]) == [A, A, B, B]
    assert who([A, A, B, B], [is_(A, 2)], claims=[claim(2, "Bob")])[2] == A
    denied = [is_not(bob, 2)]
    assert who([A, A, B, B], denied, claims=[claim(2, "Bob"), claim(3, "Bob")]) == [A, A, B, bob]
    apart = [shows(A, 0, 1), facts.Named(A, "Anna"), shows(B, 2, 3), facts.Different(A, B)]
    assert who([A, A, B, B], apart, claims=[claim(2, "Anna")]) == [A, A, B, B]


def test_the_gallery_goes_before_tags() -> None:
    claims = [claim(0, "Bob"), claim(0, "Anna", "gallery", person="7")]
    anna = claimed_id(claims[1])
    people = scene([A, A], claims).people(Known())
    assert people.faces["person_id"].to_pylist() == [anna, anna]
    assert people.people[anna].origin == "gallery"


def test_a_region_where_nothing_was_found_is_a_face_of_its_own() -> None:
    people = scene([A], [claim(0, "Bob", box=FAR)]).people(Known())
    assert people.faces["person_id"].to_pylist() == [A, claimed_id(claim(0, "Bob"))]
    assert people.faces["origin"].to_pylist() == ["found", "xmp"]


def test_what_users_say_of_a_region_is_said_of_it_and_not_of_another_face() -> None:
    box = (200.004, 200.004, 260.0, 260.0)
    region, bob = FaceRef(face_ref(0).photo, FAR), claimed_id(claim(0, "Bob"))
    for edit, expected in (
        (facts.Is(C, (region,)), C),
        (facts.IsNot(bob, (region,)), None),
        (facts.Missed(region), bob),
    ):
        assert who([A], [edit], claims=[claim(0, "Bob", box=box)]) == [A, expected]


def test_a_name_that_a_user_took_away_does_not_come_back_by_tags() -> None:
    bob = claimed_id(claim(0, "Bob"))
    people = scene([A, A], [claim(0, "Bob")]).people(said([shows(bob, 0, 1), facts.Named(bob, "")]))
    assert people.people[bob].name == ""


def test_ids_of_other_people_are_of_their_content() -> None:
    assert claimed_id(claim(0, "Anna")) == claimed_id(claim(3, "ANNA", "takeout"))
    assert claimed_id(claim(0, "Anna")) != claimed_id(claim(0, "Anna", "gallery", person="7"))
    assert re.fullmatch("[0-9a-f]{12}", claimed_id(claim(0, "\udcff")))


def test_a_face_goes_to_one_claim_and_a_lower_one_finds_no_other() -> None:
    below = (12.0, 12.0, 56.0, 56.0)
    people = scene([A, B], [claim(0, "Anna", "gallery"), claim(0, "Bob", "xmp", below)]).people(Known())
    assert people.faces["person_id"].to_pylist() == [claimed_id(claim(0, "Anna", "gallery")), B]


def test_most_claims_decide_whose_a_cluster_is() -> None:
    claims = [claim(0, "Anna"), claim(1, "Bob"), claim(2, "Bob")]
    anna, bob = (claimed_id(claim(0, name)) for name in ("Anna", "Bob"))
    assert who([A] * 4, claims=claims) == [anna, bob, bob, bob]


def test_a_name_that_two_people_have_is_neither() -> None:
    named = [[facts.Named(A, "Anna"), facts.Named(B, "Anna")]]
    assert who([A, B, C], *named, claims=[claim(2, "Anna")]) == [A, B, claimed_id(claim(2, "Anna"))]

"""What goes in and out of the service, as JSON: requests are held to it, and the OpenAPI document is made of it."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

MOST_IMAGES = 16  # of one request
MOST_TEXT = 200  # letters of a name

Base64 = Annotated[str, Field(description="An image file in base64, up to 10 MiB.", min_length=4)]
# float32 written as float64 has nine digits that say nothing
Number = Annotated[float, PlainSerializer(lambda value: round(value, 4), return_type=float)]
Box = Annotated[list[Number], Field(min_length=4, max_length=4, description="x0, y0, x1, y1 in pixels of the image.")]
Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


# ---- requests --------------------------------------------------------------------------------------------------------


class VerifyRequest(Shape):
    person_id: Text
    image: Base64


class ImagesRequest(Shape):
    images: Annotated[list[Base64], Field(min_length=1, max_length=MOST_IMAGES)]


class PersonRequest(Shape):
    """Of who is enrolled already, what is not given stays as it is; without images, the faces stay too."""

    consent: Annotated[Literal[True], Field(description="This person, or who speaks for them, consents.")]
    name: Annotated[Text | None, Field(description="person_id where it was never given.")] = None
    group: Annotated[Text | None, Field(description="Such as a class.")] = None
    born: date | None = None
    valid_until: Annotated[date | None, Field(description="The last day of the consent.")] = None
    images: Annotated[list[Base64], Field(max_length=MOST_IMAGES)] = []
    accept: Annotated[
        bool,
        Field(description="Enrol in spite of what is to be reviewed: look-alikes, photos unlike, forgotten before."),
    ] = False


# ---- answers ---------------------------------------------------------------------------------------------------------


class Problem(Shape):
    code: str
    message: str


class ErrorAnswer(Shape):
    error: Problem


class KeyAnswer(Shape):
    key: Annotated[str, Field(description="Its id, as the log has it.")]
    name: Annotated[str, Field(description="Who or what has it.")]
    role: Annotated[str, Field(description="`asks`, `enrols` or `administers`.")]
    ends: Annotated[str | None, Field(description="The last day on which it is valid.")]


class Candidate(Shape):
    person_id: str
    name: str | None
    score: Number


class NamedFace(Shape):
    face: Annotated[int, Field(description="Its number in the image, best first.")]
    person_id: Annotated[str, Field(description="Or UNKNOWN, or UNSURE: then a human looks at the candidates.")]
    name: str | None
    score: Number
    threshold: Annotated[Number, Field(description="From which on people are named.")]
    unsure_from: Number
    margin: Annotated[Number, Field(description="By how much the best is ahead of the next.")]
    quality: Annotated[Number, Field(description="Chance of being recognised at all, 0 to 1.")]
    box_xyxy: Box
    reason: Annotated[str | None, Field(description="Why nobody is named.")]
    candidates: list[Candidate]


class NamedImage(Shape):
    image: Annotated[int, Field(description="Its number in the request.")]
    faces: list[NamedFace]


class FailedImage(Shape):
    image: int
    error: Problem


class IdentifyAnswer(Shape):
    images: list[NamedImage | FailedImage]
    remark: Annotated[str, Field(description="What is to be known about the threshold; empty: nothing.")]


class ComparedFace(Shape):
    face: int
    score: Number
    quality: Number
    box_xyxy: Box


class VerifyAnswer(Shape):
    person_id: str
    name: str | None
    answer: Literal["match", "no match", "unsure"]
    match: bool
    score: Number
    threshold: Number
    unsure_from: Number
    reason: str
    face: Annotated[ComparedFace, Field(description="The largest, by which is answered.")]
    faces: list[ComparedFace]
    remark: str


class FoundFace(Shape):
    face: int
    box_xyxy: Box
    score: Annotated[Number, Field(description="Of the detector, 0 to 1.")]
    quality: Number
    landmarks: Annotated[list[list[Number]], Field(description="Eyes, nose, corners of the mouth: x, y in pixels.")]


class DetectedImage(Shape):
    image: int
    width: int
    height: int
    faces: list[FoundFace]


class DetectAnswer(Shape):
    images: list[DetectedImage | FailedImage]


class Person(Shape):
    person_id: str
    name: str | None
    group: str | None
    born: str | None
    valid_until: str | None
    photos: Annotated[int, Field(description="Of how many their face is known.")]


class PeopleAnswer(Shape):
    people: list[Person]


class RefusedPhoto(Shape):
    image: Annotated[int | None, Field(description="Its number in the request; null: of the person.")]
    reason: str
    review: Annotated[bool, Field(description="`accept` enrols it all the same.")]


class Pair(Shape):
    person_id: str
    other: str
    similarity: Number


class EnrolAnswer(Shape):
    person_id: str
    enrolled: Annotated[bool, Field(description="Whether this person can be recognised now.")]
    photos: Annotated[int, Field(description="Faces of this request that are used.")]
    refused: list[RefusedPhoto]
    lookalikes: list[Pair]


class PairsAnswer(Shape):
    pairs: list[Pair]


class ForgetAnswer(Shape):
    people: list[str]
    faces: int
    receipt: str
    at: str
    found_afterwards: Annotated[list[str], Field(description="What a search of every file still found: nothing.")]


class HealthAnswer(Shape):
    status: Literal["ok", "not ready"]

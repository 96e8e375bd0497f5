"""Networks of the task `faces`."""

from muster.tasks.models import face_detector, face_embedder, face_quality, landmarks68, mobilefacenet, yunet
from muster.tasks.models.zoo.entry import Entry


def _quality(model: str, sha256: str) -> Entry:
    return Entry(
        name=f"muster-quality-{model}",
        file=f"muster-quality-{model}.safetensors",
        url="",
        sha256=sha256,
        licence="Apache-2.0",
        source=f"trained by `muster train quality-{model}`",
        training_data="LFW (research use), and what is no face in photos of COCO; strangers also of photos of people"
        " (research use)",
        preprocessing="what detector and embedder say of a face",
        build=face_quality.from_state,
        outputs=(),  # it takes no image
    )


ENTRIES = (
    Entry(
        name="yunet-n",
        file="yunet_n.pth",
        url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
        "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/weights/yunet_n.pth",
        sha256="9c7c9e14a4d60e57491d77e4d8b0d451bd834f300e05c0dea7fd1f6533817b06",
        licence="Apache-2.0",
        source="YuNet, github.com/ShiqiYu/libfacedetection.train",
        training_data="WIDER FACE",
        preprocessing="BGR, 0..255, sides padded with 0 to multiples of 32",
        build=yunet.from_published,
        outputs=("stride8", "stride16", "stride32"),
    ),
    Entry(
        name="mobilefacenet",
        file="mobilefacenet.pt",
        url="https://raw.githubusercontent.com/foamliu/MobileFaceNet/"
        "a6cc9032a659b615f477833e1a70b5e7931bcccc/weights/mobilefacenet.pt",
        sha256="90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
        licence="Apache-2.0",
        source="MobileFaceNet, github.com/foamliu/MobileFaceNet",
        training_data="MS-Celeb-1M, which its publisher withdrew in 2019",
        preprocessing="RGB, 112×112 aligned to the five-point template, ImageNet mean and standard deviation",
        build=mobilefacenet.from_published,
        mirror=True,
        size=(112, 112),
        outputs=("embedding",),
        width=128,
    ),
    Entry(
        name="landmarks68",
        file="face_landmark_68.safetensors",
        url="",
        sha256="70be22b67d203c688ed2a011d0b92edffedfa4af18904cae8e779a3eae871256",
        licence="MIT",
        source="faceLandmark68Net of face-api.js, github.com/justadudewhohacks/face-api.js, decoded",
        training_data="about 35,000 faces of its author",
        preprocessing="RGB, 0..255, 112×112 aligned to the five-point template 32 pixels higher, less (122.782,"
        " 117.001, 104.298), over 255",
        build=landmarks68.from_published,
        size=(112, 112),
        outputs=("landmarks",),
        how="put it into the folder of --weights-dir (faces has several networks, and takes no --weights faces=FILE)",
    ),
    Entry(
        name="muster-detector",
        file="muster-detector.safetensors",
        url="",
        sha256="067ee18292318acd9f72e4d72c5e39855895c118521985eb0d2f126030d4e1fb",
        licence="Apache-2.0",
        source="trained by `muster train detector`, taught by yunet-n",
        training_data="LFW faces (research use) in photos of COCO, CamVid (non-commercial), people (research"
        " use) and webcams",
        preprocessing="BGR, 0..255, sides padded with 0 to multiples of 32",
        build=face_detector.from_state,
        double_between=(320, 640),
        outputs=("stride8", "stride16", "stride32"),
    ),
    Entry(
        name="muster-embedder",
        file="muster-embedder.safetensors",
        url="",
        sha256="595efb57e2fe964e0ec1e3d02192b904e5d255d3ff89d76ccb88b0b45499e878",
        licence="Apache-2.0",
        source="trained by `muster train embedder`, taught by mobilefacenet",
        training_data="3,990 people of LFW (research use), as mobilefacenet sees them",
        preprocessing="RGB, 112×112 aligned to the five-point template, ImageNet mean and standard deviation",
        build=face_embedder.from_state,
        size=(112, 112),
        outputs=("embedding",),
        width=face_embedder.DIMENSIONS,
    ),
    _quality("own", "935481f43d4302e216de246541849529cb61afbc23d58decf08be273c0de8568"),
    _quality("published", "e4305d19247c5b6e6d39b134fc76f0fef644d48271f75c6e7cd2a6b8f5020772"),
)

MODELS = {
    "own": {"detector": "muster-detector", "embedder": "muster-embedder", "quality": "muster-quality-own"},
    "published": {"detector": "yunet-n", "embedder": "mobilefacenet", "quality": "muster-quality-published"},
}
MODELS |= {f"{name}-frontal": {**roles, "landmarks": "landmarks68"} for name, roles in MODELS.items()}
DEFAULT = "own"

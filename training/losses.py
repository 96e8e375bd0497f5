"""What embeddings are trained towards: a teacher's embeddings, or people's labels.

Embeddings (N, D) need not be normalised; every function compares directions. All return scalars.
"""

import torch
import torch.nn.functional as F  # noqa: N812

from muster.tasks.models.encoders import pair_logits


def cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(N, D), (M, D) → (N, M) float32, of autocast too: in bfloat16 they would go in steps of .004 near 1, where the
    distances of items of one are."""
    with torch.autocast(one.device.type, enabled=False):
        return F.normalize(one.float()) @ F.normalize(other.float()).T


def distillation(student: torch.Tensor, teacher: torch.Tensor, similarity_weight: float = 4.0) -> torch.Tensor:
    """1 − cosine to the teacher's embedding of the same crop, and the batch's similarity matrices brought together.

    `teacher`: (N, D), without gradient. The matrices are the Gram matrices of Tung and Mori, Similarity-Preserving
    Knowledge Distillation, ICCV 2019, eq. 4, of normalised embeddings, without their diagonals of ones.
    """
    student, teacher = F.normalize(student.float()), F.normalize(teacher.float())
    apart = (student @ student.T - teacher @ teacher.T).square().sum() / max(1, len(student) * (len(student) - 1))
    return (1 - (student * teacher).sum(1)).mean() + similarity_weight * apart


def map_distillation(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """1 − cosine between maps (N, C, H, W) at each place: where on the face the teacher sees what.

    Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015, eq. 3, with the cosine for the squared distance, so
    that the scale of the teacher's maps does not matter.
    """
    return (1 - F.cosine_similarity(student.float(), teacher.float())).mean()


def softened(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """How far what is said of categories is from what the teacher says: logits (N, C), softened by `temperature`.

    The Kullback-Leibler divergence times temperature², so that gradients do not shrink with it: Hinton, Vinyals, Dean,
    Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531), section 2.
    """
    own, wanted = (F.log_softmax(each.float() / temperature, 1) for each in (student, teacher))
    return F.kl_div(own, wanted, reduction="batchmean", log_target=True) * temperature**2


def triplet(embeddings: torch.Tensor, labels: torch.Tensor, margin: float, hard: bool) -> tuple[torch.Tensor, int]:
    """The triplet loss over every pair of one person in the batch, and the number of triplets that count.

    Schroff, Kalenichenko, Philbin: FaceNet, CVPR 2015, eq. 2–4 and section 3.2: for each anchor and positive, one
    negative of the batch. Semi-hard: the nearest of those farther than the positive, but by less than `margin`; where
    there is none, the pair does not count. `hard`: the nearest negative of all, which section 3.2 warns can collapse
    a network that begins with it. `labels`: (N,) integers; squared distances of normalised embeddings, in 0..4.
    """
    distance = 2 - 2 * cosines(embeddings, embeddings)  # (N, N)
    same = labels[:, None] == labels
    anchor, positive = (same & ~torch.eye(len(labels), dtype=torch.bool, device=same.device)).nonzero(as_tuple=True)
    near = distance[anchor, positive]  # (P,)
    candidates = distance[anchor].masked_fill(same[anchor], torch.inf)  # (P, N): of other people
    if not hard:
        candidates = candidates.masked_fill(candidates <= near[:, None], torch.inf)
    far = candidates.amin(1)
    counted = far < near + margin
    losses = (near - far + margin)[counted]
    if not len(losses):
        return embeddings.sum() * 0.0, 0
    return losses.mean(), len(losses)


def contrastive(embeddings: torch.Tensor, labels: torch.Tensor, margin: float = 1.0) -> torch.Tensor:
    """The square of the distance of pairs of one label, and of what other pairs lack of `margin`, over all of a batch.

    Hadsell, Chopra, LeCun: Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, eq. 4. Each kind's
    mean counts as much as the other's; other pairs beyond the margin, which teach nothing, are not in theirs.
    `labels`: (N,) integers; distances of normalised embeddings, in 0..2.
    """
    square, same, other = _pairs(2 - 2 * cosines(embeddings, embeddings), labels)
    distance = square[other].clamp(min=1e-6).sqrt()  # the root of 0 has no gradient
    near = (margin - distance[distance < margin]).square()
    return _mean(square[same]) + _mean(near)


def pairwise_logistic(embeddings: torch.Tensor, head: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of "these two are one", over all pairs of a batch; each kind's mean counts as much as the other's.

    The logit is a weighted sum over |f(x1) − f(x2)|: Taigman et al., DeepFace, CVPR 2014, section 4.2. `head`:
    (D + 1,), the weights and what is added; `labels`: (N,) integers.
    """
    logits, same, other = _pairs(pair_logits(embeddings[:, None], embeddings, head), labels)
    return (_mean(F.softplus(-logits[same])) + _mean(F.softplus(logits[other]))) / 2


def _pairs(values: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of a matrix (N, N): its values above the diagonal, and which of them are of one label, and which of two."""
    one, other = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    same = labels[one] == labels[other]
    return values[one, other], same, ~same


def _mean(values: torch.Tensor) -> torch.Tensor:
    return values.sum() / max(1, len(values))


def additive_margin_softmax(
    embeddings: torch.Tensor, people: torch.Tensor, labels: torch.Tensor, margin: float = 0.35, scale: float = 30.0
) -> torch.Tensor:
    """Cross-entropy over the cosines to one vector per person, the true person's lowered by `margin`.

    Wang, Cheng, Liu, Liu: Additive Margin Softmax for Face Verification, IEEE Signal Processing Letters 25(7), 2018,
    eq. 6 (also CosFace, arXiv:1801.09414, eq. 4), with their scale 30 and margin 0.35. `people`: (P, D) learned
    vectors; `labels`: (N,) in 0..P−1.
    """
    lowered = cosines(embeddings, people) - margin * F.one_hot(labels, len(people))
    return F.cross_entropy(scale * lowered, labels)

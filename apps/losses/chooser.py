"""The table of the loss chooser: questions, and what each answer recommends. Data alone; ``choice.py`` reads it.

The same table is a page of the documentation and answers in the terminal: ``medloss losses choose``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TASKS = {
    "segment": "a network gives a class to each voxel",
    "register": "one image is laid over another",
    "restore": "a network gives an image: noise removed, resolution raised, another contrast",
    "points": "a network gives points or heat maps of points",
}


@dataclass(frozen=True)
class Question:
    """One question of a task; the first answer stands where none is given."""

    task: str
    name: str
    asks: str
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Advice:
    """One row of the table.

    Attributes:
        task: the task that the row is for.
        role: ``"first"``: the loss to start from, of the first row that holds. ``"add"``: a term beside it. ``"set"``:
            options of every term that has them. ``"note"``: words alone.
        why: the reason, with its source.
        loss: the name in YAML.
        options: what is set, ``weight`` and ``schedule`` of the term included.
        when: the answers for which the row holds; questions that it does not name may have any.
        unless: answers for which it does not hold after all.
        others: losses to try in its place.
        group: for registrations, what the loss sees.
    """

    task: str
    role: str
    why: str
    loss: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    group: str = ""


QUESTIONS = (
    Question("segment", "labels", "What are the labels like?", {
        "complete": "every class is drawn in every scan, one class per voxel",
        "partial": "some classes are not drawn in some scans",
        "sparse": "some slices or voxels alone are labelled",
        "ignore": "complete but for some voxels that nobody could tell",
        "soft": "a share per class and voxel, such as the mean of several readers",
        "missing": "what is drawn is right, but some lesions or objects are not drawn",
        "noisy": "many masks are drawn wrongly",
    }),
    Question("segment", "foreground", "How much of a volume is the smallest class?", {
        "large": "more than about one per cent",
        "small": "less than about one per cent",
        "absent": "many scans or patches have none of some class",
    }),
    Question("segment", "classes", "How many classes are there?", {
        "few": "up to about ten",
        "many": "more, such as the organs of the body",
    }),
    Question("segment", "structure", "What do the regions look like?", {
        "solid": "organs, tissues, tumours",
        "tubes": "vessels, airways, nerves: thin and long",
        "instances": "several separate regions of one class, such as lesions or cells",
        "borders": "thin layers, or shapes whose border matters",
    }),
    Question("segment", "metric", "Which metric counts?", {
        "overlap": "Dice or IoU",
        "surface": "Hausdorff distance, surface distance, surface Dice",
        "detection": "found and missed instances: F1, sensitivity per lesion",
        "topology": "connection: clDice, Betti numbers",
        "recall": "a missed voxel is worse than a false one",
        "calibration": "the probability itself: ECE, Brier score",
    }),
    Question("register", "images", "How do the two images differ?", {
        "same": "one modality, similar contrast",
        "contrast": "one modality, other contrast: contrast agent, bias field, another scanner",
        "modality": "two modalities, such as MRI and CT",
    }),
    Question("register", "guidance", "What is known beside the images?", {
        "none": "nothing",
        "labels": "label maps of both",
        "landmarks": "points that correspond",
    }),
    Question("register", "field", "What must the field be like?", {
        "smooth": "smooth",
        "invertible": "smooth, and nowhere folded",
        "sliding": "able to slide along a surface, such as lungs along ribs",
    }),
    Question("restore", "metric", "Which metric counts?", {
        "psnr": "PSNR or mean squared error",
        "ssim": "SSIM: it must look alike",
        "edges": "sharp edges",
        "outliers": "most voxels; some of the target are wrong",
        "texture": "fine texture: the spectrum",
    }),
    Question("points", "output", "What does the network give?", {
        "heatmaps": "a heat map per point",
        "coordinates": "coordinates",
    }),
)  # fmt: skip

CLASSES = {"softmax": True, "to_onehot_y": True}
FOREGROUND = {**CLASSES, "include_background": False}
WHOLE = {"labels": ("sparse",)}  # components, skeletons and distances need whole volumes
DRAWN = {"labels": ("sparse", "missing")}  # and to an instance or a distance an undrawn lesion is a bad error

ADVICE = (
    Advice("segment", "first", loss="marginal_dice_ce", options=FOREGROUND, when={"labels": ("partial",)},
        why="An organ that nobody drew lies in the background of its scan. This loss adds the probabilities of all "
            "classes that a scan does not label to its background, so that finding them costs nothing (Shi 2021). Say "
            "which classes are labelled with class_present in the call, or with the option labelled.",
        others=("target_adaptive",)),
    Advice("segment", "first", loss="tversky_ce", options={**FOREGROUND, "alpha": 0.3, "beta": 0.7, "batch": True},
        when={"labels": ("missing",)},
        why="A network that finds an undrawn lesion seems to mark false positives. alpha is their weight, and beta "
            "that of missed voxels, whose labels are right (Salehi 2017). On phantoms where 40 % of the small lesions "
            "were not drawn it found two thirds of all, dice_ce less than half, and generalized_cross_entropy with "
            "noise_robust_dice a sixth.",
        others=("tversky", "focal_tversky")),
    Advice("segment", "first", loss="generalized_cross_entropy", options={**CLASSES, "q": 0.7},
        when={"labels": ("noisy",)},
        why="A voxel whose label the network contradicts pulls less than in a cross-entropy (Zhang 2018).",
        others=("symmetric_cross_entropy", "t_loss")),
    Advice("segment", "first", loss="tversky_ce", options={**FOREGROUND, "alpha": 0.3, "beta": 0.7},
        when={"metric": ("recall",)},
        why="beta weighs missed voxels and alpha false ones: 0.7 and 0.3 move the balance towards recall "
            "(Salehi 2017).",
        others=("focal_tversky", "asymmetric_similarity")),
    Advice("segment", "first", loss="dice_ce", options=FOREGROUND, when={"labels": ("soft",)},
        why="Cross-entropy has its minimum at a soft label, and so has this Dice with soft_label (Wang 2023); a focal "
            "term has not.",
        others=("jaccard",)),
    Advice("segment", "first", loss="dice_focal", options=FOREGROUND, when={"foreground": ("small",)},
        why="Dice does not see the many background voxels, and the focal term leaves out those that are easy. Of the "
            "losses in the comparison of Ma 2021 such sums did best where the foreground is small.",
        others=("dice_topk", "unified_focal")),
    Advice("segment", "first", loss="dice_ce", options=FOREGROUND,
        why="The loss of nnU-Net (Isensee 2021). Dice is close to the metric, and the cross-entropy gives every voxel "
            "a gradient.",
        others=("jaccard", "lovasz_softmax")),
    Advice("segment", "add", loss="noise_robust_dice", options={**FOREGROUND, "gamma": 1.5},
        when={"labels": ("noisy",)},
        why="A Dice loss whose errors count between absolute and squared ones, made for noisy masks (Wang 2020)."),
    Advice("segment", "add", loss="exclusion", options=CLASSES, when={"labels": ("partial",)},
        why="Where one organ is drawn there can be no other one. This is what a scan says about the classes that it "
            "does not label (Shi 2021)."),
    Advice("segment", "add", loss="skeleton_recall", options=CLASSES, when={"structure": ("tubes",)}, unless=WHOLE,
        why="A vessel counts by its length, so that thin branches matter as much as thick ones, at a small part of the "
            "cost of clDice (Kirchhoff 2024). Give it the skeletons of medloss.transforms.SkeletonMapd.",
        others=("soft_dice_cldice", "centerline_boundary_dice")),
    Advice("segment", "add", loss="soft_cldice", options={**FOREGROUND, "weight": 0.5}, when={"metric": ("topology",)},
        unless={**WHOLE, "structure": ("tubes",)},
        why="Compares centrelines, so that a gap costs although few voxels are missing (Shit 2021).",
        others=("skeleton_recall",)),
    Advice("segment", "add", loss="cc_dice", options={**FOREGROUND, "alpha": 0.0},
        when={"structure": ("instances",)}, unless={**DRAWN, "metric": ("detection",)},
        why="Each instance counts alike, whatever its size, with the false positives near it (Jaus 2025).",
        others=("blob_dice",)),
    Advice("segment", "add", loss="cc_dice", options={**FOREGROUND, "alpha": 0.0},
        when={"metric": ("detection",)}, unless=DRAWN,
        why="Metrics per instance count a small lesion like a large one, and so does this loss (Jaus 2025).",
        others=("blob_dice",)),
    Advice("segment", "add", loss="boundary", when={"structure": ("borders",)},
        unless={**DRAWN, "metric": ("surface",)},
        options={**FOREGROUND, "schedule": {"from": 0.0, "to": 0.1, "epochs": 50}},
        why="A wrong voxel costs its distance to the border, so that thin parts are not lost in the volume "
            "(Kervadec 2019). Its weight grows, as far from the target it pulls the wrong way.",
        others=("boundary_dou", "boundary_f1")),
    Advice("segment", "add", loss="boundary", when={"metric": ("surface",)}, unless=DRAWN,
        options={**FOREGROUND, "schedule": {"from": 0.0, "to": 0.1, "epochs": 50}},
        why="A wrong voxel costs its distance to the border, which surface metrics measure (Kervadec 2019). Its weight "
            "grows, as far from the target it pulls the wrong way. Give the spacing to count in mm.",
        others=("hausdorff_dt", "generalized_surface")),
    Advice("segment", "add", loss="ace", options=FOREGROUND, when={"metric": ("calibration",)},
        why="Measures how far a probability is from how often it is right, and lowers it (Barfoot 2024).",
        others=("nacl", "mbls", "spatially_varying_label_smoothing")),
    Advice("segment", "set", options={"soft_label": True, "to_onehot_y": False}, when={"labels": ("soft",)},
        why="The target is B N [spatial] with a share per class; soft_label moves the minimum of Dice onto it."),
    Advice("segment", "set", options={"ignore_index": 255}, when={"labels": ("sparse", "ignore")},
        why="Give the voxels that nobody labelled a special number, such as 255: every sum leaves them out."),
    Advice("segment", "set", options={"batch": True}, when={"foreground": ("absent",)},
        why="Dice sums over the batch first. Otherwise one false voxel in a patch without the class costs nearly 1."),
    Advice("segment", "note", when={"labels": ("sparse",)},
        why="Losses of distances, skeletons and instances need whole volumes, so none is named for sparse labels. "
            "Bounds on the size of a region may help (size_constraint)."),
    Advice("segment", "note", when={"labels": ("missing",)},
        why="A smaller alpha, such as 0.1 with beta 0.9, finds more, with more false alarms. If you know which parts "
            "of a scan were searched, give all other voxels a number to ignore: labels=missing,ignore. Losses of "
            "distances and instances count an undrawn lesion as a large error, so none is named."),
    Advice("segment", "note", when={"labels": ("noisy",), "foreground": ("small",)},
        why="Losses against noisy labels may find nothing where the foreground is small, as they take it for noise. "
            "Compare with dice_ce or tversky_ce."),
    Advice("segment", "note", when={"labels": ("noisy",), "metric": ("surface", "detection")},
        why="The borders and the small regions of wrong masks are wrong too: look whether the added term helps."),
    Advice("segment", "note", when={"classes": ("many",)},
        why="These losses read class indices, and to_onehot_y makes no one-hot array: beside the logits and their "
            "gradient no memory grows with the number of classes. Boundary, Hausdorff and skeleton terms hold a map "
            "for each class. generalized_dice weighs rare classes more."),
    Advice("segment", "note", unless={"labels": ("partial",)},
        why="Channels that may overlap, or one channel: write sigmoid: true in place of softmax: true and "
            "to_onehot_y: true, and give the target as B N [spatial]."),
    Advice("segment", "note", when={"labels": ("partial",)},
        why="marginal_dice_ce and exclusion need a softmax: they are not for channels that overlap. If lesions "
            "of one class are drawn in a scan and others of this class are not, answer labels=missing."),

    Advice("register", "first", group="image", loss="lncc", options={"kernel_size": 7, "border": "renormalise"},
        when={"images": ("same", "contrast")},
        why="Correlation in small windows: brightness and contrast may change from place to place (Avants 2008).",
        others=("ncc", "mse", "ngf")),
    Advice("register", "first", group="image", loss="global_mutual_information", when={"images": ("modality",)},
        why="Needs no relation of the two intensities but one that holds in the whole image (Viola 1997, Mattes 2003).",
        others=("nmi", "mind_ssc", "ngf")),
    Advice("register", "note", when={"images": ("modality",)},
        why="mind_ssc compares how a voxel resembles its neighbours, and so bears a bias field (Heinrich 2013), but it "
            "reaches over few voxels: align the images first. On the pairs of T1 and T2 in docs/registration.md mutual "
            "information was the best and mind_ssc failed."),
    Advice("register", "add", group="label", loss="dice", when={"guidance": ("labels",)},
        why="Pulls regions of the same class onto each other; label_scales: [0, 2] lets regions attract each other "
            "that do not touch.",
        others=("dice_ce",)),
    Advice("register", "add", group="points", loss="landmark", when={"guidance": ("landmarks",)},
        why="The target registration error itself. medloss register train takes it under loss.points, with the "
            "landmarks of data.points; register pair takes no landmarks."),
    Advice("register", "add", group="field", loss="diffusion", options={"weight": 0.25, "stencil": "forward"},
        unless={"field": ("sliding",)},
        why="Neighbouring voxels move alike. Forward differences also see a field that "
            "alternates from voxel to voxel.",
        others=("bending", "linear_elasticity")),
    Advice("register", "add", group="field", loss="jacobian", when={"field": ("invertible",)},
        options={"weight": 100.0, "penalty": "hinge", "margin": 0.1, "stencil": "central"},
        why="Where the Jacobian determinant is below 0 the field folds. The hinge begins to cost at 0.1, before that.",
        others=("gradicon", "inverse_consistency")),
    Advice("register", "add", group="field", loss="field_total_variation", options={"weight": 0.1},
        when={"field": ("sliding",)},
        why="Absolute differences allow a jump of the field where two organs slide, squared ones forbid it "
            "(Vishnevskiy 2017)."),
    Advice("register", "note", when={"images": ("contrast",)},
        why="Where bright and dark are exchanged, lncc still works, as it squares the correlation; with signed: true "
            "it does not."),

    Advice("restore", "first", loss="mse", when={"metric": ("psnr",)},
        why="PSNR is the logarithm of the mean squared error.", others=("psnr", "l1")),
    Advice("restore", "first", loss="charbonnier", when={"metric": ("outliers",)},
        why="Squared for small errors and absolute for large ones: wrong voxels pull less.",
        others=("huber", "welsch", "tukey")),
    Advice("restore", "first", loss="l1",
        why="Keeps edges sharper than a squared error does (Zhao 2017).",
        others=("charbonnier",)),
    Advice("restore", "add", loss="ssim", when={"metric": ("ssim",)},
        why="One minus the metric. Set data_range to the range of the intensities (Wang 2004).",
        others=("ms_ssim", "ms_ssim_l1")),
    Advice("restore", "add", loss="gradient_difference", when={"metric": ("edges",)},
        why="Compares the gradients of both images, which a blurred edge changes (Mathieu 2016)."),
    Advice("restore", "add", loss="focal_frequency", when={"metric": ("texture",)},
        why="Compares spectra, with a higher weight on frequencies that are far off (Jiang 2021).",
        others=("spectral_amplitude",)),

    Advice("points", "first", loss="heatmap_js_div", when={"output": ("heatmaps",)},
        why="Compares both heat maps as distributions, symmetric and bounded.", others=("heatmap_kl_div", "mse")),
    Advice("points", "first", loss="landmark", when={"output": ("coordinates",)},
        why="The mean distance of corresponding points, in their unit.", others=("chamfer",)),
)  # fmt: skip

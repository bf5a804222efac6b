"""Expected values for `tests/metrics_reference.rs`, from numpy, scipy and scikit-learn.

Run: python make_metrics_reference.py > metrics.json   (numpy 2.4, scipy 1.17, scikit-learn 1.9)

Written from the definitions and without a look at the Rust: plain loops over thresholds where the
library has none. Inputs are not stored; both languages draw them from the generator below.

Generator: state <- state * 6364136223846793005 + 1442695040888963407 (mod 2**64), starting at the
seed; a draw below n is (state >> 33) % n after the step.

Images ("images" cases): for i in 0..count: anomalous = draw(100) < share; score = draw(levels), plus
shift if anomalous; the score is divided by 1024.

Maps ("pixels" cases): for each map, in order: width = 20 + draw(spread), height = 20 + draw(spread);
blobs = draw(4), and 0 blobs makes a normal image without a mask; each blob draws x = draw(width),
y = draw(height), w = 1 + draw(9), h = 1 + draw(9) and fills the rectangle from (x, y), cut at the
border; then, row by row, each pixel's score is draw(levels), plus shift in the mask, divided by 1024.
In a case with "roi" only those pixels count that are in the left three quarters and not in the top
fifth: 4 x < 3 width and 5 y >= height. What is connected is decided before.
"""

import json
import sys

import numpy as np
from scipy import ndimage, optimize, stats
from sklearn import metrics

MASK64 = (1 << 64) - 1


class Draws:
    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & MASK64
        return (self.state >> 33) % n


def draw_images(seed, count, share, levels, shift):
    draws = Draws(seed)
    labels, scores = [], []
    for _ in range(count):
        anomalous = draws.below(100) < share
        labels.append(int(anomalous))
        scores.append((draws.below(levels) + (shift if anomalous else 0)) / 1024)
    return np.array(labels), np.array(scores)


def draw_maps(seed, count, spread, levels, shift):
    draws = Draws(seed)
    maps = []
    for _ in range(count):
        width, height = 20 + draws.below(spread), 20 + draws.below(spread)
        blobs = draws.below(4)
        mask = np.zeros((height, width), bool)
        for _ in range(blobs):
            x, y = draws.below(width), draws.below(height)
            w, h = 1 + draws.below(9), 1 + draws.below(9)
            mask[y : y + h, x : x + w] = True
        scores = np.zeros((height, width))
        for row in range(height):
            for column in range(width):
                scores[row, column] = (draws.below(levels) + (shift if mask[row, column] else 0)) / 1024
        maps.append((scores, mask, blobs == 0))
    return maps


def inside(mask, roi):
    height, width = mask.shape
    rows, columns = np.indices(mask.shape)
    return (4 * columns < 3 * width) & (5 * rows >= height) if roi else np.ones(mask.shape, bool)


def best_f1(labels, scores):
    """By counting at each threshold; the highest threshold among the best."""
    best = (0.0, None)
    for t in sorted(set(scores.tolist()), reverse=True):
        f1 = metrics.f1_score(labels, scores >= t)
        if f1 > best[0] + 1e-15:
            best = (f1, t)
    return best


def best_f1_of_curve(labels, scores):
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    return float(np.nanmax(f1))


def delong(labels, scores):
    """Variance by the O(m n) kernel."""
    x, y = scores[labels == 1], scores[labels == 0]
    kernel = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    return kernel.mean(1).var(ddof=1) / len(x) + kernel.mean(0).var(ddof=1) / len(y)


def newcombe(area, m, n):
    z = stats.norm.ppf(0.975)
    star = (m + n) / 2 - 1

    def variance(t):
        q1, q2 = t / (2 - t), 2 * t * t / (1 + t)
        return (t * (1 - t) + star * (q1 - t * t) + star * (q2 - t * t)) / (m * n)

    def crossing(a, b):
        return optimize.brentq(lambda t: (area - t) ** 2 - z * z * variance(t), a, b, xtol=1e-15)

    low = 0.0 if area == 0 else crossing(0.0, area - 1e-9)
    high = 1.0 if area == 1 else crossing(area + 1e-9, 1.0)
    return low, high


def interval(labels, scores):
    area = metrics.roc_auc_score(labels, scores)
    m, n = int(labels.sum()), int((1 - labels).sum())
    variance = delong(labels, scores) if min(m, n) > 1 else 0.0
    if variance < 1e-24:
        return newcombe(area, m, n)
    logit = np.log(area / (1 - area))
    reach = stats.norm.ppf(0.975) * np.sqrt(variance) / (area * (1 - area))
    return tuple(1 / (1 + np.exp(-(logit + side * reach))) for side in (-1, 1))


def pro_points(maps, roi):
    """PRO and FPR at each distinct score, by comparison with each threshold."""
    components, defect_free = [], []
    for scores, mask, _ in maps:
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        counts = inside(mask, roi)
        components += [np.sort(scores[(labels == k) & counts]) for k in range(1, count + 1)]
        defect_free.append(scores[~mask & counts])
    components = [component for component in components if len(component) > 0]
    defect_free = np.sort(np.concatenate(defect_free))
    thresholds = np.unique(np.concatenate([defect_free, *components]))[::-1]

    def share(ordered):
        return 1 - np.searchsorted(ordered, thresholds, side="left") / len(ordered)

    pro = np.mean([share(c) for c in components], axis=0)
    return np.concatenate([[0], share(defect_free)]), np.concatenate([[0], pro]), len(components)


def aupro(fpr, pro, limit):
    inside = fpr <= limit
    x, y = fpr[inside], pro[inside]
    if x[-1] < limit:
        after = np.argmax(~inside)
        at = y[-1] + (pro[after] - y[-1]) * (limit - x[-1]) / (fpr[after] - x[-1])
        x, y = np.append(x, limit), np.append(y, at)
    return np.trapezoid(y, x) / limit


def aupimo(maps, roi):
    """Mean over ln(FPR) of the curve through (FPR, TPR) at each distinct score, piece by piece."""
    normal = [np.sort(s[inside(mask, roi)]) for s, mask, is_normal in maps if is_normal]
    values = []
    for scores, mask, is_normal in maps:
        defect = np.sort(scores[mask & inside(mask, roi)])
        if is_normal or len(defect) == 0:
            continue
        thresholds = np.unique(np.concatenate([*normal, defect]))[::-1]
        fpr = np.mean([1 - np.searchsorted(n, thresholds, side="left") / len(n) for n in normal], axis=0)
        tpr = 1 - np.searchsorted(defect, thresholds, side="left") / len(defect)
        fpr, tpr = np.concatenate([[0], fpr]), np.concatenate([[0], tpr])
        # With TPR = a + b FPR on a piece, its integral over ln(FPR) is a ln(FPR) + b FPR.
        area = 0.0
        for i in range(1, len(fpr)):
            lo, hi = max(fpr[i - 1], 1e-5), min(fpr[i], 1e-4)
            if lo < hi:
                b = (tpr[i] - tpr[i - 1]) / (fpr[i] - fpr[i - 1])
                a = tpr[i] - b * fpr[i]
                area += a * np.log(hi / lo) + b * (hi - lo)
        values.append(area / np.log(10))
    return float(np.mean(values)), len(values)


def image_case(name, **draws):
    labels, scores = draw_images(**draws)
    low, high = interval(labels, scores)
    f1, threshold = best_f1(labels, scores)
    return {
        "name": name,
        "draws": draws,
        "anomalous": int(labels.sum()),
        "auroc": metrics.roc_auc_score(labels, scores),
        "low": low,
        "high": high,
        "average_precision": metrics.average_precision_score(labels, scores),
        "f1_max": f1,
        "f1_max_threshold": threshold,
    }


def pixel_case(name, with_aupimo=False, roi=False, **draws):
    maps = draw_maps(**draws)
    labels = np.concatenate([mask[inside(mask, roi)] for _, mask, _ in maps]).astype(int)
    scores = np.concatenate([s[inside(s, roi)] for s, _, _ in maps])
    fpr, pro, components = pro_points(maps, roi)
    pimo, defective = aupimo(maps, roi) if with_aupimo else (None, None)
    return {
        "name": name,
        "roi": roi,
        "draws": draws,
        "pixels": len(scores),
        "components": components,
        "auroc": metrics.roc_auc_score(labels, scores),
        "average_precision": metrics.average_precision_score(labels, scores),
        "f1_max": best_f1_of_curve(labels, scores),
        "aupro_30": aupro(fpr, pro, 0.3),
        "aupro_05": aupro(fpr, pro, 0.05),
        "aupimo": pimo,
        "aupimo_images": defective,
    }


cases = {
    "images": [
        image_case("few ties", seed=1, count=300, share=60, levels=100000, shift=30000),
        image_case("many ties", seed=2, count=300, share=60, levels=12, shift=3),
        image_case("nearly perfect", seed=3, count=80, share=75, levels=1000, shift=700),
        image_case("perfect", seed=4, count=40, share=70, levels=1000, shift=1000),
        image_case("inverted", seed=5, count=60, share=30, levels=50, shift=-60),
        image_case("all tied", seed=6, count=25, share=50, levels=1, shift=0),
        image_case("one anomalous image", seed=11, count=30, share=3, levels=100, shift=40),
    ],
    "pixels": [
        pixel_case("few ties", seed=11, count=20, spread=60, levels=1000000, shift=400000),
        pixel_case("many ties", seed=12, count=20, spread=60, levels=16, shift=5),
        pixel_case("worse than chance", seed=13, count=8, spread=30, levels=5000, shift=-500),
        pixel_case("enough normal pixels", True, seed=14, count=120, spread=90, levels=1000000, shift=300000),
        pixel_case("ties at the top", True, seed=15, count=120, spread=90, levels=20000, shift=9000),
        pixel_case("few pixels inside", roi=True, seed=16, count=20, spread=60, levels=5000, shift=2000),
        pixel_case("inside", True, True, seed=17, count=180, spread=90, levels=20000, shift=12000),
    ],
}
json.dump(cases, sys.stdout, indent=1)
print()

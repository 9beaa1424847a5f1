"""What each study's report says: its tables, plots and sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from experiments import plots
from experiments.page import Page
from experiments.pictures import SYMMETRY
from experiments.summary import NONE, NOT_RUN, Arrivals, Results, table

_REGIMES = {  # of figure 9, and what each learns from
    "benchmark": "the few target images alone",
    "source": "f_X, plain simulation alone",
    "source+paired": "plain simulation, and the few target images with their plain render",
    "source+translated": "plain simulation, and its images translated by G",
    "source+paired+translated": "all three",
    "inverse-100": "as inverse, with 100 target images",
    "inverse": "f_X behind F, refined on its translations",
}
_METHODS = {
    "domain-randomisation": "f trained on randomised simulation",
    "mmd": "f_X, trained on while both domains' features are drawn together by the maximum mean discrepancy",
    "simgan": "F by SimGAN's objective",
    "cyclegan": "F by CycleGAN's",
    "pix2pix": "F by pix2pix's",
    "rcan": "F by pre-training on randomised simulation alone, no target image",
    "default": "F by the default recipe: that pre-training, then the TaskGAN",
}
_ANGLE_MODELS = {
    "normal": "trained on 1 target image",
    "source-only": "f_X on the target image as it is",
    "randomized": "f trained on randomised images alone, no F",
    "pretrained": "f_X behind F after pre-training, no target image",
    "inverse-n": "f_X behind F, with n target images",
    "…+refined": "and f_X refined (step 3) on F's translations: from 50 target images on of those, with fewer of "
    "randomised simulation, and its output layer is then fitted to them, as `taskgan adapt` does",
    "benchmark": "f_X in its own domain",
}
_ADAPTATIONS = {
    "rcan": "f_X, which predicts velocities, behind F after pre-training on randomised simulation",
    "rcan+refined": "and f_X refined (step 3) on what F makes of randomised images",
    "unlabelled": "F by the default recipe, begun as rcan's, with unpaired target images whose labels train nothing: "
    "no task loss, no pairs, no matched poses; f_X as it was. Not with 1 image: the discriminator would know it "
    "by its pose",
    "labelled": "F by the default recipe, begun as rcan's, with labelled target images and their plain renders. f_X is "
    "refined behind it: on the target images from 50 on; with fewer on randomised images, and its output layer is "
    "fitted to the target images at the end, as `taskgan adapt` does",
    "goals": "as rcan and labelled, but f_X predicts the joint angles at the goal, and the command is proportional to "
    "what remains by the encoders",
    "fitted": "goals with no image, refined on randomised images; the target images only fit the alignment and f_X's "
    "output layer",
    "randomized": "f trained on randomised images alone, no F",
    "randomized+goals": "the same, but it predicts goals. From 50 labelled target images on it continues as long as "
    "step 3, with them as half of a batch; to fewer its output layer is fitted",
}
_TRACED = {
    "goals-0": "F pre-trained on randomised simulation, no target image; f_X of step 1 behind it",
    "unpaired-n-k": "F by the default recipe, begun as goals-0's, with n target images of which neither labels nor "
    "plain renders are known; f_X as it was; k is the seed of this training. Which weights are kept is decided on "
    "further images, of which nothing is known but labels",
    "fitted-n": "F as goals-0's, with an alignment fitted to n labelled images; f_X is refined on randomised images, "
    "and its output layer fitted to them",
    "goals-n": "F by the default recipe, with n labelled target images and their plain renders; f_X refined as "
    "`taskgan adapt` does it",
}
_FROM_NONE = {"unlabelled": "rcan", "labelled": "rcan+refined"}  # what a row is with no target image
_WITHIN_M = (0.1, 0.03, 0.01)
_NEAR_M = 0.03  # half the cube's edge
_COMPARED_M = (0.1, _NEAR_M)
_REFINED = "+refined"
_NO_TRANSLATOR = ("domain-randomisation", "mmd")
_MEASURES = {
    "L1": "l1",
    "SSIM": "ssim",
    "KID": "kid",
    "judge's error": "judge_error",
    "judge's error on true images": "judge_floor",
}
_PAPER_L2 = {"normal": 0.00848, "inverse-1": 0.00597, "benchmark": 0.0021}  # turns², figure 12
_ABOUT_DISTANCE = "Distance: where episodes end, mean ± standard deviation over episodes, in m from the goal."
_ABOUT_MEASURES = (
    "L1 and SSIM compare a translation with the true image of the same state, values in [0, 1]. KID is the kernel "
    "inception distance on the judge's features, so it compares only where judge and images are the same. The judge is "
    "a task model of the output domain, of other weights than the one that trained, which learned from the same plain "
    "images; its error is squared, in standard deviations of the labels."
)
Show = Callable[[str], str]
Key = TypeVar("Key", int, str)


@dataclass(frozen=True)
class Section:
    """What a study's report is called, what it is about, and what writes the rest."""

    title: str
    about: str
    write: Callable[[Page, Results], None]


def _same(names: Iterable[str]) -> dict[str, str]:
    """Return rows or columns whose titles are their names."""
    return {name: name for name in names}


def _in_order(found: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return what was found, known names first and in their order."""
    names, order = set(found), list(known)
    return [name for name in order if name in names] + sorted(names.difference(order))


def _legend(meanings: Mapping[str, str], names: Iterable[str]) -> str:
    return "\n".join(f"- {name}: {meanings[name]}" for name in names if name in meanings)


def _about_success(results: Results) -> str:
    """Return what success is, with what the episodes that ran were."""
    counts, steps, thresholds = (results.distinct(figure) for figure in ("episodes", "steps", "threshold_m"))
    return (
        f"Success: the share of test episodes ({counts} a job and seed, of {steps} steps) that end within "
        f"{thresholds} m of the goal, with its 95 % interval (Wilson). Episodes of all seeds count together."
    )


def _write_reaching(page: Page, results: Results) -> None:
    found = results.named(r"([^/]+)/([^/]+)/closed-loop")
    domains = sorted({domain for domain, _ in found if domain != "source"})
    regimes = _in_order((regime for domain, regime in found if domain != "source"), _REGIMES)
    page.add(
        "## Success and distance",
        f"{_about_success(results)} {_ABOUT_DISTANCE}",
        table("success", _same(regimes), _same(domains), lambda row, to: results.show_success(_loop(to, row))),
        table("distance (m)", _same(regimes), _same(domains), lambda row, to: results.show_distance(_loop(to, row))),
        _legend(_REGIMES, regimes),
        "## Over the benchmark",
        "The paper: its inverse approach succeeds 55 to 59 percentage points more often than its benchmark. Here, in "
        "points, with the difference's 95 % interval (Newcombe):",
        table(
            "points",
            {"inverse minus benchmark": "benchmark"},
            _same(domains),
            lambda over, to: results.show_gain(_loop(to, "inverse"), _loop(to, over)),
        ),
        f"f_X in its own domain: {results.show_success(_loop('source', 'source'))}, "
        f"{results.show_distance(_loop('source', 'source'))} m.",
    )
    groups = {domain: {regime: results.arrivals(_loop(domain, regime)) for regime in regimes} for domain in domains}
    _plot_success(page, groups, "Success by training regime and domain, as the paper's figure 9")


def _loop(domain: str, what: str) -> str:
    return f"{domain}/{what}/closed-loop"


def _plot_success(page: Page, groups: dict[str, dict[str, Arrivals | None]], title: str) -> None:
    drawable = any(bar is not None for group in groups.values() for bar in group.values())
    page.plot("success.png", title, (lambda path: plots.plot_success(path, groups)) if drawable else None)


def _write_task_loss(page: Page, results: Results) -> None:
    found = results.named(r"([^/]+)/lambda-([^/]+)/(?:translations|closed-loop)")
    directions = sorted({direction for direction, _ in found}, reverse=True)  # inverse first
    weights = sorted({weight for _, weight in found}, key=float)
    page.add("## By weight of the task loss", f"{_ABOUT_MEASURES} {_about_success(results)}")
    for direction in directions:
        page.add(f"### {direction}", _weights_table(results, direction, weights))
    _plot_weights(page, results, directions, weights)
    page.grids(f"{direction}/lambda-{weight}/translations" for direction in directions for weight in weights)


def _weights_table(results: Results, direction: str, weights: list[str]) -> str:
    columns = _columns_of_measures(results)
    if any(results.has(f"{direction}/lambda-{weight}/closed-loop") for weight in weights):
        columns["success"] = lambda name: results.show_success(f"{name}/closed-loop")
    rows = {f"λ = {weight}": f"{direction}/lambda-{weight}" for weight in weights}
    return table("", rows, columns, lambda name, show: show(name))


def _columns_of_measures(results: Results) -> dict[str, Show]:
    """Return columns that print the measures of translations of the job whose name, without its end, is given."""

    def column(figure: str) -> Show:
        return lambda name: results.show(f"{name}/translations", figure)

    return {title: column(figure) for title, figure in _MEASURES.items()}


def _plot_weights(page: Page, results: Results, directions: list[str], weights: list[str]) -> None:
    names = {direction: [f"{direction}/lambda-{weight}" for weight in weights] for direction in directions}

    def mean(name: str, figure: str) -> float | None:
        return results.mean(f"{name}/translations", figure)

    errors = {direction: [mean(name, "judge_error") for name in jobs] for direction, jobs in names.items()}
    floors = {
        direction: next((floor for name in jobs if (floor := mean(name, "judge_floor")) is not None), None)
        for direction, jobs in names.items()
    }
    loops = {direction: [results.arrivals(f"{name}/closed-loop") for name in jobs] for direction, jobs in names.items()}
    success = {direction: arrivals for direction, arrivals in loops.items() if any(arrivals)}
    drawable = success or any(value is not None for values in errors.values() for value in values)
    draw = (lambda path: plots.plot_weights(path, weights, errors, floors, success)) if drawable else None
    page.plot("weights.png", "The judge's error and success by the weight of the task loss", draw)


def _write_unseen(page: Page, results: Results) -> None:
    page.add("## Seen and unseen", f"{_ABOUT_MEASURES} The two sets show other states, so their KID do not compare.")
    for (domain,) in sorted(set(results.named(r"([^/]+)/(?:seen|unseen)/translations"))):
        sides = {f"{which} images": f"{domain}/{which}/translations" for which in ("seen", "unseen")}
        page.add(f"### {domain}", table("", _MEASURES, sides, lambda figure, name: results.show(name, figure)))
        page.grids(sides.values())


def _write_angles(page: Page, results: Results) -> None:
    counts = sorted({int(count) for (count,) in results.named(r"inverse-(\d+)/(?:angles|translations)")})
    translators = {0: "pretrained"} | {count: f"inverse-{count}" for count in counts}
    inverse = [name + step for name in translators.values() for step in ("", _REFINED)]
    models = ["normal", "source-only", "randomized", *inverse, "benchmark"]
    columns: dict[str, Show] = {
        "L2 (turns²)": lambda name: results.show(f"{name}/angles", "l2"),
        "against normal": lambda name: _against_normal(results, name),
        "rms error (°)": lambda name: results.show(f"{name}/angles", "rms_deg"),
        "the paper's L2": lambda name: f"{_PAPER_L2[name]:g}" if name in _PAPER_L2 else NONE,
    }
    page.add(
        "## Errors",
        "**The “real” images are simulated.** No public copy of the paper's images of the real arm was found, so a "
        "stand-in takes their place: the domain `real_standin`. Nothing here says what happens with a real camera; the "
        "paper's numbers stand beside these for orientation, and are of other images.",
        table("model", _same(models), columns, lambda name, show: show(name)),
        _legend(_ANGLE_MODELS, _ANGLE_MODELS),
    )
    _add_symmetry(page, results)
    _add_joints(page, results, models)
    _plot_angles(page, results, translators)
    names = [name for name in models if results.has(f"{name}/translations")]
    if names:
        page.add("## Translations", _ABOUT_MEASURES)
        page.add(table("model", _same(names), _columns_of_measures(results), lambda name, show: show(name)))
    page.grids(f"{name}/translations" for name in names)


def _against_normal(results: Results, name: str) -> str:
    if name == "normal":
        return NONE
    value, normal = results.mean(f"{name}/angles", "l2"), results.mean("normal/angles", "l2")
    return NOT_RUN if value is None or normal is None else f"{100 * (value / normal - 1):+.0f} %"


def _add_symmetry(page: Page, results: Results) -> None:
    half, quarter = (results.mean("symmetry/angles", f"difference_{degrees}") for degrees in (180, 90))
    if half is None or quarter is None:
        return
    page.add(
        f"The sixth joint is left out, as in the paper: half a turn of it changes the image by {half:.3g} on average, "
        f"a quarter by {quarter:.3g}, where 1 is the change to another pose. A row is a pose, its sixth joint turned "
        "by 0, 90 and 180 degrees:"
    )
    page.picture(SYMMETRY, "Poses of the arm, with the sixth joint at three angles")


def _add_joints(page: Page, results: Results, models: list[str]) -> None:
    """Add the errors joint by joint, of what has run."""
    joints = {name: results.figures(f"{name}/angles") for name in models}
    joints = {name: figures for name, figures in joints.items() if figures}
    if not joints:
        return
    titles = list(next(iter(joints.values()))[0]["rms_deg_per_joint"])
    page.add(
        "Root mean square error of each joint, in degrees:",
        table("model", joints, _same(titles), _mean_joint),
    )


def _mean_joint(seeds: list[dict[str, dict[str, float]]], joint: str) -> str:
    return f"{math.fsum(figures['rms_deg_per_joint'][joint] for figures in seeds) / len(seeds):.3g}"


def _plot_angles(page: Page, results: Results, translators: Mapping[int, str]) -> None:
    def known(names: Mapping[Key, str]) -> dict[Key, float]:
        values = {key: results.mean(f"{name}/angles", "l2") for key, name in names.items()}
        return {key: value for key, value in values.items() if value is not None}

    series = {
        "inverse": known(translators),
        "inverse+refined": known({count: name + _REFINED for count, name in translators.items()}),
    }
    levels = known(_same(("source-only", "normal", "randomized", "benchmark")))
    draw = (lambda path: plots.plot_angles(path, series, levels)) if levels or any(series.values()) else None
    page.plot("images.png", "Error of joint angles by the number of target images", draw)


def _write_methods(page: Page, results: Results) -> None:
    found = results.named(r"([^/]+)/([^/]+)/(?:closed-loop|translations)")
    domains = sorted({domain for domain, _ in found})
    methods = _in_order((method for _, method in found), _METHODS)
    page.add(
        "## By domain", f"{_about_success(results)} {_ABOUT_DISTANCE} {_ABOUT_MEASURES}", _legend(_METHODS, methods)
    )
    groups = {}
    for domain in domains:
        loops = {method: results.arrivals(_loop(domain, method)) for method in methods}
        page.add(f"### {domain}", _methods_table(results, domain, loops), _advice(loops))
        groups[domain] = loops
    _plot_success(page, groups, "Success by method and domain")
    page.grids(f"{domain}/{method}/translations" for domain in domains for method in methods)


def _methods_table(results: Results, domain: str, loops: Mapping[str, Arrivals | None]) -> str:
    """Return the methods, the most successful and then the nearest first, what has not run last."""

    def column(show: Show) -> Show:
        return lambda method: NONE if method in _NO_TRANSLATOR else show(f"{domain}/{method}")

    columns: dict[str, Show] = {
        "success": lambda method: results.show_success(_loop(domain, method)),
        "distance (m)": lambda method: results.show_distance(_loop(domain, method)),
    }
    columns |= {title: column(show) for title, show in _columns_of_measures(results).items()}
    ordered = sorted(loops, key=lambda method: _rank(loops[method]))
    return table("method", _same(ordered), columns, lambda method, show: show(method))


def _rank(arrivals: Arrivals | None) -> tuple[float, float]:
    return (math.inf, math.inf) if arrivals is None else (-arrivals.rate, arrivals.distance_m)


def _advice(loops: Mapping[str, Arrivals | None]) -> str:
    """Return which method to use: among those that the best one's interval does not rule out, the nearest."""
    ran = {method: arrivals for method, arrivals in loops.items() if arrivals is not None}
    if not ran:
        return f"Which method to use: {NOT_RUN}."
    best = min(ran.values(), key=_rank)
    tied = sorted(
        (name for name in ran if ran[name].interval[1] >= best.interval[0]), key=lambda name: ran[name].distance_m
    )
    if len(tied) == 1:
        return f"Use **{tied[0]}**: no other method's interval reaches its."
    names = ", ".join(tied)
    return f"Use **{tied[0]}**: the intervals of {names} overlap the best's, a tie, and it ends nearest to the goal."


def _write_adaptation(page: Page, results: Results) -> None:
    found = results.named(r"([^/]+)/(.+)-(\d+)/closed-loop")
    domains = _in_order((domain for domain, _, _ in found), ())
    counts = sorted({int(count) for _, _, count in found})
    methods = _in_order((method for _, method, _ in found), _ADAPTATIONS)
    page.add(
        "## By domain",
        f"{_about_success(results)} Other thresholds count the same episodes. {_ABOUT_DISTANCE} A method ties with the "
        "best where their intervals overlap.",
        "Further images of the domain decide which weights of F are kept, and whether the alignment is: by their "
        "labels and their look for unlabelled, by their labels and plain renders in the other rows. Nothing else is "
        "learned from them.",
        "With target images, f_X that predicts velocities was tried in hard_camera and hard_all alone.",
        _legend(_ADAPTATIONS, methods),
    )
    series = {domain: _by_images(results, domain, methods, counts) for domain in domains}
    ran = {domain: lines for domain, lines in series.items() if any(lines.values())}
    draw = (lambda path: plots.plot_adaptation(path, ran, counts)) if ran else None
    page.plot("images.png", "Success and distance by the number of target images, method and domain", draw)
    for domain in ran:
        jobs = {f"{count}: {method}": _loop(domain, f"{method}-{count}") for count in counts for method in methods}
        done = {title: job for title, job in jobs.items() if results.figures(job)}
        page.add(f"### {domain}", _adaptation_table(results, done))
        page.add(*_not_run(results, domain, methods, counts))
        page.add(*(_best_by_images(results, domain, methods, counts, within_m) for within_m in _COMPARED_M))
        if any(results.has(_loop(domain, f"unlabelled-{count}")) for count in counts):
            page.add(_unlabelled_gain(results, domain, counts))
    if rest := [domain for domain in domains if domain not in ran]:
        page.add(f"Nothing has run yet in: {', '.join(rest)}.")


def _not_run(results: Results, domain: str, methods: Iterable[str], counts: Iterable[int]) -> list[str]:
    """Return a sentence on the study's rows that have not run, if there are any."""
    missing = []
    for count in counts:
        loops = {method: _loop(domain, f"{method}-{count}") for method in methods}
        if names := [method for method, loop in loops.items() if results.has(loop) and not results.figures(loop)]:
            missing.append(f"with {count} image{'s' * (count != 1)} {', '.join(names)}")
    return [f"Not run yet: {'; '.join(missing)}."] if missing else []


def _adaptation_table(results: Results, jobs: Mapping[str, str]) -> str:
    columns = _columns_within(results) | {"distance (m)": results.show_distance}
    return table("images: method", jobs, columns, lambda job, show: show(job))


def _columns_within(results: Results) -> dict[str, Show]:
    """Return columns that print the share of a closed loop's episodes that end within each threshold."""

    def within(threshold_m: float) -> Show:
        return lambda loop: results.show_success(loop, threshold_m)

    return {f"within {threshold_m:g} m": within(threshold_m) for threshold_m in _WITHIN_M}


def _by_images(
    results: Results, domain: str, methods: Iterable[str], counts: Iterable[int]
) -> dict[str, dict[int, tuple[Arrivals, Arrivals]]]:
    """Return what ran by method and number of images: within 0.1 m, and near. With 0, it is what the method begins as.

    A method that others begin as is no line of its own.
    """
    lines: dict[str, dict[int, tuple[Arrivals, Arrivals]]] = {}
    for method in methods:
        if method in _FROM_NONE.values():
            continue
        names = {count: method if count else _FROM_NONE.get(method, method) for count in counts}
        loops = {count: _loop(domain, f"{name}-{count}") for count, name in names.items()}
        found = {
            count: (results.arrivals(loop, _COMPARED_M[0]), results.arrivals(loop, _COMPARED_M[1]))
            for count, loop in loops.items()
        }
        lines[method] = {count: (far, near) for count, (far, near) in found.items() if far and near}
    return lines


def _best_by_images(
    results: Results, domain: str, methods: Iterable[str], counts: Iterable[int], within_m: float
) -> str:
    """Return which method is best with each number of images, and what the images bring over the best without."""
    words, best = [], {}
    for count in counts:
        names = {method: _loop(domain, f"{method}-{count}") for method in methods}
        found = {method: results.arrivals(name, within_m) for method, name in names.items()}
        ran = {method: arrivals for method, arrivals in found.items() if arrivals}
        if not ran:
            continue
        first, *others = sorted(ran, key=lambda method: _rank(ran[method]))
        best[count] = names[first]
        tied = [method for method in others if ran[method].interval[1] >= ran[first].interval[0]]
        tie = f", a tie with {', '.join(tied)}" if tied else ""
        words.append(f"with {count or 'no'} image{'s' * (count != 1)} **{first}** ({100 * ran[first].rate:.0f} %{tie})")
    sentences = f"Within {within_m:g} m most often: {'; '.join(words)}."
    gains = [f"{count}: {results.show_gain(best[count], best[0], within_m)}" for count in best if count and 0 in best]
    if gains:
        sentences += f" The best with so many images over the best with none, in points: {'; '.join(gains)}."
    return sentences


def _unlabelled_gain(results: Results, domain: str, counts: Iterable[int]) -> str:
    """Return what unlabelled images bring over none, and which weights were kept."""
    before, gains = _loop(domain, "rcan-0"), []
    for count in counts:
        name = _loop(domain, f"unlabelled-{count}")
        if not results.figures(name):
            continue
        kept = ", ".join(f"{step:.0f}" for step in results.values(name, "kept_step")) or NONE
        points = " and ".join(results.show_gain(name, before, within_m) for within_m in _COMPARED_M)
        gains.append(f"{count}: {points}, weights of step {kept}")
    thresholds = " and ".join(f"{within_m:g}" for within_m in _COMPARED_M)
    return f"Unlabelled images over none (rcan), in points within {thresholds} m: {'; '.join(gains) or NOT_RUN}."


def _write_seeds(page: Page, results: Results) -> None:
    found = results.named(r"([^/]+)/goals-(\d+)/closed-loop")
    page.add(
        "## By domain",
        f"Each cell lists one number a seed: the percentage of its {results.distinct('episodes')} test episodes (of "
        f"{results.distinct('steps')} steps each, with the same starts for all seeds) that end within the distance. "
        f"Over none: the gain within {_NEAR_M:g} m, in points, over the same seed without target images. Distance: "
        "over the episodes of all seeds, mean ± standard deviation, in m from the goal.",
    )
    for domain in _in_order((domain for domain, _ in found), ()):
        counts = sorted(int(count) for name, count in found if name == domain)
        rows = {f"{count} image{'s' * (count != 1)}": _loop(domain, f"goals-{count}") for count in counts}
        page.add(f"### {domain}", table("goals with", rows, _columns_of_seeds(results), lambda loop, show: show(loop)))


def _columns_of_seeds(results: Results) -> dict[str, Show]:
    """Return columns that print a closed loop's figures seed by seed."""
    seeds = sorted({record.seed for record in results.records})

    def within(threshold_m: float) -> Show:
        return lambda loop: _seed_by_seed(results.rates(loop, threshold_m), seeds, "{:.0f}")

    def over_none(loop: str) -> str:
        none = re.sub(r"\d+/closed-loop$", "0/closed-loop", loop)
        rates, before = results.rates(loop, _NEAR_M), results.rates(none, _NEAR_M)
        gains = {seed: rates[seed] - before[seed] for seed in rates if seed in before}
        return NONE if loop == none else _seed_by_seed(gains, seeds, "{:+.0f}")

    columns = {f"within {threshold_m:g} m": within(threshold_m) for threshold_m in _WITHIN_M}
    return columns | {"over none": over_none, "distance (m)": results.show_distance}


def _seed_by_seed(values: Mapping[int, float], seeds: Iterable[int], form: str) -> str:
    return ", ".join(form.format(values[seed]) if seed in values else NONE for seed in seeds) if values else NOT_RUN


def _write_path_traced(page: Page, results: Results) -> None:
    found = results.named(r"([^/]+)/(.+)/closed-loop")
    domains = _in_order((domain for domain, _ in found), ())
    page.add(
        "## By domain",
        f"{_about_success(results)} Other thresholds count the same episodes. Distance: where episodes end, mean ± "
        "standard deviation over episodes, in mm from the goal. Every f_X predicts the joint angles at the goal.",
        f"{_ABOUT_MEASURES} The camera is exact here, so there is little to align.",
        _legend(_TRACED, _TRACED),
    )
    for domain in domains:
        names = {what for name, what in found if name == domain}
        rows = sorted(names, key=lambda what: (_count(what), what.startswith("goals"), what))
        done = [
            what
            for what in rows
            if results.figures(_loop(domain, what)) or results.figures(f"{domain}/{what}/translations")
        ]
        page.add(f"### {domain}", _traced_table(results, domain, done))
        if missing := [what for what in rows if what not in done]:
            page.add(f"Not run yet: {', '.join(missing)}.")
        page.grids(f"{domain}/{what}/translations" for what in done)


def _in_mm(results: Results, loop: str) -> str:
    arrivals = results.arrivals(loop)
    return NOT_RUN if arrivals is None else f"{1000 * arrivals.distance_m:.1f} ± {1000 * arrivals.distance_std_m:.1f}"


def _kept_step(results: Results, loop: str) -> str:
    """Return which weights of F were kept; nothing where no target image trained it."""
    has_none = results.figures(loop) and not results.values(loop, "kept_step")
    return NONE if has_none else results.show(loop, "kept_step")


def _count(what: str) -> int:
    """Return the number of images in the name of a row, which is the first in it."""
    return int(what.split("-")[1])


def _traced_table(results: Results, domain: str, rows: Iterable[str]) -> str:
    def of_loop(show: Show) -> Show:
        return lambda name: show(f"{name}/closed-loop")

    columns = {title: of_loop(show) for title, show in _columns_within(results).items()}
    columns["distance (mm)"] = of_loop(lambda loop: _in_mm(results, loop))
    columns |= _columns_of_measures(results)
    columns["weights of step"] = of_loop(lambda loop: _kept_step(results, loop))
    return table("", {what: f"{domain}/{what}" for what in rows}, columns, lambda name, show: show(name))


SECTIONS = {
    "reaching": Section(
        "Reaching in the target domains",
        "How often the arm reaches the cube in each target domain, by what its task model learned from: section 4.1.4 "
        "and figure 9 of the paper. No training saw the test episodes' starts.",
        _write_reaching,
    ),
    "task-loss": Section(
        "What the task loss does",
        "How good translations are, and how well they serve, by the weight λ of the task loss; λ = 0 is a typical GAN: "
        "sections 4.1.2 and 4.1.3, figure 7 of the paper. λ weighs the error of labels with unit variance.",
        _write_task_loss,
    ),
    "unseen": Section(
        "Images that no training saw",
        "How good F's translations are of the target images that trained it and of others: section 4.1.3 and figure 8 "
        "of the paper.",
        _write_unseen,
    ),
    "joint-angles": Section(
        "Joint angles from images of the arm",
        "How far predicted joint angles are off, by the number of target images: section 4.2, figures 10 to 12 of the "
        "paper. L2 is the mean squared error of angles divided by 2π.",
        _write_angles,
    ),
    "methods": Section(
        "Other methods",
        "Ways across the gap that the paper names (section 2) but does not measure, from the same datasets. Every F is "
        "the same network, has as many steps as the default recipe (rcan those of its first part), and stands before "
        "the same f_X, without step 3. simgan, cyclegan and pix2pix have no use for randomised simulation; "
        "domain-randomisation learns from it alone, as many steps as f_X; mmd continues f_X, as long as step 3.",
        _write_methods,
    ),
    "adaptation": Section(
        "What target images bring in hard domains",
        "How often the arm reaches the cube, by the number of target images and by what learns from them, in domains "
        "that nothing here is made for. Rows with the same number of images learned from the same ones, but for those "
        "named below.",
        _write_adaptation,
    ),
    "seeds": Section(
        "The curve of target images, trained several times",
        "How much the goals rows of `adaptation` vary with the seed. Each seed has its own data, and everything is "
        "trained anew.",
        _write_seeds,
    ),
    "path-traced": Section(
        "Looks by another renderer",
        "What target images bring where a path tracer draws them: lamp, materials and shadows differ from all "
        "simulation that F was pre-trained on; camera and shapes are exact.",
        _write_path_traced,
    ),
}

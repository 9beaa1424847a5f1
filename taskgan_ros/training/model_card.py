"""The model card: a bundle's README.md, written from its `bundle.yaml`."""

from __future__ import annotations

from taskgan_ros.policy.bundle import BundleCard, GuardCard, Result

_TEMPLATE = """# {name}

{what}: an image of {height}×{width} pixels from the `{target_domain}` domain{observed} to {units} of {joints}.{goal}
Made by `taskgan export` {version}; `bundle.yaml` beside this file has the same facts for programs.

{pictures}
## What it was trained on

{data}

{how}Seeds: {seeds}.

## What it reaches

{results}

## Where it fails

It knows one scene (`{scene}`): one camera pose, one arm, one object. Another camera pose, another tool or a second red
object is outside of what it has seen. {translator} {guard}

Largest difference between these graphs and torch at export: {differences}.
"""
_TRANSLATOR = (
    "Its translator saw {images} images of the target domain; light or surfaces\nfar from those come out wrong."
)
_NO_TRANSLATOR = "It has no translator: the camera must see what it was trained on."
_GUARD = (
    "`guard.onnx` notices some of that: it scores each image, in units of a limit that {quantile:.1%} of {images} good "
    "images{domain} are below ({how}).\n\n"
    "A camera, light or scene that it was not fitted on is flagged image by image, also where the arm would arrive.\n"
    "Then train on a recording of it, `taskgan adapt --recording my_recording --scene {scene} --out my_bundle`, or,\n"
    "where the arm does arrive, fit the guard to it: `taskgan guard --bundle {name} --source source.h5 --target\n"
    "my_recording.h5 --new-look --out refitted/{name}`."
)
_NO_GUARD = "Nothing in the graphs says so: the bundle has no guard (`taskgan guard` adds one)."
_GOAL = (
    "\nThe task model predicts the joint angles at the goal; velocity = {rate:g}/s × (goal − position). It trusts the\n"
    "joint states: encoders that are off take the arm as far past the target."
)
_TASKS = {"joint_velocities": "Joint velocities", "joint_angles": "Joint angles"}


def write_model_card(card: BundleCard, pictures: list[str]) -> str:
    """Return the Markdown of `card`, showing `pictures` (file names in the bundle)."""
    return _TEMPLATE.format(
        name=card.name,
        what=_TASKS[card.task],
        height=card.image.height,
        width=card.image.width,
        target_domain=card.target_domain,
        units=card.units,
        joints=_names(card.joint_names),
        observed=_observed(card),
        goal=_GOAL.format(rate=card.approach_rate) if card.approach_rate else "",
        version=card.taskgan_version,
        pictures="".join(f"![Input, translation, true render where known]({name})\n\n" for name in pictures),
        data="\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in card.data.items()),
        how=f"Recipe `{card.recipe}`, λ = {card.lambda_task}. " if card.recipe else "",
        seeds=", ".join(f"{name.replace('_', ' ')} {value}" for name, value in card.seeds.items()),
        results=write_table(card.results),
        scene=card.scene,
        translator=_TRANSLATOR.format(images=card.data.get("target_images", "few")) if card.recipe else _NO_TRANSLATOR,
        guard=_NO_GUARD if card.guard is None else _describe_guard(card, card.guard),
        differences=", ".join(f"{name} {value:.2g}" for name, value in card.export_max_abs_diff.items()),
    )


def _describe_guard(card: BundleCard, guard: GuardCard) -> str:
    how = "the target's, cross-validated by episode"
    if guard.held_out:
        how = "held out of training"
    if guard.likeness is not None:
        how += f", {guard.likeness:.2g} times as far from the target's as those are from each other"
    domain = f" of `{guard.domain}`" if guard.domain else ""
    about = {"quantile": guard.quantile, "images": guard.images, "domain": domain, "how": how}
    return _GUARD.format(scene=card.scene, name=card.name, **about)


_FOREIGN = """# {name}

{what}: an image of {height}×{width} pixels{joints} to {command} of {names}.
Made by `taskgan bundle` {version} of `{file}` (SHA-256 `{sha256}`); `bundle.yaml` beside this file has the same facts
for programs.

Its task model was not trained by this package, so what it reaches and where it fails is not known here. {translator}
Nothing says whether an image is like those it was trained on: the bundle has no guard.

Largest difference between its commands and the file's own: {difference:.2g} {units}.
"""


def write_foreign_card(card: BundleCard, has_translator: bool) -> str:
    """Return the Markdown of a bundle whose task model came from elsewhere."""
    chunk = f"{card.chunk.length} commands of {card.chunk.step_s:g} s each, in " if card.chunk else ""
    before = f"A translator of images from `{card.target_domain or 'elsewhere'}` stands before it."
    return _FOREIGN.format(
        name=card.name,
        what=_TASKS[card.task],
        height=card.image.height,
        width=card.image.width,
        joints=_observed(card),
        command=chunk + card.units,
        names=_names(card.joint_names),
        version=card.taskgan_version,
        translator=before if has_translator else "No translator stands before it.",
        difference=max(card.export_max_abs_diff.values()),
        units=card.units,
        **card.data,
    )


def _observed(card: BundleCard) -> str:
    return f" and the positions of {_names(card.joint_pos_names)}" if card.joint_pos_names else ""


def _names(joints: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in joints)


def write_table(results: tuple[Result, ...]) -> str:
    """Return measured results as a Markdown table.

    Raises:
        KeyError: a result lacks a figure that `taskgan evaluate` gives.
    """
    if not results:
        return "Not measured at export."
    rows = ["| what | success | final distance | episodes | command |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        f = result.figures
        distance = f"{f['final_distance_mean_m']:.3f} ± {f['final_distance_std_m']:.3f} m"
        success = f"{float(f['success_rate']):.0%}"
        rows.append(f"| {result.what} | {success} | {distance} | {f['episodes']} × {f['steps']} | `{result.command}` |")
    return "\n".join(rows)

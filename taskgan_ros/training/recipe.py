"""Named recipes: the settings of step 2 as files."""

from __future__ import annotations

from typing import Annotated

from taskgan_ros.core.config import load, resolve
from taskgan_ros.core.schema import Field, config_dataclass
from taskgan_ros.training.networks import GeneratorConfig
from taskgan_ros.training.optimisers import OptimiserName
from taskgan_ros.training.run import Count, Share

Weight = Annotated[float, Field(ge=0)]


@config_dataclass
class Recipe:
    """How a translator is trained: `config/recipes/*.yaml`. The defaults are the paper's; every extension is off."""

    generator: GeneratorConfig = GeneratorConfig()
    """Shape of the generator."""
    steps: Annotated[int, Field(ge=0)] = 15000
    """Steps of the TaskGAN itself, after `pretrain_steps`; 0 pre-trains alone (James et al. 2019)."""
    batch_size: Count = 4
    """Images translated for the adversarial and the task loss."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Adam's learning rate, of generator and discriminator; it falls linearly over the second half."""
    adversarial_weight: Weight = 1.0
    """Weight of the adversarial loss; a translator that has pre-trained needs less."""
    lambda_task: Weight = 0.01
    """Weight of the task loss, the paper's; on labels of unit variance 1 is a better start."""
    lambda_warmup: Share = 0.0
    """Share of all steps over which lambda_task grows from 0."""
    task_gradient_limit: Weight = 0.0
    """The task loss's gradient at an image is at most this many times as long as the other losses'; 0 sets no limit.
    On images that look like nothing yet, the task model's gradients are huge and lead nowhere."""
    sigmoid: bool = True
    """Whether the discriminator ends in a sigmoid; the paper's does."""
    pool_size: Annotated[int, Field(ge=0)] = 50
    """Generated images kept for the discriminator; CycleGAN's."""
    pretrain_steps: Annotated[int, Field(ge=0)] = 0
    """Steps on pairs of randomised and plain simulation before the TaskGAN (James et al. 2019)."""
    pretrain_batch_size: Count = 8
    """Pairs per step while pre-training."""
    pretrain_learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Learning rate of pre-training, which has no discriminator and is stable: 5e-4 suits `adam`, 3e-3 `muon`."""
    pretrain_optimiser: OptimiserName = "adam"
    """`adam`, or `muon` (Jordan et al. 2024), which reaches the same error with fewer than half of the pairs."""
    align_steps: Annotated[int, Field(ge=0)] = 0
    """Steps, before the TaskGAN's, that fit a homography and two radial terms, which warp target images onto their
    plain renders. Skipped without `paired_target`, in the forward direction, and for an F that is not pre-trained."""
    pairs_batch_size: Annotated[int, Field(ge=0)] = 0
    """Pairs of randomised simulation that stay in each TaskGAN step."""
    identity_batch_size: Annotated[int, Field(ge=0)] = 0
    """Images of the output domain that the translator must leave as they are, a step."""
    pixel_weight: Weight = 10.0
    """Weight of the L1 loss wherever the true image is known: pairs and identity."""
    pixel_focus: Share = 0.0
    """Share of that loss on pixels where the true image differs from the empty scene: those of the arm and its target;
    0 weighs all pixels alike. The empty scene is the median of the output domain, which must have one appearance."""
    paired_target: bool = False
    """Whether the few target images also train by L1 on their true render, where the dataset holds it; where it does
    not, this is left out, unless the option was given by hand. The other direction learns from the same pairs,
    swapped: a batch of them beside each batch of source images."""
    augment: Weight = 0.0
    """Strength of photometric augmentation of the translator's input."""
    diff_augment: bool = False
    """Whether the discriminator sees shifted and recoloured images (Zhao et al. 2020)."""
    matched_poses: Annotated[int, Field(ge=0)] = 0
    """Real images are drawn among this many nearest to the generated ones' labels; 0 draws freely."""
    ema: Share = 0.0
    """Decay of the moving average of the generator's weights; 0 keeps the last weights."""
    keep_best: bool = False
    """Whether the run's weights are those of the best validation since the TaskGAN's steps began, or those from before
    them if none was better; else they are the last."""
    r1: Weight = 0.0
    """Weight of the gradient penalty at real images."""
    self_weight: Weight = 0.0
    """Weight of the L1 distance of a translation from its input, SimGAN's (Shrivastava et al. 2017)."""
    cycle_weight: Weight = 0.0
    """Weight of the L1 distance after translating forward and backward, CycleGAN's (Zhu et al. 2017). A generator and a
    discriminator of the backward translation train along; `task_gradient_limit` leaves this loss out."""
    conditional: bool = False
    """Whether the discriminator sees each output beside its input, pix2pix's (Isola et al. 2016). What is real comes
    from the target images with their true render."""

    @property
    def all_steps(self) -> int:
        """Steps of a run: of pre-training, of the alignment and of the TaskGAN."""
        return self.pretrain_steps + self.align_steps + self.steps


def load_recipe(name_or_path: str) -> Recipe:
    """Return a shipped recipe by name, or the one in a user's file.

    Raises:
        InputError: unknown name, or a file that does not describe a recipe.
    """
    return load(Recipe, resolve("recipes", name_or_path))

"""The steps of training, as the command line has them: one file per step, each with its configuration."""

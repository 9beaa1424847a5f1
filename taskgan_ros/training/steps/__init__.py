"""The steps of training, as the command line has them: one file a step, each with its configuration."""
